"""Implementations, which never import each other, and the choice between them."""
