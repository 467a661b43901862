"""What a training pass of encoders costs on texts of real lengths, beside torch's.

    python benchmarks/encoders_on_reviews.py REVIEWS [--longest 400] [--threads 2]

REVIEWS is a file of labelled texts; their lengths alone are used, each of at most so many words.
Texts are drawn at random into batches, and their rows are random vectors. In one process, float32,
forward and backward:

* the recurrent encoder (an LSTM of both directions) beside torch's `nn.LSTM` over packed sequences;
* the hybrid, the same LSTM with self-attention above, beside torch's packed `nn.LSTM` alone, and
  beside that with `nn.TransformerEncoder` above;
* self-attention over the texts of a batch in one row without padding (`qkv.Documents`) beside
  `nn.TransformerEncoder` over padded ones.

Where two compute the same function they have the same weights, and their outputs and gradients are
compared first. Then all are called in turn, and the medians are compared.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from common import interleaved, machine, save
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import qkv
from qkv.nn import HybridEncoder, RecurrentEncoder, SelfAttentionEncoder, TransformerLayer
from qkv.tasks.classification.text.reading import read_texts

RECURRENT, HYBRID, ATTENTION = "recurrent", "hybrid", "self-attention, packed"
LSTM, LSTM_BELOW, TRANSFORMER = "nn.LSTM, packed", "the same with attention above", "padded"
PAIRS = (
    (RECURRENT, LSTM), (HYBRID, LSTM), (HYBRID, LSTM_BELOW), (ATTENTION, TRANSFORMER),
)  # fmt: skip
ACTIVATION = "gelu"  # it has no kink, where rounding could choose another gradient
SAME = ((RECURRENT, LSTM), (HYBRID, LSTM_BELOW), (ATTENTION, TRANSFORMER))


@dataclass(frozen=True)
class Batch:
    """Texts as rows `[B, L, inputs]` with their lengths `[B]`, and gradients of the rows of outputs
    `[B, L, widest]`."""

    x: Tensor
    lengths: Tensor
    gradient: Tensor

    @property
    def real(self) -> Tensor:
        """`[B, L]`: whether a row is no padding."""
        return torch.arange(self.x.shape[1]) < self.lengths.unsqueeze(1)


def drawn(lengths: list[int], size: int, inputs: int, widest: int, seed: int) -> Batch:
    """A batch of so many texts, whose lengths are some of these."""
    generator = torch.Generator().manual_seed(seed)
    some = torch.tensor(lengths)[torch.randperm(len(lengths), generator=generator)[:size]]
    x, gradient = (
        torch.randn(len(some), int(some.max()), wide, generator=generator)
        for wide in (inputs, widest)
    )
    batch = Batch(x, some, gradient)
    padding = ~batch.real
    x[padding], gradient[padding] = 0, 0
    return batch


class PackedLSTM(nn.Module):
    """Torch's LSTM over packed sequences, with the weights of an encoder."""

    def __init__(self, encoder: RecurrentEncoder) -> None:
        super().__init__()
        self.lstm = nn.LSTM(
            encoder.inputs, encoder.width // 2, len(encoder.forwards), batch_first=True,
            bidirectional=True,
        )  # fmt: skip
        self.lstm.load_state_dict({
            name.replace("_l0", f"_l{number}") + ending: weight
            for ending, cells in (("", encoder.forwards), ("_reverse", encoder.backwards))
            for number, cell in enumerate(cells)
            for name, weight in cell.state_dict().items()
        })  # fmt: skip

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.lstm(packed)[0], True, total_length=x.shape[1])[0]


class PaddedTransformer(nn.Module):
    """Torch's Transformer over padded sequences, with the weights of an encoder."""

    def __init__(self, encoder: SelfAttentionEncoder) -> None:
        super().__init__()
        layers = [layer for layer in encoder.layers if isinstance(layer, TransformerLayer)]
        made = nn.TransformerEncoderLayer(
            encoder.width, layers[0].attention.heads, 4 * encoder.width, 0.0, batch_first=True,
            norm_first=True, activation=ACTIVATION,
        )  # fmt: skip
        self.encoder = nn.TransformerEncoder(
            made, len(layers), nn.LayerNorm(encoder.width), enable_nested_tensor=False
        )
        self.encoder.load_state_dict({
            **{f"layers.{n}.{name}": weight
               for n, layer in enumerate(layers) for name, weight in _torch_names(layer).items()},
            **{f"norm.{name}": weight for name, weight in encoder.norm.state_dict().items()},
        })  # fmt: skip

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        padding = torch.arange(x.shape[1]) >= lengths.unsqueeze(1)
        return self.encoder(x, src_key_padding_mask=padding)


