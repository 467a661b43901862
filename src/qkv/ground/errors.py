"""The one error of our own; everything else is ValueError or TypeError."""


class UnsupportedError(NotImplementedError):
    """An implementation or operation cannot honour the request; the text says why."""
