"""The one call that makes a name of qkv known to transformers."""

from __future__ import annotations

from transformers import AttentionInterface, AttentionMaskInterface

from .builder import lazy_mask
from .function import attend
from .refusals import teach

NAME = "qkv"


def register() -> None:
    """Make "qkv" an attention implementation of transformers, for this process.

    From then on `model.set_attn_implementation("qkv")` and `from_pretrained(...,
    attn_implementation="qkv")` give a model that computes what "eager" computes, in memory linear
    in the length: masks stay descriptions (`LazyMask`), and with `output_attentions=True` the
    model returns matrices that are as lazy (`qkv.AttentionMatrix`). Calling it again does nothing.

    A model that never calls the function, or says something about its weights that the function
    does not know, is refused: the first when the name is set or the model is made with it, the
    second at its first call. For the first, `PreTrainedModel.get_correct_attn_implementation` and
    `.set_attn_implementation`, where transformers asks whether a model takes a name, ask about this
    one too.
    """
    AttentionInterface.register(NAME, attend)
    # On the class: what is set on an instance has no effect on the building of masks.
    AttentionMaskInterface.register(NAME, lazy_mask)
    teach(NAME)
