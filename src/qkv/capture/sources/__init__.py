"""Where attention calls are made: one file each; this tuple lists them all."""

from ..patches import Patch
from . import torch_functions, transformers

SOURCES = (transformers, torch_functions)


def patches() -> list[Patch]:
    """What has to be replaced so that all calls are seen."""
    return [patch for source in SOURCES for patch in source.patches()]
