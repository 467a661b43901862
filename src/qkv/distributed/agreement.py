"""What the ranks of a group make sure of before they compute together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar
from zlib import crc32

import torch
from torch import Tensor

from ..ground.errors import UnsupportedError
from ..ground.tensors import is_concrete, is_tensor, is_traced
from ..request.description import Description
from ..request.shards import Held, Shards, check_shards, held_by
from ..stage.custom import Custom
from .exchange import all_agree, is_known, made_known, told_by_all

Matrix = TypeVar("Matrix", bound=Description)

TRACED = (
    "attention: group cannot be traced, compiled or transformed by torch.func, for ranks tell each "
    "other things that depend on values"
)
_FEW = 8  # numbers of a tensor that are told one by one


def agreed(
    group: Any, shards: str, query_offset: Any, make: Callable[[], Matrix]
) -> tuple[Matrix, Shards]:
    """A rank's part of a matrix, with the shares of all ranks.

    Raises:
        ValueError: ranks ask for different things, or `group` is none that this process is in.
        UnsupportedError: a program is traced.
        RuntimeError: another rank refused its arguments, or does not answer.
    """
    if is_traced():
        raise UnsupportedError(TRACED)
    rank = rank_in(group)
    with telling(group):
        check_shards("attention", group, shards)
        description = make()
        _check(description)
        message = _told(description, shards, query_offset)
    messages = told_by_all(group, message, description.device)
    all_agree(messages, rank, [name for name in message if name != "lengths"])
    queries, keys = zip(*(told["lengths"] for told in messages), strict=True)
    held = held_by(shards, list(queries)), held_by(shards, list(keys))
    return description, Shards(group, rank, *held)


def held_here(group: Any, shards: str, length: int, lengths: Tensor | None = None) -> Held:
    """The stretches that this rank has of a sequence, of which it has so many places. `lengths` are
    those of the whole sequences of a batch, where not all of them are real.

    Raises:
        ValueError: ranks are given different lengths, or ask for something else.
        RuntimeError: another rank does not answer.
    """
    rank = rank_in(group)
    message = {"lengths of sequences": told(lengths), "length": length}
    messages = told_by_all(group, message)
    all_agree(messages, rank, ["lengths of sequences"])
    return held_by(shards, [message["length"] for message in messages])[rank]


def share_here(group: Any, shards: str, length: int) -> Held:
    """The stretches that this rank has where all share a sequence of such a length as evenly as can
    be."""
    import torch.distributed as dist

    whole, more = divmod(length, dist.get_world_size(group))
    lengths = [whole + (rank < more) for rank in range(dist.get_world_size(group))]
    return held_by(shards, lengths)[rank_in(group)]


@contextmanager
def telling(group: Any) -> Iterator[None]:
    """Tells the other ranks, who are about to make sure of something, of an error that this one
    ends in, where they do not know of it."""
    try:
        yield
    except Exception as error:
        if not is_known(error):
            made_known(error)
            with suppress(RuntimeError):  # where they do not answer, this error counts all the same
                told_by_all(group, {"error": str(error)})
        raise


def rank_in(group: Any) -> int:
    """The place of this process in a group.

    Raises:
        TypeError: it is no process group.
        ValueError: it is one that this process is not in.
    """
    import torch.distributed as dist

    if not dist.is_available() or not isinstance(group, dist.ProcessGroup):
        raise TypeError(
            "attention: group must be a process group of torch.distributed; "
            f"got {type(group).__name__}"
        )
    rank = dist.get_rank(group)
    if rank < 0:
        raise ValueError("attention: group must be one that this process is in")
    return rank


def _check(description: Description) -> None:
    """Checks that stages mean the same in a part of the matrix as in the whole."""
    for stage in (description.score, *description.bias, description.normalizer, description.mask):
        if isinstance(stage, Custom):
            raise UnsupportedError(
                "attention: group takes no callables, for they are told places in a part of the "
                f"matrix; got {stage.what}"
            )
    for bias in description.bias:
        if not bias.says_the_same_anywhere:
            raise UnsupportedError(
                "attention: group takes biases that depend on how far keys are from queries, not "
                f"on a place in the matrix; got {type(bias).__name__}"
            )
    if description.mask is not None and description.mask.stored:
        raise UnsupportedError(
            "attention: group takes masks that are a few intervals of keys for each query; "
            f"{description.mask.label} has an entry for each cell"
        )
    require_merge(description)


def require_merge(description: Description) -> None:
    """Raises UnsupportedError where the normalizer's statistic cannot be found from parts."""
    normalizer, one = description.normalizer, description.query.new_zeros(1, 1)
    if normalizer.merge((one, one), (one, one)) is None and normalizer.beginning(one) is None:
        raise UnsupportedError(
            "attention: group asks for a normalizer whose statistic can be merged over parts of "
            f"the keys, or found step by step; got {type(normalizer).__name__}, which has no such "
            "rule"
        )


def _told(description: Description, shards: str, query_offset: Any) -> dict[str, Any]:
    query, key = description.query, description.key
    return {
        "query": told([*query.shape[:-2], "its length", query.shape[-1]]),
        "key": told([*key.shape[:-2], "its length", key.shape[-1]]),
        "dtype": str(query.dtype),
        "device": query.device.type,
        "score": told(description.score),
        "bias": told(description.bias),
        "mask": told(description.mask),
        "normalizer": told(description.normalizer),
        "query_offset": told(query_offset),
        "impl": description.impl,
        "shards": shards,
        "lengths": (query.shape[-2], key.shape[-2]),
    }


def told(thing: Any) -> str:
    """A stage or another argument in words: the same on two ranks where they mean the same.
    Integers in tensors count, floating numbers do not, for those may be rounded differently."""
    if is_tensor(thing):
        if thing.is_floating_point() or not is_concrete(thing):
            return f"{thing.dtype} {list(thing.shape)}"
        if thing.numel() <= _FEW:
            return f"{thing.dtype} of {thing.tolist()}"
        return f"{thing.dtype} {list(thing.shape)} of checksum {_checksum(thing):08x}"
    if is_dataclass(thing) and not isinstance(thing, type):
        own = ", ".join(f"{f.name}={told(getattr(thing, f.name))}" for f in fields(thing))
        return f"{type(thing).__name__}({own})"
    if isinstance(thing, Sequence) and not isinstance(thing, str):
        return f"[{', '.join(map(told, thing))}]"
    return str(thing)


def _checksum(tensor: Tensor) -> int:
    return crc32(tensor.cpu().flatten().view(torch.uint8).numpy().data)
