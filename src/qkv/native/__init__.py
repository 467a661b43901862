"""The attention kernels written for the processor's vector units, C++ in `cpp/`, as Python calls
them.

Tensors have the engine's canonical layout `[batch, Hk, G, L, D]`: `Hk` heads of keys, each of which
serves a group of `G` query heads. Any dimension of size 1 among the first three is shared. Float32,
bfloat16 and float16 are computed in float32, float64 in float64. Nothing here differentiates or
decides: that is the engine's.

The module may be absent, as where no compiler was found when qkv was installed.
"""

from .compiled import instruction_set, instruction_sets, refused, unavailable_reason, use
from .request import TYPES
from .run import backward, forward, plain_backward, plain_forward

__all__ = [
    "TYPES",
    "backward",
    "forward",
    "instruction_set",
    "instruction_sets",
    "plain_backward",
    "plain_forward",
    "refused",
    "unavailable_reason",
    "use",
]
