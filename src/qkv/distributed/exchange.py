"""What ranks tell each other: a few words before tensors, and tensors that visit the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from zlib import crc32

import torch
from torch import Tensor

from ..blocks.ranges import Range
from ..request.shards import Shards

_ROOM = 4096  # bytes of a message, beside those for what it says of each rank
_ROOM_OF_A_RANK = 48
_WORDS = 240  # letters of a text in it
_REQUESTS = 2**20  # after which tags of transfers are taken again

_KNOWN = "_known_to_all_ranks"  # an attribute of errors

Failure = TypeVar("Failure", bound=Exception)
Visit = Callable[[int, Sequence[Tensor]], Sequence[Tensor]]


def told_by_all(
    group: Any, message: dict[str, Any], device: torch.device | None = None
) -> list[dict[str, Any]]:
    """What every rank tells, in their order. Texts that are too long end in their checksum.
    `device` is that of what the rank has, where that is known."""
    import torch.distributed as dist

    shortened = {name: _short(words) for name, words in message.items()}
    text = json.dumps(shortened, ensure_ascii=False).encode()
    count, device = dist.get_world_size(group), _device_of(group, device)
    own = torch.zeros(_ROOM + _ROOM_OF_A_RANK * count, dtype=torch.uint8, device="cpu")
    own[: len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    rows = [torch.empty_like(own, device=device) for _ in range(count)]
    with _naming("a rank"):
        dist.all_gather(rows, own.to(device), group=group)
    return [json.loads(bytes(row.tolist()).rstrip(b"\0")) for row in rows]


def _device_of(group: Any, own: torch.device | None) -> torch.device:
    """Where the group takes tensors: the same kind of device on all ranks."""
    import torch.distributed as dist

    kinds = [kind.partition(":")[0] for kind in dist.get_backend_config(group).split(",")]
    if "cpu" in kinds:
        return torch.device("cpu")
    return own if own is not None and own.type in kinds else torch.device(kinds[0])


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
            failed = f"attention: rank {other} of the group failed: {message['error']}"
            raise made_known(RuntimeError(failed))
    first = messages[0]
    for name in what:
        for other, message in enumerate(messages):
            one, another = first.get(name), message.get(name)  # None: it tells of other things
            if one != another:
                differ = (
                    f"attention: {name} must be the same on all ranks of the group; "
                    f"got {one} on rank 0, {another} on rank {other}"
                )
                raise made_known(ValueError(differ))


def made_known(error: Failure) -> Failure:
    """The same error, of which the other ranks are not to be told: they know it, or do not
    answer."""
    vars(error)[_KNOWN] = True
    return error


def is_known(error: Exception) -> bool:
    """Whether the other ranks are not to be told of an error."""
    return _KNOWN in vars(error)


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
    needed: Sequence[Sequence[Range]],
    own: Sequence[Tensor],
    visit: Visit,
    home: Sequence[Tensor] = (),
) -> None:
    """Lets the tensors of each rank visit those that need them, in rounds: in the n-th they go n
    ranks further. Those of the next round move while `visit` computes with those that are there.

    Args:
        needed: which keys a rank (first index) needs of another; of itself it has all.
        own: the tensors of this rank, keys in the last dimension but one.
        visit: is called with a rank and what it has of the needed keys, and gives what is to be
            added there to its `home`.
        home: the tensors of this rank that all visits add to, in the order of the rounds, keys
            likewise.
    """
    rank, count = shards.rank, shards.count
    own = [tensor.detach().contiguous() for tensor in own]
    visiting: Sequence[Tensor] = own
    returning: Sequence[Tensor] = ()
    back = _Transfer(shards, "back")
    for step in range(count):
        source, goal = (rank - step) % count, (rank + step) % count
        forth = _Transfer(shards, "forth")
        if step + 1 < count:
            before, after = (source - 1) % count, (goal + 1) % count
            there, here = needed[after][rank], needed[rank][before]
            forth.start((_of(own, there), after), (_room(own, here), before))
        found: Sequence[Tensor] = ()
        if step == 0 or _some(needed[rank][source]):
            found = [tensor.contiguous() for tensor in visit(source, visiting)]
        _add(returning, back.finish())
        back = _Transfer(shards, "back")
        if step == 0:
            _add(home, found)
        elif home:
            returning = _of(home, needed[goal][rank], copied=False)
            back.start((found, source), (_room(home, needed[goal][rank]), goal))
        visiting = forth.finish()
    _add(returning, back.finish())


def _some(keys: Range) -> bool:
    return keys[0] < keys[1]


def _add(totals: Sequence[Tensor], found: Sequence[Tensor]) -> None:
    for total, part in zip(totals, found, strict=True):
        total += part


def _of(tensors: Sequence[Tensor], keys: Range, copied: bool = True) -> list[Tensor]:
    """What tensors have of some keys, without gaps where it is `copied`."""
    own = [tensor.narrow(-2, keys[0], keys[1] - keys[0]) for tensor in tensors]
    return [tensor.contiguous() for tensor in own] if copied else own


def _room(tensors: Sequence[Tensor], keys: Range) -> list[Tensor]:
    """Room for what another rank has of some keys in the place of such tensors."""
    count = keys[1] - keys[0]
    return [t.new_empty((*t.shape[:-2], count, t.shape[-1])) for t in tensors]


_Parcel = tuple[Sequence[Tensor], int]  # and the rank that it goes to or comes from


class _Transfer:
    """What is sent to one rank and received from another, at the same time."""

    def __init__(self, shards: Shards, way: str) -> None:
        self.shards, self.way = shards, ("forth", "back").index(way)
        self.works: list[tuple[Any, str]] = []
        self.parcels: list[_Parcel] = []  # kept until they have gone
        self.received: Sequence[Tensor] = ()

    def start(self, sent: _Parcel, received: _Parcel) -> None:
        """Begins to send and to receive what there is of either."""
        import torch.distributed as dist

        operations, ranks = [], []
        for act, parcel in ((dist.isend, sent), (dist.irecv, received)):
            tensors, rank = parcel
            self.parcels.append(parcel)
            for place, tensor in enumerate(tensors):
                if tensor.numel():
                    options = {"tag": self._tag(place), "group_peer": rank}
                    operations.append(dist.P2POp(act, tensor, group=self.shards.group, **options))
                    ranks.append(rank)
        self.received = received[0]
        if operations:
            with _naming(f"rank {' or '.join(map(str, sorted({*ranks})))}"):
                works = dist.batch_isend_irecv(operations)
            one_each = len(works) == len(ranks)  # or one for all of them
            names = [f"rank {rank}" for rank in ranks] if one_each else ["a rank"] * len(works)
            self.works = list(zip(works, names, strict=True))

    def _tag(self, place: int) -> int:
        """Other than those of another request: where a rank leaves one out in its backward pass,
        what it sends for the next is not taken for that."""
        return (2 * place + self.way) * _REQUESTS + self.shards.request % _REQUESTS

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
        silent = f"attention: {who} of the group does not answer: {error}"
        raise made_known(RuntimeError(silent)) from error
