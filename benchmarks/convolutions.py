"""How quick convolutions are on this machine, by layout and type: those of the CNN that
`qkv train classify-image` trains, forward and backward.

    python benchmarks/convolutions.py [--pictures 128] [--edge 32] [--threads N] [--rounds 5]

Prints a line for each layer, in 10⁹ floating-point operations a second, two to a multiplication and
three products to a layer: the answer, and the gradients of weights and input. Every answer is
first compared with that of float32 in torch's usual layout.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from common import interleaved, machine
from torch import Tensor, nn

from qkv.models import ImageClassifier, ImageClassifierConfig

LAYOUTS = {"usual": torch.contiguous_format, "channels-last": torch.channels_last}
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2}  # of the largest answer


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=128, help="of a batch")
    parser.add_argument("--edge", type=int, default=32, help="of a picture, in pixels")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    print(machine())
    names = [f"{layout} {kind}" for kind in TYPES for layout in LAYOUTS]
    print(f"{'channels, map':24}" + "".join(f"{name:>24}" for name in names))
    for layer, x in learnt(given.pictures, given.edge):
        label = f"{layer.in_channels} -> {layer.out_channels}, {x.shape[2]} x {x.shape[3]}"
        rates = speeds(layer, x, given.rounds)
        print(f"{label:24}" + "".join(f"{rates[name]:>24.1f}" for name in names), flush=True)


def learnt(pictures: int, edge: int) -> list[tuple[nn.Conv2d, Tensor]]:
    """The convolutions with weights to learn, and what they read of random pictures."""
    model = ImageClassifier(ImageClassifierConfig(10, edge, edge))
    read: list[tuple[nn.Conv2d, Tensor]] = []

    def keep(layer: nn.Conv2d, inputs: tuple[Tensor, ...]) -> None:
        read.append((layer, inputs[0].detach()))

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.requires_grad:
            layer.register_forward_pre_hook(keep)
    with torch.no_grad():
        model(torch.randint(0, 256, (pictures, 3, edge, edge), dtype=torch.uint8))
    return read


def speeds(layer: nn.Conv2d, x: Tensor, rounds: int) -> dict[str, float]:
    """Operations a second, in 10⁹, by layout and type."""
    expected = nn.functional.conv2d(x.contiguous(), layer.weight.detach(), padding=1)
    contenders = {}
    for kind, dtype in TYPES.items():
        for layout, memory in LAYOUTS.items():
            inputs = x.detach().to(dtype, memory_format=memory).requires_grad_()
            weight = layer.weight.detach().to(dtype, memory_format=memory).requires_grad_()
            found = nn.functional.conv2d(inputs, weight, padding=1).detach().float()
            error = float((found - expected).abs().max() / expected.abs().max())
            if not error <= TOLERANCE[dtype]:
                raise SystemExit(f"convolutions: {layout} {kind} is wrong by {error:.1e}")
            contenders[f"{layout} {kind}"] = step(inputs, weight)
    operations = 6 * expected.numel() * layer.weight[0].numel()
    return {name: operations / s / 1e9 for name, s in interleaved(contenders, rounds).items()}


def step(inputs: Tensor, weight: Tensor) -> Callable[[], None]:
    """A call that computes the answer and both gradients."""

    def call() -> None:
        answer = nn.functional.conv2d(inputs, weight, padding=1)
        torch.autograd.grad(answer, (inputs, weight), torch.ones_like(answer))

    return call


if __name__ == "__main__":
    main()
