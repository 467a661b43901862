"""Translation as a task for the trainer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, fields, replace
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import torch.nn.functional as F

from qkv.models import SequenceToSequence, SequenceToSequenceConfig
from qkv.tasks import by_size
from qkv.tasks.starting import require_untold, sizes_of, take_over, unless_told
from qkv.tasks.tokens import PADDING, Tokens, are_chinese
from qkv.tasks.trainer.task import LOSS, Loss
from qkv.tasks.translation.batches import Batch, EncodedPair, bucketed, make_batch
from qkv.tasks.translation.bleu import are_long_enough, bleu, by_source
from qkv.tasks.translation.carried import MARKS
from qkv.tasks.translation.options import LENGTH_PENALTY, LONGEST, PIECES, Options
from qkv.tasks.translation.pairs import Pair
from qkv.tasks.translation.translator import Translator
from qkv.tasks.translation.varied import Drawing


class _Batches:
    """Batches made when they are asked for."""

    def __init__(self, pairs: list[EncodedPair], groups: list[list[int]]) -> None:
        self.pairs, self.groups = pairs, groups

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, number: int) -> Batch:
        group = self.groups[number]
        name = f"{len(group)} pairs, the first number {group[0] + 1} of the training data"
        return make_batch([self.pairs[i] for i in group], name)


class TranslationTask:
    """Learns a `SequenceToSequence` from sentence pairs; the best is that of highest BLEU, or of
    highest chrF where most of the references are too short for BLEU.

    A `trained` translator is gone on from: with its weights, tokens and sizes, of which `sizes` may
    change the dropout alone, and with what it knows of itself, of which `options` may change the
    longest sentence and the length penalty. `chosen` is what the size of the data decided of what
    was `left_open`; of it `options` and `sizes` have theirs. `drawing` says what an epoch takes of
    the pairs; default: each once, with marks where the translator `carries`.
    """

    unit = "tokens"

    def __init__(
        self,
        train: list[Pair],
        validation: list[Pair],
        options: Options,
        sizes: dict[str, Any],
        seed: int = 0,
        trained: Translator | None = None,
        left_open: Collection[str] = (),
        drawing: Drawing | None = None,
    ) -> None:
        self.seed, self.trained, self.pairs = seed, trained, train
        self.carries = options.vary > 0 if trained is None else trained.carries
        if not train or not validation:
            missing = "validate on" if train else "train on"
            raise ValueError(f"translation: the split leaves no pair to {missing}")
        self.longest = unless_told(options.longest, trained, "longest", LONGEST)
        self.penalty = unless_told(
            options.length_penalty, trained, "length_penalty", LENGTH_PENALTY
        )
        options = replace(options, longest=self.longest, length_penalty=self.penalty)
        if trained is None:
            pieces = options.source_pieces or PIECES, options.target_pieces or PIECES
            options = replace(options, source_pieces=pieces[0], target_pieces=pieces[1])
            self.sizes, (self.source, self.target) = sizes, _tokens(train, options, *pieces)
        else:
            require_untold(options, "source_pieces", "target_tokens", "target_pieces")
            if options.vary and not trained.carries:
                raise ValueError(
                    "train: vary must be 0 with a translator to start from whose tokens have no "
                    f"marks; got {options.vary}"
                )
            self.sizes = sizes_of(trained.model.config, sizes)
            self.source, self.target = trained.source, trained.target
        self.options = options
        if drawing is None and self.carries:
            drawing = Drawing()
        self.drawing = drawing and replace(drawing, chinese=self.target.kind == "characters")
        self.train, self.too_long = self._encode(train)
        self.held, _ = self._encode(self._as_read(validation))
        for encoded, use in ((self.train, "train on"), (self.held, "validate on")):
            if not encoded:
                raise ValueError(
                    f"translation: no pair to {use} has at most {self.longest} tokens a side"
                )
        self.chosen = self._chosen(left_open)
        self.options = by_size.filled(options, self.chosen)
        self.sizes = {**self.sizes, **_sizes(self.chosen)}
        self.validation = validation
        self.best = "bleu" if are_long_enough(list(self._measured().values())) else "chrf"
        parts = [train, validation, *([] if drawing is None else [asdict(drawing)])]
        self.data = hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _chosen(self, left_open: Collection[str]) -> dict[str, Any]:
        if self.trained is not None:  # its sizes are the model's
            left_open = set(left_open) - set(self.sizes)
        chosen = by_size.pairs(
            sum(len(target) for _, target in self.train),
            None if "batch_tokens" in left_open else self.options.batch_tokens,
            None if "width" in left_open else self.sizes.get("width"),
            limited="epochs" not in left_open,
            attending=self._configured().attends,
            times=1.0 if self.drawing is None else self.drawing.often(self.pairs),
        )
        return by_size.unsaid(chosen, left_open)

    def _configured(self) -> SequenceToSequenceConfig:
        return SequenceToSequenceConfig(self.source.size, self.target.size, **self.sizes)

    def identity(self) -> dict[str, Any]:
        return {"data": self.data, **asdict(self.options), **self.sizes}

    def model(self) -> SequenceToSequence:
        model = SequenceToSequence(self._configured())
        if self.trained is not None:
            take_over(model, self.trained.model)
        return model

    def batches(self, epoch: int) -> _Batches:
        seed = self.seed * 1_000_003 + epoch
        train = self.train if self.drawing is None else self._drawn(self.drawing, Random(seed))
        return _Batches(train, bucketed(train, self.options.batch_tokens, seed))

    def _drawn(self, drawing: Drawing, random: Random) -> list[EncodedPair]:
        """What an epoch takes of the pairs; where all of it is too long, another."""
        drawn, _ = self._encode(drawing.of(self.pairs, random, marks=self.carries))
        return drawn or [random.choice(self.train)]

    def loss(self, model: SequenceToSequence, batch: Batch) -> Loss:
        return self._loss(model, batch, self.options.label_smoothing)

    def validate(self, model: SequenceToSequence) -> dict[str, float]:
        figures = {}
        groups = bucketed(self.held, self.options.batch_tokens, None)
        losses = [self._loss(model, batch, 0.0) for batch in _Batches(self.held, groups)]
        total = sum(float(loss.total) for loss in losses)
        figures[LOSS] = total / sum(loss.count for loss in losses)
        chosen = self._measured()
        outputs = [t.text for t in self._translator(model).translate(list(chosen), beam=1)]
        score = bleu(outputs, list(chosen.values()))
        figures["bleu"] = score.score
        if score.chrf is not None:
            figures["chrf"] = score.chrf.score
        return figures

    def _as_read(self, pairs: list[Pair]) -> list[Pair]:
        """Pairs with marks for what is taken over, as in training."""
        if self.drawing is None or not self.carries:
            return pairs
        return [self.drawing.marked(pair, Random(0), share=0.0) for pair in pairs]

    def _measured(self) -> dict[str, list[str]]:
        """The validation sentences that are translated after each epoch, with their references."""
        sources = by_source(self.validation)
        return dict(islice(sources.items(), self.options.validation_sentences))

    def save(self, model: SequenceToSequence, folder: Path) -> None:
        self._translator(model).save(folder)

    def _translator(self, model: SequenceToSequence) -> Translator:
        own: dict[str, Any] = {}
        if self.trained is not None:
            own = {"source_language": self.trained.source_language, "aligner": self.trained.aligner}
        return Translator(
            model, self.source, self.target, self.longest, self.penalty, carries=self.carries, **own
        )

    def _encode(self, pairs: list[Pair]) -> tuple[list[EncodedPair], int]:
        """Token numbers of the pairs that are short enough, and how many are not."""
        sources = self.source.encode([pair.source for pair in pairs])
        targets = self.target.encode([pair.target for pair in pairs])
        both = list(zip(sources, targets, strict=True))
        kept = [pair for pair in both if max(map(len, pair)) <= self.longest]
        return kept, len(both) - len(kept)

    def _loss(self, model: SequenceToSequence, batch: Batch, smoothing: float) -> Loss:
        logits = model(batch.source, batch.lengths, batch.target)
        total = F.cross_entropy(
            logits.flatten(0, 1),
            batch.expected.flatten(),
            ignore_index=PADDING,
            label_smoothing=smoothing,
            reduction="sum",
        )
        return Loss(total, int((batch.expected != PADDING).sum()))


def _tokens(
    pairs: list[Pair], options: Options, source_pieces: int, target_pieces: int
) -> tuple[Tokens, Tokens]:
    """The tokens of the two sides, learnt from pairs."""
    sources, targets = ([pair[side] for pair in pairs] for side in (0, 1))
    kind = options.target_tokens
    if kind is None:
        kind = "characters" if are_chinese(targets) else "pieces"
    learn = partial(Tokens.train, digits=options.vary > 0, marks=MARKS if options.vary else ())
    source = learn("pieces", sources, source_pieces, lowercase=True)
    return source, learn(kind, targets, target_pieces, lowercase=False)


def _sizes(chosen: dict[str, Any]) -> dict[str, Any]:
    return by_size.unsaid(chosen, {one.name for one in fields(SequenceToSequenceConfig)})
