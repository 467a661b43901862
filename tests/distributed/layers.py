"""Layers of a group, each compared with the same layer of one process."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from ranks import joined, write
from torch import Tensor, nn

import qkv
from qkv.request.shards import held_balanced, held_in_order

LENGTHS = [6, 3, 8]
LAYERS: dict[str, Callable[[], dict[str, Any]]] = {
    "self-attention": lambda: {"mask": qkv.Causal(), "shards": "balanced"},
    "rotary": lambda: {"mask": qkv.Causal(), "rotary": True},
    "rotary, balanced": lambda: {"mask": qkv.Causal(), "rotary": True, "shards": "balanced"},
    "a learnt bias": lambda: {"bias": qkv.RelativeBias(nn.Parameter(torch.randn(4, 8)), True, 16)},
    "a learnt sink": lambda: {"normalizer": qkv.Softmax(nn.Parameter(torch.randn(4)))},
    "a learnt alpha": lambda: {"normalizer": qkv.Entmax(nn.Parameter(torch.tensor([1.4])))},
}


def cut(tensor: Tensor, held) -> Tensor:
    return torch.cat([tensor.narrow(-2, a, b - a) for a, b in held], -2).detach()


def compared(name: str, rank: int) -> dict[str, float]:
    """How far outputs, gradients of the input and gradients of parameters are apart, those of all
    ranks summed."""
    torch.manual_seed(0)
    options = LAYERS[name]()
    shards = options.pop("shards", "in order")
    group = torch.distributed.group.WORLD
    alone = qkv.nn.MultiHeadAttention(16, 4, kv_heads=2, **options).double()
    together = qkv.nn.MultiHeadAttention(16, 4, kv_heads=2, group=group, shards=shards, **options)
    together.double().load_state_dict(alone.state_dict())
    together = copy.deepcopy(together)
    held = (held_balanced if shards == "balanced" else held_in_order)(LENGTHS)[rank]
    whole = torch.randn(2, sum(LENGTHS), 16, dtype=torch.float64)
    x, own = whole.clone().requires_grad_(), cut(whole, held).requires_grad_()
    wanted, found = alone(x), together(own)
    seed = torch.randn_like(wanted)
    wanted.backward(seed)
    found.backward(cut(seed, held))
    for parameter in together.parameters():
        torch.distributed.all_reduce(parameter.grad)
    pairs = {"output": (found, cut(wanted, held)), "input": (own.grad, cut(x.grad, held))}
    both = zip(alone.named_parameters(), together.parameters(), strict=True)
    pairs |= {name: (mine.grad, other.grad) for (name, other), mine in both}
    return {name: float((a - b).abs().max()) for name, (a, b) in pairs.items()}


def refused() -> str:
    layer = qkv.nn.MultiHeadAttention(16, 4, group=torch.distributed.group.WORLD)
    texts = []
    for act in (
        lambda: layer(torch.ones(1, 2, 16), lengths=torch.tensor([1])),
        lambda: layer(torch.ones(1, 2, 16), cache=qkv.nn.KeyValueCache()),
        lambda: layer.prepare(torch.ones(1, 2, 16), lengths=torch.tensor([1])),
    ):
        try:
            act()
        except ValueError as error:
            texts.append(str(error))
    return "\n".join(texts)


if __name__ == "__main__":
    rank, count, folder, _ = joined()
    found = {name: compared(name, rank) for name in LAYERS}
    write(rank, folder, found | {"refused": refused()})
    torch.distributed.destroy_process_group()
