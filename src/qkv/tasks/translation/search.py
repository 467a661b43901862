"""Beam search over an encoder-decoder, many sentences at once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from qkv.models import TranslationModel
from qkv.tasks.tokens import END, PADDING, START


class Hypothesis(NamedTuple):
    """Target tokens up to the end mark and the sum of their log-probabilities, in nats."""

    tokens: list[int]
    log_probability: float

    @property
    def score(self) -> float:
        """Nats per token."""
        return self.log_probability / len(self.tokens)


REWARDED = 10  # tokens more than the source has
RUN = 4  # tokens in a row that count as a repetition
LOST = 8.0  # nats that a mark of the source costs a hypothesis that ends without it


def longest_target(length: int) -> int:
    """How many tokens a translation of `length` source tokens may have, the end mark included."""
    return 2 * length + 10


def most_repeats(tokens: Sequence[int]) -> int:
    """How often the pair of neighbours that is commonest in `tokens` stands there; at least 1."""
    return max(Counter(pairwise(tokens)).values(), default=1)


def rank(log_probability: float, tokens: int, source_tokens: int, length_penalty: float) -> float:
    """How good a hypothesis is beside others of its sentence; the larger, the better.

    The order is that of log-probability / tokens ** `length_penalty`. That power may be too large
    for a number, so this is minus the logarithm of the quotient's opposite. A `length_penalty` of 0
    prefers short hypotheses; 1 compares the means per token. More than 1 rewards every token, and
    an endless loop would win over any sentence: so tokens beyond the source's number and `REWARDED`
    count by the mean alone.

    Source: Wu et al., "Google's Neural Machine Translation System" (2016), section 7, in its plain
    form; the bound: Yang, Huang, Ma, "Breaking the Beam Search Curse" (2018).
    """
    beyond = max(length_penalty - 1, 0)
    rewarded = min(tokens, source_tokens + REWARDED)
    if log_probability >= 0:
        return math.inf
    length = min(length_penalty, 1) * math.log(tokens) + beyond * math.log(rewarded)
    return length - math.log(-log_probability)


def beam_search(
    model: TranslationModel,
    source: Tensor,
    lengths: Tensor,
    *,
    beam: int,
    length_penalty: float,
    unknown: int | None,
    marks: Sequence[tuple[int, int]] = (),
) -> list[list[Hypothesis]]:
    """The translations of each source that beam search finds, at least one, the best first.

    A sentence is done when `beam` hypotheses have ended. A run of `RUN` tokens is not written a
    second time, unless the source repeats itself too: as often as its commonest pair of neighbours.
    A mark is written no more often than the source has it, and a hypothesis that ends without one
    that the source has is compared as if it were less likely, by `LOST`.

    Args:
        model: what translates.
        source: `[B, Lk]`, token numbers.
        lengths: `[B]`, how many tokens of each source are real.
        beam: how many hypotheses are kept at each step; 1 is greedy search.
        length_penalty: for `rank`, which compares those that have ended.
        unknown: a token that is never written.
        marks: the numbers of each mark (`qkv.tasks.translation.carried`) among the tokens of the
            source and of the target.

    Raises:
        ValueError: the model's probabilities are not finite.

    Source: Paulus et al., "A Deep Reinforced Model for Abstractive Summarization" (2017),
    section 2.5, which forbids every second run, of three.
    """
    return _Search(model, source, lengths, beam, length_penalty, unknown, marks).run()


class _Search:
    """The live hypotheses are rows of tensors, `beam` rows for each unfinished sentence."""

    def __init__(
        self,
        model: TranslationModel,
        source: Tensor,
        lengths: Tensor,
        beam: int,
        length_penalty: float,
        unknown: int | None,
        marks: Sequence[tuple[int, int]],
    ) -> None:
        self.model, self.beam, self.length_penalty = model, beam, length_penalty
        count, device = len(lengths), lengths.device
        self.banned = [n for n in (PADDING, START, unknown) if n is not None]
        self.lengths = lengths.tolist()
        self.limits = [longest_target(n) for n in self.lengths]
        pairs = zip(source.tolist(), self.lengths, strict=True)
        repeats = [most_repeats(row[:length]) for row, length in pairs]
        self.repeats = torch.tensor(repeats, device=device)
        read, self.marks = torch.tensor(marks, device=device, dtype=torch.long).view(-1, 2).T
        self.asked = (source.unsqueeze(-1) == read).sum(1)  # how often each mark is to be written
        if not self.asked.any():  # all are forbidden, and none has to be counted
            self.banned += self.marks.tolist()
            self.marks, self.asked = self.marks[:0], self.asked[:, :0]
        # Each with the total by which it is compared.
        self.finished: list[list[tuple[float, Hypothesis]]] = [[] for _ in range(count)]
        self.live = list(range(count))
        self.state = model.start(source, lengths).spread(beam)
        self.tokens = torch.full((count * beam, 1), START, device=device)
        # All hypotheses begin alike: only the first of each sentence counts at the first step.
        self.totals = torch.full((count, beam), -torch.inf, device=device)
        self.totals[:, 0] = 0

    def run(self) -> list[list[Hypothesis]]:
        while self.live:
            left = self._marks_left()
            ranked, parents, tokens = self._extend(left)
            kept = self._finish(ranked, parents, tokens, left)
            self._keep(ranked, parents, tokens, kept)
        if not all(self.finished):
            raise ValueError("beam_search: the model's probabilities are not finite")
        pairs = zip(self.finished, self.lengths, strict=True)
        return [self._ranked(found, length) for found, length in pairs]

    def _ranked(self, found: list[tuple[float, Hypothesis]], length: int) -> list[Hypothesis]:
        def key(one: tuple[float, Hypothesis]) -> float:
            return rank(one[0], len(one[1].tokens), length, self.length_penalty)

        return [hypothesis for _, hypothesis in sorted(found, key=key, reverse=True)]

    def _extend(self, left: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The 2 × beam best continuations of each sentence: totals, rows within it, tokens.

        Twice the beam, so that `beam` of them go on even if as many end.
        """
        logits, self.state = self.model.decode(self.tokens[:, -1:], self.state)
        steps = logits[:, -1].log_softmax(-1)
        steps[:, self.banned] = -torch.inf
        self._forbid_runs(steps)
        steps[:, self.marks] = steps[:, self.marks].masked_fill(left <= 0, -torch.inf)
        steps[:, END] -= _price(left)
        steps = steps.view(len(self.live), self.beam, -1)
        last = [self.limits[sentence] == self.tokens.shape[1] for sentence in self.live]
        if any(last):  # nothing but the end mark may come now
            ended = steps[..., END].clone()
            steps[last] = -torch.inf
            steps[..., END] = ended
        totals = steps.add_(self.totals.unsqueeze(-1)).flatten(1)
        ranked, flat = totals.topk(min(2 * self.beam, totals.shape[1]))
        return ranked, flat // steps.shape[-1], flat % steps.shape[-1]

    def _forbid_runs(self, steps: Tensor) -> None:
        """Make impossible what would write a run once more than is allowed."""
        written = self.tokens[:, 1:]
        if written.shape[1] < RUN:
            return
        runs = written.unfold(1, RUN, 1)  # [rows, runs, RUN]
        begun = (runs[..., :-1] == written[:, None, 1 - RUN :]).all(-1)
        rows = begun.any(-1).nonzero().flatten()
        if not len(rows):
            return
        found = begun[rows].to(steps.dtype)
        times = steps.new_zeros(len(rows), steps.shape[-1])
        times.scatter_add_(1, runs[rows, :, -1], found)
        allowed = self.repeats[self.live].repeat_interleave(self.beam)[rows].unsqueeze(1)
        steps[rows] = steps[rows].masked_fill_(times >= allowed, -torch.inf)

    def _marks_left(self) -> Tensor:
        """How often each hypothesis has still to write each mark, `[rows, marks]`."""
        asked = self.asked[self.live].repeat_interleave(self.beam, 0)
        return asked - (self.tokens.unsqueeze(-1) == self.marks).sum(1)

    def _finish(self, ranked: Tensor, parents: Tensor, tokens: Tensor, left: Tensor) -> list[int]:
        """Collect the hypotheses that ended; the places of the sentences that go on."""
        ended = (tokens == END) & ranked.isfinite()
        ended[:, self.beam :] = False
        places, ranks = ended.nonzero(as_tuple=True)
        rows = places * self.beam + parents[places, ranks]
        totals = ranked[places, ranks]
        likely = totals + _price(left[rows])
        found = zip(
            places.tolist(), self.tokens[rows, 1:].tolist(), totals.tolist(), likely.tolist(),
            strict=True,
        )  # fmt: skip
        for place, written, total, log_probability in found:
            hypothesis = Hypothesis([*written, END], log_probability)
            self.finished[self.live[place]].append((total, hypothesis))
        length = self.tokens.shape[1]
        return [
            place for place, sentence in enumerate(self.live)
            if len(self.finished[sentence]) < self.beam and length < self.limits[sentence]
        ]  # fmt: skip

    def _keep(self, ranked: Tensor, parents: Tensor, tokens: Tensor, kept: list[int]) -> None:
        """Go on with the best `beam` hypotheses that have not ended, of the sentences kept."""
        self.live = [self.live[place] for place in kept]
        places = torch.tensor(kept, dtype=torch.long, device=ranked.device)
        ranked, parents, tokens = ranked[places], parents[places], tokens[places]
        open_totals = ranked.masked_fill(tokens == END, -torch.inf)
        self.totals, chosen = open_totals.topk(self.beam)
        rows = (places.unsqueeze(1) * self.beam + parents.gather(1, chosen)).flatten()
        self.state = self.state.reorder(rows)
        written = tokens.gather(1, chosen).view(-1, 1)
        self.tokens = torch.cat([self.tokens[rows], written], dim=1)


def _price(left: Tensor) -> Tensor:
    """What ending costs hypotheses with so many marks left `[rows, marks]`, in nats."""
    return LOST * left.clamp(min=0).sum(1)
