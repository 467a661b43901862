"""A translation model as two functions of tensors: reading, and a step of a search."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from qkv.models.sequence_to_sequence import SequenceToSequence
from qkv.nn.cache import KeyValueCache, PreparedContext
from qkv.nn.decoders.recurrent import RecurrentState
from qkv.nn.decoders.self_attention import SelfAttentionState


@dataclass(frozen=True)
class Parts:
    """The tensors of a decoder's state.

    All hypotheses of a sentence share `contexts`, and no step changes them: prepared keys and
    values of the encoder's states. `states` belong to each hypothesis, and a step gives them anew:
    keys and values of the tokens so far, or recurrent states.
    """

    contexts: list[Tensor]
    states: list[Tensor]


def parts_of(state: Any) -> Parts:
    """The tensors of such a state."""
    if isinstance(state, RecurrentState):
        return Parts([state.context.key.ready, state.context.value], [state.memory, state.output])
    assert isinstance(state, SelfAttentionState)
    contexts = [t for one in state.contexts for t in (one.key.ready, one.value)]
    states = []
    for cache, context in zip(state.caches, state.contexts, strict=True):
        key, value = context.key.ready[..., :0, :], context.value[..., :0, :]
        states += [key, value] if cache.key is None else [cache.key, cache.value]
    return Parts(contexts, states)


def _with_parts(state: Any, parts: Parts, lengths: Tensor, copies: int) -> Any:
    """A state with these tensors in it, in which `copies` hypotheses share a context."""

    def context(like: PreparedContext, key: Tensor, value: Tensor) -> PreparedContext:
        some = None if like.lengths is None else lengths
        ready = replace(like.key, ready=key)
        return PreparedContext(ready, value, some, copies)

    contexts = list(zip(parts.contexts[::2], parts.contexts[1::2], strict=True))
    if isinstance(state, RecurrentState):
        memory, output = parts.states
        return RecurrentState(context(state.context, *contexts[0]), memory, output)
    caches = zip(parts.states[::2], parts.states[1::2], strict=True)
    return SelfAttentionState(
        tuple(context(like, *own) for like, own in zip(state.contexts, contexts, strict=True)),
        tuple(KeyValueCache(*own) for own in caches),
    )


class Reading(nn.Module):
    """Sources `[B, Lk]` of `lengths` `[B]` tokens to contexts `[B, ...]` and states
    `[B, 1, ...]`, before anything is written."""

    def __init__(self, model: SequenceToSequence) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        parts = parts_of(self.model.start(source, lengths))
        return (*parts.contexts, *(state.unsqueeze(1) for state in parts.states))


class Step(nn.Module):
    """Tokens `[B, hypotheses]`, lengths, contexts and states to logits `[B, hypotheses, target]`
    and states."""

    def __init__(self, model: SequenceToSequence, contexts: int) -> None:
        super().__init__()
        self.model, self.contexts = model, contexts

    def forward(self, tokens: Tensor, lengths: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        batch, copies = tokens.shape
        # Stages that compare with prepared keys are those of any state; its tensors go unused.
        one = torch.ones(1, 1, dtype=torch.int64)
        like = self.model.start(one, one[0])
        states = [tensor.flatten(0, 1) for tensor in tensors[self.contexts :]]
        parts = Parts(list(tensors[: self.contexts]), states)
        state = _with_parts(like, parts, lengths, copies)
        logits, state = self.model.decode(tokens.reshape(batch * copies, 1), state)
        news = (tensor.unflatten(0, (batch, copies)) for tensor in parts_of(state).states)
        return (logits.reshape(batch, copies, -1), *news)
