"""The one error of our own; everything else is ValueError or TypeError."""


class UnsupportedError(NotImplementedError):
    """A named implementation or operation cannot honour the request; the text says why and what can."""
