"""What FlexAttention costs on a processor, forward and in training.

    python benchmarks/flex.py                  speed
    python benchmarks/flex.py --memory         peak memory at growing lengths

A language model of 6 layers, width 512, 8 heads, trains on one text of 2,048 places with a causal
window of 256 and ALiBi: by `qkv.flex_attention`, and with its attention by `torch.compile` of the
dense formula, since torch's own FlexAttention has no backward on processors. The attention of one
layer is timed by itself as well, and its forward pass beside torch's own compiled FlexAttention.
Each is checked against the dense formula in float64 first; then all are timed in turn in one
process, and medians are compared. Memory is the peak of a fresh process that makes the block mask
and runs the attention of one layer forward and backward, less what was resident when the inputs had
been made, and less the size of the output and of the gradients.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from common import interleaved, machine, peak
from observing import resident
from torch import Tensor, nn
from torch.nn.attention import flex_attention as theirs

import qkv
from qkv.testing.comparator import assert_close

LAYERS, WIDTH, HEADS, VOCABULARY, LENGTH, WINDOW = 6, 512, 8, 8192, 2048, 256
LENGTHS = (2048, 4096, 8192, 16384)

Attend = Callable[..., Any]


def seen(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
    """The mask_mod: a causal window."""
    return (query >= key) & (query - key < WINDOW)


def by_flex(flex: Attend, blocks: theirs.BlockMask) -> Attend:
    """ALiBi and the window by a FlexAttention."""

    def attend(query: Tensor, key: Tensor, value: Tensor, slopes: Tensor) -> Tensor:
        def mod(score: Tensor, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            return score + slopes[h] * (k - q)

        return flex(query, key, value, mod, blocks)

    return attend


def dense(query: Tensor, key: Tensor, value: Tensor, slopes: Tensor) -> Tensor:
    """The same by the formula, in the dtype of the query."""
    place = torch.arange(query.shape[-2])
    apart = place[:, None] - place
    scores = query @ key.mT * query.shape[-1] ** -0.5 - slopes[:, None, None] * apart
    scores = scores.masked_fill((apart < 0) | (apart >= WINDOW), -math.inf)
    return scores.softmax(-1) @ value


class Layer(nn.Module):
    """Attention and a feed-forward network, each behind a norm."""

    def __init__(self, attend: Attend) -> None:
        super().__init__()
        self.attend = attend
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.into, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        wide = 4 * WIDTH
        self.feed = nn.Sequential(nn.Linear(WIDTH, wide), nn.GELU(), nn.Linear(wide, WIDTH))
        self.slopes = nn.Parameter(2.0 ** -torch.arange(1.0, HEADS + 1))

    def forward(self, states: Tensor) -> Tensor:
        split = self.into(self.norms[0](states)).unflatten(-1, (3, HEADS, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)
        seen = self.attend(query, key, value, self.slopes)
        states = states + self.out(seen.transpose(1, 2).flatten(2))
        return states + self.feed(self.norms[1](states))


def trained(attend: Attend) -> Callable[[], Tensor]:
    """A step of a model: its loss, and the gradients of all of its parameters."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Embedding(VOCABULARY, WIDTH),
        *(Layer(attend) for _ in range(LAYERS)),
        nn.Linear(WIDTH, VOCABULARY),
    )
    tokens = torch.randint(VOCABULARY, (1, LENGTH + 1))

    def step() -> Tensor:
        model.zero_grad()
        loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[0, 1:])
        loss.backward()
        return loss.detach()

    return step


def inputs(length: int) -> tuple[Tensor, ...]:
    """Query, key, value and slopes of a layer, with gradients."""
    made = torch.Generator().manual_seed(1)
    shape = (1, HEADS, length, WIDTH // HEADS)
    vectors = (torch.randn(shape, generator=made).requires_grad_() for _ in range(3))
    return (*vectors, (2.0 ** -torch.arange(1.0, HEADS + 1)).requires_grad_())


def with_backward(attend: Attend, given: tuple[Tensor, ...]) -> Callable[[], object]:
    return lambda: torch.autograd.grad(attend(*given).sum(), given)


def forward(attend: Attend, given: tuple[Tensor, ...]) -> Callable[[], Tensor]:
    given = tuple(tensor.detach() for tensor in given)
    return lambda: attend(*given)


def check(attends: dict[str, Attend], given: tuple[Tensor, ...]) -> None:
    """Raises where one of them differs from the formula in float64."""
    wide = tuple(tensor.detach().double() for tensor in given)
    plain = tuple(tensor.detach() for tensor in given)
    truth, baseline = dense(*wide), dense(*plain)
    for name, attend in attends.items():
        assert_close(attend(*plain), truth, baseline, what=name)


def speed(rounds: int) -> None:
    """Prints the table of speed."""
    blocks = qkv.create_block_mask(seen, None, None, LENGTH, LENGTH)
    ours = by_flex(qkv.flex_attention, blocks)
    formula = torch.compile(dense, dynamic=False)
    torchs = by_flex(torch.compile(theirs.flex_attention, dynamic=False), blocks)
    given = inputs(LENGTH)
    check({"qkv": ours, "formula": formula, "torch": torchs}, given)
    print(machine())
    tables = {
        "training step of the model": {
            "qkv.flex_attention": trained(ours),
            "torch.compile of the dense formula": trained(formula),
        },
        "attention of a layer, forward and backward": {
            "qkv.flex_attention": with_backward(ours, given),
            "torch.compile of the dense formula": with_backward(formula, given),
        },
        "attention of a layer, forward": {
            "qkv.flex_attention": forward(ours, given),
            "torch.compile of the dense formula": forward(formula, given),
            "torch's FlexAttention, compiled": forward(torchs, given),
        },
    }
    for title, contenders in tables.items():
        print(title)
        times = interleaved(contenders, rounds)
        best = times["qkv.flex_attention"]
        for name, seconds in times.items():
            print(f"  {seconds * 1e3:9.1f} ms  {seconds / best:5.2f} times  {name}")


def memory() -> None:
    """Prints the table of memory, each figure by a process of its own."""
    print(machine())
    for name in ("qkv", "dense"):
        for length in LENGTHS:
            if name == "dense" and length > 4096:
                continue
            run = [sys.executable, __file__, "--extra", name, str(length)]
            extra = subprocess.run(run, capture_output=True, text=True, check=True).stdout
            print(f"  {int(extra) / 2**20:9.1f} MiB  {name}, {length} places")


def extra(name: str, length: int) -> int:
    """The bytes that forward and backward take beside inputs, output and gradients."""
    given = inputs(length)
    query, key, value = (tensor[..., :64, :] for tensor in given[:3])
    qkv.flex_attention(query, key, value)  # so that all is imported
    before = resident()
    attend: Attend = dense
    if name == "qkv":
        attend = by_flex(
            qkv.flex_attention, qkv.create_block_mask(seen, None, None, length, length)
        )
    with_backward(attend, given)()
    return max(0, peak() - before - 4 * given[0].numel() * given[0].itemsize)


def main() -> None:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--extra", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.extra:
        print(extra(options.extra[0], int(options.extra[1])))
    elif options.memory:
        memory()
    else:
        speed(options.rounds)


if __name__ == "__main__":
    main()