def _torch_names(layer: TransformerLayer) -> dict[str, Tensor]:
    """The weights of a layer as torch calls them."""
    attention = layer.attention
    parts = attention.query, attention.key, attention.value
    named = {
        "self_attn.in_proj_weight": torch.cat([part.weight for part in parts]),
        "self_attn.in_proj_bias": torch.cat([part.bias for part in parts]),
    }
    modules = {
        "self_attn.out_proj": attention.output, "norm1": layer.attention_norm,
        "norm2": layer.feedforward_norm, "linear1": layer.feedforward[0],
        "linear2": layer.feedforward[3],
    }  # fmt: skip
    return named | {
        f"{name}.{part}": weight
        for name, module in modules.items()
        for part, weight in module.state_dict().items()
    }


class Above(nn.Module):
    """One encoder above another."""

    def __init__(self, below: nn.Module, above: nn.Module) -> None:
        super().__init__()
        self.below, self.above = below, above

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.above(self.below(x, lengths), lengths)


class Packed(nn.Module):
    """A Transformer over all texts in one row, `[1, sum of lengths, width]`."""

    def __init__(self, encoder: SelfAttentionEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        for layer in self.encoder.layers:
            x = layer(x, mask=qkv.Documents(lengths))
        return self.encoder.norm(x)


def models(inputs: int, width: int, heads: int, layers: int) -> dict[str, nn.Module]:
    """All contenders by name; those that compute the same have the same weights."""
    torch.manual_seed(0)
    recurrent = RecurrentEncoder(inputs, width, cell="lstm")
    hybrid = HybridEncoder(inputs, width, heads, 1, activation=ACTIVATION)
    attention = SelfAttentionEncoder(
        inputs, inputs, heads, layers, positions="none", activation=ACTIVATION
    )
    return {
        RECURRENT: recurrent,
        HYBRID: hybrid,
        ATTENTION: Packed(attention),
        LSTM: PackedLSTM(recurrent),
        LSTM_BELOW: Above(PackedLSTM(hybrid.below), PaddedTransformer(hybrid.above)),
        TRANSFORMER: PaddedTransformer(attention),
    }


def passed(name: str, model: nn.Module, batch: Batch) -> Callable[[], tuple[Tensor, Tensor]]:
    """A forward and backward pass: it returns the output and the gradient of the input at all rows
    that are no padding, `[rows, width]`."""
    real, x, gradient = batch.real, batch.x, batch.gradient
    packed = name == ATTENTION
    if packed:
        x, gradient = x[real].unsqueeze(0), gradient[real].unsqueeze(0)
    x = x.clone().requires_grad_()

    def run() -> tuple[Tensor, Tensor]:
        model.zero_grad()
        x.grad = None
        output = model(x, batch.lengths)
        output.backward(gradient[..., : output.shape[-1]])
        assert x.grad is not None
        return output.detach(), x.grad

    def rows() -> tuple[Tensor, Tensor]:
        return tuple(part[0] if packed else part[real] for part in run())  # pyright: ignore

    return rows


def check(contenders: dict[str, Callable[[], tuple[Tensor, Tensor]]]) -> None:
    """Raises where two that compute the same differ by more than rounding."""
    for ours, theirs in SAME:
        for found, expected in zip(contenders[ours](), contenders[theirs](), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def measured(lengths: list[int], given: argparse.Namespace) -> dict[str, float]:
    """The median seconds of each over all batches."""
    made = models(given.inputs, given.width, given.heads, given.layers)
    total = dict.fromkeys(made, 0.0)
    for number in range(given.batches):
        batch = drawn(lengths, given.batch, given.inputs, max(given.inputs, given.width), number)
        contenders = {name: passed(name, model, batch) for name, model in made.items()}
        check(contenders)
        for name, seconds in interleaved(dict(contenders), given.rounds).items():
            total[name] += seconds
    return total


def table(seconds: dict[str, float]) -> str:
    """A row for each pair."""
    lines = ["| encoder | seconds | torch's | seconds | times as fast |", "|---|---|---|---|---|"]
    for ours, theirs in PAIRS:
        ratio = seconds[theirs] / seconds[ours]
        lines.append(
            f"| {ours} | {seconds[ours]:.3f} | {theirs} | {seconds[theirs]:.3f} | {ratio:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Checks, times and prints a row for each pair."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("reviews", type=Path)
    parser.add_argument("--longest", type=int, default=400, help="words of a text")
    parser.add_argument("--batch", type=int, default=32, help="texts of a batch")
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--inputs", type=int, default=128, help="width of rows, of self-attention")
    parser.add_argument("--width", type=int, default=256, help="of the recurrent states")
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--layers", type=int, default=2, help="of the self-attention")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    texts = read_texts(given.reviews).texts
    lengths = [min(len(one.text.split()), given.longest) for one in texts]
    seconds = measured(lengths, given)
    mean = sum(lengths) / len(lengths)
    print(
        f"{given.batches} batches of {given.batch} texts of at most {given.longest} words, on "
        f"average {mean:.0f}, {given.threads} threads\n"
    )
    print(table(seconds))
    if given.json is not None:
        settings = {name: value for name, value in vars(given).items() if name != "json"}
        found = {"machine": machine(), "settings": settings, "seconds": seconds}
        save(given.json, json.dumps(found, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
