"""What can go wrong in a run that is no mistake in its arguments."""


class TrainingError(RuntimeError):
    """Training cannot go on; the last checkpoint is untouched."""
