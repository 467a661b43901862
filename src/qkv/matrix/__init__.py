"""The front door: the attention matrix and what a user does with it."""
