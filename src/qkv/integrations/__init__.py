"""Where qkv stands in for the attention of other libraries. Each is imported by its own name."""
