"""Classification of texts as a task for the trainer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from qkv.models import TextClassifier, TextClassifierConfig
from qkv.tasks import by_size
from qkv.tasks.buckets import bucket, padded
from qkv.tasks.classification.labels import numbered
from qkv.tasks.classification.learning import (
    Examples,
    classification_loss,
    validated,
)
from qkv.tasks.classification.text.classifier import TextLabeller, first_words
from qkv.tasks.classification.text.options import PIECES, Options
from qkv.tasks.classification.text.reading import LabelledText
from qkv.tasks.starting import require_untold, sizes_of, take_over, unless_told
from qkv.tasks.tokens import Tokens
from qkv.tasks.trainer.task import Loss


class _Batches:
    """Batches made when they are asked for."""

    def __init__(self, texts: list[list[int]], classes: list[int], groups: list[list[int]]) -> None:
        self.texts, self.classes, self.groups = texts, classes, groups

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, number: int) -> Examples:
        group = self.groups[number]
        name = f"{len(group)} texts, the first number {group[0] + 1} of the training data"
        inputs = padded([self.texts[i] for i in group])
        return Examples(inputs, torch.tensor([self.classes[i] for i in group]), name)


class TextTask:
    """Learns a `TextClassifier` from labelled texts; the best is that of highest accuracy.

    `cut` counts the training texts that are longer than `options.longest` words. A `trained`
    classifier is gone on from: with its weights, tokens and sizes, of which `sizes` may change the
    dropout alone, and with its longest text where `options` have none; its output layer is kept
    where the labels are the same. `chosen` is what the size of the data decided of what was
    `left_open`; of it `options` have theirs. The processes of a `group` share the texts of each
    batch.
    """

    best = "accuracy"
    unit = "texts"

    def __init__(
        self,
        train: list[LabelledText],
        validation: list[LabelledText],
        options: Options,
        sizes: dict[str, Any],
        seed: int = 0,
        trained: TextLabeller | None = None,
        left_open: Collection[str] = (),
        group: Any = None,
    ) -> None:
        self.seed, self.trained, self.group = seed, trained, group
        if not train or not validation:
            missing = "validate on" if train else "train on"
            raise ValueError(f"classify: the split leaves no text to {missing}")
        self.labels = sorted({one.label for one in train})
        if len(self.labels) < 2:
            raise ValueError(f"classify: all texts have the same label, {self.labels[0]!r}")
        longest = unless_told(options.longest, trained, "longest", None)
        read = [first_words(one.text, longest) for one in train]
        self.cut = sum(
            len(words) < len(one.text.split()) for words, one in zip(read, train, strict=True)
        )
        texts = [" ".join(words) for words in read]
        if trained is None:
            self.sizes, pieces = sizes, options.pieces or PIECES
            self.tokens = Tokens.train("pieces", texts, pieces, lowercase=True)
        else:
            require_untold(options, "pieces")
            self.sizes, self.tokens = sizes_of(trained.model.config, sizes), trained.tokens
            pieces = None
        options = replace(options, longest=longest, pieces=pieces)
        self.train = self.tokens.encode(texts)
        chosen = by_size.texts(
            len(texts),
            sum(map(len, self.train)),
            None if "batch_tokens" in left_open else options.batch_tokens,
            limited="epochs" not in left_open,
        )
        self.chosen = by_size.unsaid(chosen, left_open)
        self.options = by_size.filled(options, self.chosen)
        self.classes = numbered((one.label for one in train), self.labels, "train")
        held = [" ".join(first_words(one.text, longest)) for one in validation]
        self.held = self.tokens.encode(held)
        self.held_classes = numbered((one.label for one in validation), self.labels, "validation")
        self.data = hashlib.sha256(json.dumps([train, validation]).encode()).hexdigest()

    def identity(self) -> dict[str, Any]:
        return {"data": self.data, **asdict(self.options), **self.sizes}

    def model(self) -> TextClassifier:
        config = TextClassifierConfig(self.tokens.size, len(self.labels), **self.sizes)
        model = TextClassifier(config, self.group)
        if self.trained is not None:
            take_over(model, self.trained.model, output=self.labels == self.trained.labels)
        return model

    def batches(self, epoch: int) -> _Batches:
        return self._batches(self.train, self.classes, self.seed * 1_000_003 + epoch)

    def loss(self, model: TextClassifier, batch: Examples) -> Loss:
        loss = classification_loss(model, batch, self.options.label_smoothing)
        return loss.counted(self.group is None or model.sharing.first)

    def validate(self, model: TextClassifier) -> dict[str, float]:
        batches = self._batches(self.held, self.held_classes, None)
        return validated(model, (batches[number] for number in range(len(batches))))

    def save(self, model: TextClassifier, folder: Path) -> None:
        TextLabeller(model, self.tokens, self.labels, self.options.longest).save(folder)

    def _batches(self, texts: list[list[int]], classes: list[int], seed: int | None) -> _Batches:
        sizes = [(len(text),) for text in texts]
        return _Batches(texts, classes, bucket(sizes, self.options.batch_tokens, seed))
