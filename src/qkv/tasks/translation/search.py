"""Beam search over an encoder-decoder, many sentences at once."""

from __future__ import annotations

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


def longest_target(length: int) -> int:
    """How many tokens a translation of `length` source tokens may have, the end mark included."""
    return 3 * length + 10


def beam_search(
    model: TranslationModel,
    source: Tensor,
    lengths: Tensor,
    *,
    beam: int,
    length_penalty: float,
    unknown: int | None,
) -> list[Hypothesis]:
    """The best translation of each source found with `beam` hypotheses kept at every step.

    `source` `[B, Lk]` are token numbers, of which `lengths` `[B]` are real in each row.
    Finished ones are compared by log-probability / tokens ** `length_penalty`: 0 prefers short
    ones, 1 is the mean per token. A sentence is done when `beam` hypotheses have ended. A beam of
    1 is greedy search. `unknown` is never written.
    """
    return _Search(model, source, lengths, beam, length_penalty, unknown).run()


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
    ) -> None:
        self.model, self.beam, self.length_penalty = model, beam, length_penalty
        count, device = len(lengths), lengths.device
        self.banned = [n for n in (PADDING, START, unknown) if n is not None]
        self.limits = [longest_target(n) for n in lengths.tolist()]
        self.finished: list[list[Hypothesis]] = [[] for _ in range(count)]
        self.live = list(range(count))
        self.state = model.start(source, lengths).spread(beam)
        self.tokens = torch.full((count * beam, 1), START, device=device)
        # All hypotheses begin alike: only the first of each sentence counts at the first step.
        self.totals = torch.full((count, beam), -torch.inf, device=device)
        self.totals[:, 0] = 0

    def run(self) -> list[Hypothesis]:
        while self.live:
            ranked, parents, tokens = self._extend()
            kept = self._finish(ranked, parents, tokens)
            self._keep(ranked, parents, tokens, kept)
        if not all(self.finished):
            raise ValueError("beam_search: the model's probabilities are not finite")
        return [max(found, key=self._rank) for found in self.finished]

    def _rank(self, found: Hypothesis) -> float:
        return found.log_probability / len(found.tokens) ** self.length_penalty

    def _extend(self) -> tuple[Tensor, Tensor, Tensor]:
        """The 2 × beam best continuations of each sentence: totals, rows within it, tokens.

        Twice the beam, so that `beam` of them go on even if as many end.
        """
        logits, self.state = self.model.decode(self.tokens[:, -1:], self.state)
        steps = logits[:, -1].log_softmax(-1)
        steps[:, self.banned] = -torch.inf
        steps = steps.view(len(self.live), self.beam, -1)
        last = [self.limits[sentence] == self.tokens.shape[1] for sentence in self.live]
        if any(last):  # nothing but the end mark may come now
            ended = steps[..., END].clone()
            steps[last] = -torch.inf
            steps[..., END] = ended
        totals = (self.totals.unsqueeze(-1) + steps).flatten(1)
        ranked, flat = totals.topk(min(2 * self.beam, totals.shape[1]))
        return ranked, flat // steps.shape[-1], flat % steps.shape[-1]

    def _finish(self, ranked: Tensor, parents: Tensor, tokens: Tensor) -> list[int]:
        """Collect the hypotheses that ended; the places of the sentences that go on."""
        going = []
        ended = (tokens == END) & ranked.isfinite()
        for place, sentence in enumerate(self.live):
            for rank in ended[place, : self.beam].nonzero().flatten().tolist():
                row = place * self.beam + int(parents[place, rank])
                written = [*self.tokens[row, 1:].tolist(), END]
                found = Hypothesis(written, float(ranked[place, rank]))
                self.finished[sentence].append(found)
            full = len(self.finished[sentence]) >= self.beam
            if not full and self.tokens.shape[1] < self.limits[sentence]:
                going.append(place)
        return going

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
