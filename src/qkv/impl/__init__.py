"""Implementations of the engine. They never import each other."""
