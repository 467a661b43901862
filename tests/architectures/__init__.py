"""Tiny models of 104 architectures of transformers, as data, and how they are run.

`ARCHITECTURES` is the table. `model_of` builds a model, `inputs_of` what it is called with;
`logits`, `gradients`, `generate` and `eager_weights` are what transformers itself says.
"""

from __future__ import annotations

from .architecture import Architecture
from .decoders import DECODERS
from .eager import Weights, eager_weights
from .encoders import ENCODERS
from .inputs import Inputs, inputs_of
from .models import build, found_in, generate, gradients, logits, model_of, run
from .pairs import PAIRS
from .senses import SENSES

ARCHITECTURES = (*DECODERS, *ENCODERS, *PAIRS, *SENSES)

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Inputs",
    "Weights",
    "build",
    "eager_weights",
    "found_in",
    "generate",
    "gradients",
    "inputs_of",
    "logits",
    "model_of",
    "run",
]
