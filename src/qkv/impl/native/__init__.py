"""`impl="native"`: kernels of our own for processors. Here a request becomes what they take."""

from .kernels import NAME, accept, prepare, unavailable_reason

__all__ = ["NAME", "accept", "prepare", "unavailable_reason"]
