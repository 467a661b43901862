"""The engine's own error; everything else is ValueError, TypeError or IndexError."""


class UnsupportedError(NotImplementedError):
    """An implementation or operation cannot serve the request; the text says why."""
