"""Layers of a group, each compared with the same layer of one process."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from ranks import joined, write
from torch import Tensor, nn

import qkv
from qkv.nn import AttentionPooling, MultiHeadAttention, SelfAttentionEncoder, TransformerLayer
from qkv.request.shards import held_by

WIDTH = 16
SHARES = [6, 3, 8]  # rows of each rank


class Classifier(nn.Module):
    """An encoder, what pools its states, and a map of that."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        group = {name: options[name] for name in ("group", "shards") if name in options}
        self.encoder = SelfAttentionEncoder(WIDTH, WIDTH, 4, **options)
        self.pooling = AttentionPooling(WIDTH, 2, 2, **group)
        self.output = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.output(self.pooling(self.encoder(x, lengths), lengths))


class WithContext(nn.Module):
    """A layer that looks at a context, of which every rank has all."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.layer = TransformerLayer(WIDTH, 4, context_width=WIDTH, **options)
        self.context = nn.Parameter(torch.randn(3, 5, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, self.context)


class Farther(MultiHeadAttention):
    """Attention whose queries stand a few places further on than their keys."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x, query_offset=3)


class OtherValues(MultiHeadAttention):
    """Attention whose values have an input of their own."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x, values=x.cos(), lengths=lengths)


@dataclass(frozen=True)
class Case:
    """A layer, given how a group shares sequences. `pools`: its output is that of whole sequences,
    on every rank. `lengths` are those of the sequences."""

    make: Callable[..., nn.Module]
    options: Callable[[], dict[str, Any]] = dict
    balanced: bool = False
    lengths: tuple[int, ...] | None = None
    pools: bool = False
    shares: tuple[int, ...] = tuple(SHARES)

    @property
    def shards(self) -> str:
        return "balanced" if self.balanced else "in order"


attention = partial(Case, partial(MultiHeadAttention, WIDTH, 4, kv_heads=2))
encoder = partial(Case, partial(SelfAttentionEncoder, WIDTH, WIDTH, 4, 2))
LAYERS: dict[str, Case] = {
    "self-attention": attention(lambda: {"mask": qkv.Causal()}, balanced=True),
    "rotary": attention(lambda: {"mask": qkv.Causal(), "rotary": True}),
    "rotary, balanced": attention(lambda: {"mask": qkv.Causal(), "rotary": True}, balanced=True),
    "lengths": attention(lambda: {"rotary": True}, balanced=True, lengths=(17, 8, 0)),
    "rotary, an offset": Case(
        partial(Farther, WIDTH, 4), lambda: {"mask": qkv.Causal(), "rotary": True}, balanced=True
    ),
    "values of their own": Case(partial(OtherValues, WIDTH, 4), balanced=True, lengths=(17, 8, 0)),
    "a learnt bias": attention(
        lambda: {"bias": qkv.RelativeBias(nn.Parameter(torch.randn(4, 8)), True, 16)}
    ),
    "a learnt sink": attention(lambda: {"normalizer": qkv.Softmax(nn.Parameter(torch.randn(4)))}),
    "a learnt alpha": attention(
        lambda: {"normalizer": qkv.Entmax(nn.Parameter(torch.tensor([1.4])))}
    ),
    "an encoder": encoder(lambda: {"mask": qkv.Window(4, 2)}),
    "an encoder, balanced": encoder(lambda: {"mask": qkv.Causal()}, balanced=True),
    "an encoder, rotary": encoder(lambda: {"positions": "rotary"}, lengths=(5, 17, 8)),
    "an encoder, learnt positions": encoder(
        lambda: {"positions": qkv.nn.LearntPositions(WIDTH, 17)}, balanced=True, lengths=(0, 11, 8)
    ),
    "an encoder, a rank without rows": encoder(shares=(6, 0, 8), lengths=(9, 14, 3)),
    "an encoder that drops weights": encoder(lambda: {"attention_dropout": 0.4}),
    "a layer with a context": Case(WithContext, lambda: {"mask": qkv.Causal()}, balanced=True),
    "pooling": Case(partial(AttentionPooling, WIDTH, 3, 2), pools=True),
    "pooling, lengths": Case(
        partial(AttentionPooling, WIDTH, 3, 2), balanced=True, lengths=(8, 0, 15), pools=True
    ),
    "a classifier": Case(
        Classifier, lambda: {"mask": qkv.Window(3, 3)}, lengths=(17, 4, 12), pools=True
    ),
}


def cut(tensor: Tensor, held) -> Tensor:
    return torch.cat([tensor.narrow(-2, a, b - a) for a, b in held], -2).detach()


def made(case: Case, **sharing: Any) -> nn.Module:
    torch.manual_seed(0)
    return case.make(**case.options(), **sharing).double()


def compared(name: str, rank: int, count: int) -> dict[str, float]:
    """How far outputs, gradients of the input and gradients of parameters are apart, those of all
    ranks summed."""
    case = LAYERS[name]
    group = torch.distributed.group.WORLD
    alone = made(case)
    together = copy.deepcopy(made(case, group=group, shards=case.shards))
    shares = list(case.shares[:count])
    held = held_by(case.shards, shares)[rank]
    whole = torch.randn(3, sum(shares), WIDTH, dtype=torch.float64)
    lengths = None if case.lengths is None else torch.tensor(case.lengths)
    options = {} if lengths is None else {"lengths": lengths}
    x, own = whole.clone().requires_grad_(), cut(whole, held).requires_grad_()
    torch.manual_seed(7)
    wanted = alone(x, **options)
    torch.manual_seed(7 + rank)  # the first one's seed drops weights
    found = together(own, **options)
    seed = torch.randn(wanted.shape, dtype=wanted.dtype, generator=torch.Generator().manual_seed(1))
    wanted.backward(seed)
    # What all ranks have alike gives to the sum of their losses as often as there are ranks.
    found.backward(seed / count if case.pools else cut(seed, held))
    for parameter in together.parameters():
        torch.distributed.all_reduce(parameter.grad)
    pairs = {
        "output": (found, wanted if case.pools else cut(wanted, held)),
        "input": (own.grad, cut(x.grad, held)),
    }
    both = zip(alone.named_parameters(), together.parameters(), strict=True)
    pairs |= {name: (mine.grad, other.grad) for (name, other), mine in both}
    return {
        name: float((a - b).abs().max()) if a.numel() else 0.0 for name, (a, b) in pairs.items()
    }


def same_bits(rank: int, count: int) -> bool:
    """Whether what a pooling gives on this rank is what it gives on the first."""
    pooling = made(LAYERS["pooling"], group=torch.distributed.group.WORLD)
    x = torch.randn(2, SHARES[rank], WIDTH, dtype=torch.float64)
    found = pooling(x).detach()
    first = found.clone()
    torch.distributed.broadcast(first, 0)
    return torch.equal(found, first)


def looked(rank: int, count: int) -> dict[str, float]:
    """How far what a pooling's and an encoder's matrices say is from what they say of whole
    sequences."""
    group, lengths = torch.distributed.group.WORLD, torch.tensor([17, 4, 9])
    held = held_by("balanced", SHARES[:count])[rank]
    whole = torch.randn(
        3,
        sum(SHARES[:count]),
        WIDTH,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(2),
    )
    found, wanted = {}, {}
    for said, x, sharing in (
        (wanted, whole, {}),
        (found, cut(whole, held), {"group": group, "shards": "balanced"}),
    ):
        said["mass"] = made(LAYERS["pooling"], **sharing).matrix(x, lengths).mass()
        [_, above] = made(LAYERS["an encoder, balanced"], **sharing).matrices(x, lengths)
        said["entropy"] = above.entropy()
    return {
        name: float((found[name] - cut(wanted[name].unsqueeze(-1), held).squeeze(-1)).abs().max())
        for name in found
    }


def even(rank: int, count: int) -> list[int]:
    """This rank's share of 11 places."""
    group = torch.distributed.group.WORLD
    encoder = SelfAttentionEncoder(WIDTH, WIDTH, group=group, shards="balanced")
    return encoder.sharing.own(torch.arange(11), 0).tolist()


