"""torch's FlexAttention with everything that the engine has: its mods become stages of a matrix."""
