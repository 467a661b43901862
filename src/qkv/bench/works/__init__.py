"""Everything that `qkv bench` measures: one file for each subject."""

from . import additive, decode, forward_backward, masks, ragged, small, sparse, statistics, types

WORKS = (
    *forward_backward.WORKS,
    decode.WORK,
    additive.WORK,
    statistics.WORK,
    sparse.WORK,
    masks.WORK,
    ragged.WORK,
    small.WORK,
    types.WORK,
)
