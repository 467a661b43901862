"""Classification of pictures as a task for the trainer."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qkv.models import ImageClassifier, ImageClassifierConfig
from qkv.tasks import by_size
from qkv.tasks.classification.images.augmentation import cut_out, mirrored, shifted
from qkv.tasks.classification.images.classifier import ImageLabeller
from qkv.tasks.classification.images.data import Pictures
from qkv.tasks.classification.images.options import Options
from qkv.tasks.classification.labels import numbered
from qkv.tasks.classification.learning import (
    Examples,
    classification_loss,
    validated,
)
from qkv.tasks.starting import sizes_of, take_over, unless_told
from qkv.tasks.trainer.task import Loss

_VALIDATED_AT_ONCE = 500


class _Batches:
    """An epoch's batches, made and varied when they are asked for: each by a generator of its own,
    so that it is the same whoever asks, and when. `sides` `[N]` are the pictures that are mirrored
    in this epoch."""

    def __init__(
        self, task: ImageTask, order: Tensor, sides: Tensor, options: Options, seed: int
    ) -> None:
        self.images, self.classes, self.sides = task.train, task.classes, sides
        # Nearly equal, for normalization knows no picture that is alone in its batch.
        self.groups = order.tensor_split(-(-len(order) // options.batch))
        self.options, self.seed = options, seed

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, number: int) -> Examples:
        group = self.groups[number]
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        images = self.images[group]
        if self.options.flips:
            images = mirrored(images, self.sides[group])
        if self.options.shift:
            images = shifted(images, self.options.shift, generator)
        if self.options.cutout:
            images = cut_out(images, self.options.cutout, generator)
        name = f"{len(group)} pictures, the first number {int(group[0]) + 1} of the training data"
        return Examples((images,), self.classes[group], name)


class ImageTask:
    """Learns an `ImageClassifier` from labelled pictures; the best is that of highest accuracy.

    A `trained` classifier is gone on from: with its weights and sizes, of which `sizes` may change
    the dropout alone, and with both sides of pictures as it has them where `options` do not say;
    its output layer is kept where the labels are the same. `chosen` is what the size of the data
    decided of what was `left_open`; of it `options` and `sizes` have theirs.
    """

    best = "accuracy"
    unit = "pictures"

    def __init__(
        self,
        train: Pictures,
        validation: Pictures,
        options: Options,
        sizes: dict[str, Any],
        seed: int = 0,
        trained: ImageLabeller | None = None,
        left_open: Collection[str] = (),
    ) -> None:
        flips = unless_told(options.flips, trained, "both_ways", True)
        self.options = options = replace(options, flips=flips)
        self.seed, self.trained, self.flips = seed, trained, flips
        self.sizes = sizes if trained is None else sizes_of(trained.model.config, sizes)
        if not train.labels or not validation.labels:
            missing = "validate on" if train.labels else "train on"
            raise ValueError(f"classify-image: the split leaves no picture to {missing}")
        self.labels = sorted(set(train.labels))
        if len(self.labels) < 2:
            raise ValueError(f"classify-image: all pictures have one label, {self.labels[0]!r}")
        if train.images.shape[1:] != validation.images.shape[1:]:
            shapes = [list(part.images.shape[2:]) for part in (train, validation)]
            raise ValueError(
                f"classify-image: pictures to train on and to validate on differ in size: {shapes}"
            )
        if trained is not None and train.images.shape[2:] != trained.size:
            raise ValueError(
                "classify-image: pictures must have the size of those that the model to start from "
                f"was made for, {list(trained.size)}; got {list(train.images.shape[2:])}"
            )
        self.train, self.validation = train.images, validation.images
        self.chosen = self._chosen(left_open)
        self.options = by_size.filled(options, self.chosen)
        self.sizes = {**self.sizes, **by_size.unsaid(self.chosen, {"channels"})}
        self.classes = torch.tensor(numbered(train.labels, self.labels, "train"))
        self.held = torch.tensor(numbered(validation.labels, self.labels, "validation"))
        digest = hashlib.sha256(repr((train.labels, validation.labels)).encode())
        for images in (self.train, self.validation):
            digest.update(images.numpy().data)
        self.data = digest.hexdigest()

    def _chosen(self, left_open: Collection[str]) -> dict[str, Any]:
        if self.trained is not None:  # its sizes are the model's
            left_open = set(left_open) - set(self.sizes)
        chosen = by_size.pictures(
            len(self.train),
            None if "batch" in left_open else self.options.batch,
            limited="epochs" not in left_open,
            convolutional=self.sizes.get("architecture") != "vit",
        )
        return by_size.unsaid(chosen, left_open)

    def identity(self) -> dict[str, Any]:
        return {"data": self.data, **asdict(self.options), **self.sizes}

    def model(self) -> ImageClassifier:
        height, width = self.train.shape[2:]
        model = ImageClassifier(
            ImageClassifierConfig(len(self.labels), height, width, **self.sizes)
        )
        if self.trained is None:
            model.fit(self.train)
        else:
            take_over(model, self.trained.model, output=self.labels == self.trained.labels)
        return model

    def batches(self, epoch: int) -> _Batches:
        seed = self.seed * 1_000_003 + epoch
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.train), generator=generator)
        # Every other epoch each picture is mirrored, so that two epochs show all both ways
        # (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", section 3.6).
        always = torch.Generator().manual_seed(self.seed)
        sides = torch.rand(len(self.train), generator=always) < 0.5
        return _Batches(self, order, sides ^ bool(epoch % 2), self.options, seed)

    def loss(self, model: ImageClassifier, batch: Examples) -> Loss:
        return classification_loss(model, batch, self.options.label_smoothing)

    def validate(self, model: ImageClassifier) -> dict[str, float]:
        parts = zip(
            self.validation.split(_VALIDATED_AT_ONCE), self.held.split(_VALIDATED_AT_ONCE),
            strict=True,
        )  # fmt: skip
        return validated(model, (Examples((images,), classes) for images, classes in parts))

    def save(self, model: ImageClassifier, folder: Path) -> None:
        ImageLabeller(model, self.labels, both_ways=self.flips).save(folder)
