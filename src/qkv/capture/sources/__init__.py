"""Where attention calls are made: one file each; this tuple lists them all."""

from ...ground.replaced import Patch
from . import own, softmax, torch_functions, torch_layers, transformers

SOURCES = (transformers, torch_functions, torch_layers, softmax, own)


def patches() -> list[Patch]:
    """What has to be replaced so that all calls are seen."""
    return [patch for source in SOURCES for patch in source.patches()]
