"""What ranks tell each other: a few words before tensors, and tensors that visit the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from zlib import crc32

import torch
from torch import Tensor

from ..request.shards import Shards

_ROOM = 4096  # bytes of a message
_WORDS = 240  # letters of a text in it

Visit = Callable[[int, Sequence[Tensor]], Sequence[Tensor]]


def told_by_all(group: Any, message: dict[str, Any], device: torch.device) -> list[dict[str, Any]]:
    """What every rank tells, in their order. Texts that are too long end in their checksum."""
    import torch.distributed as dist

    shortened = {name: _short(words) for name, words in message.items()}
    text = json.dumps(shortened, ensure_ascii=False).encode()
    own = torch.zeros(_ROOM, dtype=torch.uint8)
    own[: len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    rows = [torch.empty_like(own, device=device) for _ in range(dist.get_world_size(group))]
    with _naming("a rank"):
        dist.all_gather(rows, own.to(device), group=group)
    return [json.loads(bytes(row.tolist()).rstrip(b"\0")) for row in rows]


def _short(words: Any) -> Any:
    if not isinstance(words, str) or len(words) <= _WORDS:
        return words
    return f"{words[:_WORDS]}... ({crc32(words.encode()):08x})"


def all_agree(messages: list[dict[str, Any]], rank: int, what: Sequence[str]) -> None:
    """Checks that every rank tells the same of some things.

    Raises:
        RuntimeError: another rank failed where this one did not.
        ValueError: a rank tells something else than the first.
    """
    for other, message in enumerate(messages):
        if "error" in message and other != rank:
            raise RuntimeError(f"attention: rank {other} of the group failed: {message['error']}")
    first = messages[0]
    for name in what:
        for other, message in enumerate(messages):
            if message[name] != first[name]:
                raise ValueError(
                    f"attention: {name} must be the same on all ranks of the group; "
                    f"got {first[name]} on rank 0, {message[name]} on rank {other}"
                )


def summed(group: Any, tensor: Tensor) -> Tensor:
    """The sum over all ranks, the same bits on each."""
    return _reduced(group, tensor, "SUM")


def largest(group: Any, tensor: Tensor) -> Tensor:
    """The largest over all ranks."""
    return _reduced(group, tensor, "MAX")


def _reduced(group: Any, tensor: Tensor, how: str) -> Tensor:
    import torch.distributed as dist

    total = tensor.detach().contiguous().clone()
    with _naming("a rank"):
        dist.all_reduce(total, getattr(dist.ReduceOp, how), group=group)
    return total


def sent_by(group: Any, rank: int, tensor: Tensor) -> Tensor:
    """A tensor of one rank, on all; the others give one of the same shape."""
    import torch.distributed as dist

    tensor = tensor.detach().contiguous()
    with _naming(f"rank {rank}"):
        dist.broadcast(tensor, group=group, group_src=rank)
    return tensor


def travel(
    shards: Shards,
    needed: Sequence[Sequence[bool]],
    own: Sequence[Tensor],
    visit: Visit,
    home: Sequence[Tensor] = (),
) -> None:
    """Lets the tensors of each rank visit those that need them, in rounds: in the n-th they go n
    ranks further. Those of the next round move while `visit` computes with those that are there.

    Args:
        needed: whether a rank (first index) needs the tensors of another.
        own: the tensors of this rank, keys in the last dimension but one.
        visit: is called with a rank and its tensors, and gives what is to be added to its `home`.
        home: the tensors of this rank that all visits add to, in the order of the rounds.
    """
    rank, count = shards.rank, shards.count
    own = [tensor.detach().contiguous() for tensor in own]
    visiting: Sequence[Tensor] = own
    back = _Transfer(shards, "back")
    for step in range(count):
        source, goal = (rank - step) % count, (rank + step) % count
        forth = _Transfer(shards, "forth")
        if step + 1 < count:
            before, after = (source - 1) % count, (goal + 1) % count
            rooms = [_like(tensor, shards, before) for tensor in own]
            forth.start(
                (own, after) if needed[after][rank] else None,
                (rooms, before) if needed[rank][before] else None,
            )
        found: Sequence[Tensor] = ()
        if needed[rank][source]:
            found = [tensor.contiguous() for tensor in visit(source, visiting)]
        _add(home, back.finish())
        back = _Transfer(shards, "back")
        if step == 0:
            _add(home, found)
        elif home:
            rooms = [torch.empty_like(total) for total in home]
            back.start(
                (found, source) if needed[rank][source] else None,
                (rooms, goal) if needed[goal][rank] else None,
            )
        visiting = forth.finish()
    _add(home, back.finish())


def _add(home: Sequence[Tensor], found: Sequence[Tensor]) -> None:
    for total, part in zip(home, found, strict=False):
        total += part


def _like(tensor: Tensor, shards: Shards, rank: int) -> Tensor:
    """Room for what a rank has in the place of this rank's tensor."""
    keys = sum(stop - start for start, stop in shards.keys[rank])
    return tensor.new_empty((*tensor.shape[:-2], keys, tensor.shape[-1]))


_Parcel = tuple[Sequence[Tensor], int]  # and the rank that it goes to or comes from


class _Transfer:
    """What is sent to one rank and received from another, at the same time."""

    def __init__(self, shards: Shards, way: str) -> None:
        self.group, self.way = shards.group, ("forth", "back").index(way)
        self.works: list[tuple[Any, str]] = []
        self.parcels: list[_Parcel] = []  # kept until they have gone
        self.received: Sequence[Tensor] = ()

    def start(self, sent: _Parcel | None, received: _Parcel | None) -> None:
        """Begins to send and to receive."""
        import torch.distributed as dist

        operations, ranks = [], []
        for act, parcel in ((dist.isend, sent), (dist.irecv, received)):
            if parcel is None:
                continue
            tensors, rank = parcel
            self.parcels.append(parcel)
            for place, tensor in enumerate(tensors):
                if tensor.numel():
                    tag = 2 * place + self.way
                    operations.append(
                        dist.P2POp(act, tensor, group=self.group, tag=tag, group_peer=rank)
                    )
                    ranks.append(rank)
        if received is not None:
            self.received = received[0]
        if operations:
            with _naming(f"rank {' or '.join(map(str, sorted({*ranks})))}"):
                works = dist.batch_isend_irecv(operations)
            one_each = len(works) == len(ranks)  # or one for all of them
            names = [f"rank {rank}" for rank in ranks] if one_each else ["a rank"] * len(works)
            self.works = list(zip(works, names, strict=True))

    def finish(self) -> Sequence[Tensor]:
        """Waits for all of it; what was received."""
        for work, who in self.works:
            with _naming(who):
                work.wait()
        self.works, self.parcels = [], []
        return self.received


@contextmanager
def _naming(who: str) -> Iterator[None]:
    """Errors of a transfer that say whom it was with."""
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(f"attention: {who} of the group does not answer: {error}") from error
