"""Made sequences whose last row asks for something far behind, and a task that learns to answer.

* recall: `... MARK value ... QUERY`: which of eight values came after the mark? Distractors are
  other values, without a mark.
* agreement: `... noun ... QUERY`: is the subject, the noun that no preposition is before, one of
  the singular or of the plural? Distractors are `PREPOSITION noun`, of any number.

What stands between is filler. The distance is that from the answer to the query.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from qkv.lab.drawn import TESTED, DrawnTask
from qkv.nn import Encoder
from qkv.tasks.classification.learning import Examples

QUERY, MARK, PREPOSITION = 1, 2, 3
_VALUES, _NOUNS, _FILLERS = range(4, 12), range(12, 20), range(20, 52)
TOKENS = _FILLERS.stop
CLASSES = {"recall": len(_VALUES), "agreement": 2}
_BEFORE = 8  # rows of filler at most before the answer


def sequences(
    kind: str, count: int, distance: int, distractors: int, seed: int
) -> tuple[Tensor, Tensor]:
    """So many sequences `[count, length]` of one distance (at least 2) and their answers `[count]`,
    with at most so many distractors, as far as there is room."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(among: range, *shape: int) -> Tensor:
        return torch.randint(among.start, among.stop, shape, generator=generator)

    before = drawn(_FILLERS, count, int(drawn(range(_BEFORE + 1), 1)))
    between = drawn(_FILLERS, count, distance - 1)
    query = torch.full((count, 1), QUERY)
    width = 1 if kind == "recall" else 2
    room = (distance - 1) // width
    places = torch.rand(count, room, generator=generator).argsort(1)[:, :distractors] * width
    if kind == "recall":
        answers = drawn(range(len(_VALUES)), count)
        others = drawn(range(1, len(_VALUES)), *places.shape)
        others = (answers.unsqueeze(1) + others) % len(_VALUES)
        between.scatter_(1, places, _VALUES.start + others)
        asked = [torch.full((count, 1), MARK), _VALUES.start + answers.unsqueeze(1)]
    else:
        asked = [drawn(_NOUNS, count, 1)]
        answers = (asked[0] % 2).squeeze(1)
        between.scatter_(1, places, PREPOSITION)
        between.scatter_(1, places + 1, drawn(_NOUNS, *places.shape))
    return torch.cat([before, *asked, between, query], 1), answers


class Reader(nn.Module):
    """Answers by the state of the last row."""

    def __init__(self, encoder: Encoder, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, encoder.inputs)
        self.encoder = encoder
        self.output = nn.Linear(encoder.width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits `[B, classes]` of sequences `[B, L]`."""
        return self.answered(self.embedding(tokens))

    def answered(self, rows: Tensor) -> Tensor:
        """Logits `[B, classes]` of embedded sequences `[B, L, inputs]`."""
        return self.output(self.encoder(rows)[:, -1])


class DistanceTask(DrawnTask[Reader]):
    """Learns to answer a kind of sequences. Distances are drawn evenly on a logarithmic scale.

    `budget` has `steps`, `sequences` (of a batch), `farthest` and `distractors`.
    """

    held_out = 20

    def __init__(
        self, kind: str, make: Callable[[], Encoder], budget: Mapping[str, Any], seed: int
    ) -> None:
        super().__init__(budget, seed)
        self.kind, self.make = kind, make

    def identity(self) -> dict[str, Any]:
        return {"kind": self.kind, **super().identity()}

    def model(self) -> Reader:
        return Reader(self.make(), CLASSES[self.kind])

    def tested(self, distance: int, distractors: int, count: int) -> tuple[Tensor, Tensor]:
        """The sequences of the test, the same for every model."""
        return sequences(self.kind, count, distance, distractors, TESTED + distance)

    def examples(self, seed: int) -> Examples:
        generator = torch.Generator().manual_seed(seed)
        share = float(torch.rand((), generator=generator))
        distance = round(2 * math.exp(share * math.log(self.budget["farthest"] / 2)))
        most = self.budget["distractors"]
        distractors = int(torch.randint(most + 1, (), generator=generator))
        tokens, answers = sequences(
            self.kind, self.budget["sequences"], distance, distractors, seed
        )
        return Examples((tokens,), answers, f"distance {distance}")


def gradients(
    reader: Reader, tokens: Tensor, answers: Tensor, back: list[int]
) -> list[list[float]]:
    """For each sequence log₁₀ ‖∂loss/∂x(t−d)‖ of the loss at its last row t with respect to the
    embedded row d before, for each d in `back`."""
    rows = reader.embedding(tokens).detach().requires_grad_()
    nn.functional.cross_entropy(reader.answered(rows), answers, reduction="sum").backward()
    assert rows.grad is not None
    norms = rows.grad.norm(dim=-1).flip(1)[:, back]
    return norms.clamp(min=torch.finfo(norms.dtype).tiny).log10().tolist()