def refused(rank: int, count: int) -> dict[str, str]:
    """What layers say of a call that a group cannot serve."""
    group = torch.distributed.group.WORLD
    layer = MultiHeadAttention(WIDTH, 4, group=group)
    encoder = SelfAttentionEncoder(WIDTH, WIDTH, group=group)
    short = SelfAttentionEncoder(
        WIDTH, WIDTH, positions=qkv.nn.LearntPositions(WIDTH, 2 * count - 1), group=group
    )
    x = torch.ones(2, 2, WIDTH)
    pooling = AttentionPooling(WIDTH, group=group)
    block = TransformerLayer(WIDTH, 4, group=group)
    lengths = torch.tensor([3, 2 if rank else 1])
    odd, wide = x[..., :3] if rank == 1 else x, x.double() if rank == 1 else x
    acts: dict[str, Callable[[], object]] = {
        "cache": lambda: layer(x, cache=qkv.nn.KeyValueCache()),
        "summary": lambda: encoder.summary(encoder(x)),
        "lengths": lambda: encoder(x, lengths),
        "lengths of one": lambda: encoder(x, lengths if rank else None),
        "positions": lambda: short(x),
        "x of one": lambda: layer(odd),
        "context of one": lambda: layer(x, odd),
        "a stage of one": lambda: layer(x, **({"score": None} if rank == 1 else {})),
        "an encoder's x of one": lambda: encoder(odd),
        "an encoder's dtype of one": lambda: encoder(wide),
        "a pooling's x of one": lambda: pooling(odd),
        "a block's x of one": lambda: block(odd),
        "a block's context of one": lambda: block(x, x if rank == 1 else None),
    }
    return {name: _message(act) for name, act in acts.items()}


def _message(act: Callable[[], object]) -> str:
    try:
        act()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


if __name__ == "__main__":
    rank, count, folder, _ = joined()
    found = {name: compared(name, rank, count) for name in LAYERS}
    for act in (same_bits, looked, even, refused):
        found[act.__name__] = act(rank, count)
    write(rank, folder, found)
    torch.distributed.destroy_process_group()
