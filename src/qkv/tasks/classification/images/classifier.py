"""A trained classifier of pictures: it labels them and tells which places it looked at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkv.models import ImageClassifier, ImageClassifierConfig
from qkv.tasks.classification.answers import answer, by_label, probabilities_of
from qkv.tasks.classification.images.kind import KIND
from qkv.tasks.classification.images.reading import read_picture
from qkv.tasks.filled import filled
from qkv.tasks.model_folders import (
    MODELS,
    labels_of,
    loading,
    member,
    model_folder,
    read_model,
    write_model,
)
from qkv.tasks.shown import Shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHIPPED = MODELS / "images"
AT_ONCE = 100
MOST_PIXELS = 512  # to a side of a drawn picture


@dataclass(frozen=True)
class ClassifiedImage:
    """The most probable label of a picture, and its probability.

    `input` is the name of the picture. `probabilities` are those of all labels, the most probable
    first. `image` `[3, H, W]` is the picture as the model saw it, values from 0 to 255. `weights`
    `[h, w]` tell how the pooling looked at the places of the picture; they sum to 1, and are None
    if the model has no attention. `file` is the file from which the picture was read, or None.
    """

    input: str
    label: str
    probability: float
    image: Tensor = field(repr=False, compare=False)
    weights: Tensor | None = field(default=None, repr=False, compare=False)
    probabilities: dict[str, float] = field(default_factory=dict, repr=False, compare=False)
    file: Path | None = field(default=None, repr=False, compare=False)

    def picture(self, path: str | os.PathLike[str]) -> None:
        """Draws the picture, and beside it where the model looked, to a `.png`, `.svg` or `.pdf`
        file. Needs matplotlib.

        A picture that came from a file is read again, at up to 512 pixels a side.

        Raises:
            ValueError: the model has no attention, or the file has another suffix.
            OSError: a file cannot be read or written.
            ImportError: matplotlib is missing.
        """
        from qkv.pictures import check_picture_path, save_picture

        path = check_picture_path(path)
        save_picture(self._figure(), path)

    def _figure(self) -> Figure:
        from qkv.pictures import overlay

        if self.weights is None:
            raise ValueError("classify: this model has no attention, so there is nothing to show")
        image = self.image
        if self.file is not None:
            size = (image.shape[1], image.shape[2])
            image = read_picture(self.file, self.input, size, finer=MOST_PIXELS // max(size))
        return overlay(image, self.weights, title=answer(self))

    def _repr_png_(self) -> bytes | None:
        from qkv.pictures import picture_bytes

        return None if self.weights is None else picture_bytes(self._figure())


class ImageLabeller:
    """An `ImageClassifier` with the labels of its classes.

    It puts the model into evaluation mode; the model may be on any device.

    Args:
        model: the network.
        labels: the label of each class.
        both_ways: whether the model also looks at the mirror image of each picture. Logits and
            weights are then the means of both. This takes twice as long and suits a model that was
            trained on mirrored pictures.
    """

    def __init__(self, model: ImageClassifier, labels: list[str], both_ways: bool = False) -> None:
        self.model, self.labels, self.both_ways = model.eval(), labels, both_ways

    @classmethod
    def load(cls, path: str | Path | None = None) -> ImageLabeller:
        """Loads the classifier in a folder, or a shipped one by its name; default: the shipped
        classifier of pictures.

        Raises:
            ValueError: the folder holds no such classifier; the text names it and says why.
        """
        folder = SHIPPED if path is None else model_folder(path)
        config, _, weights = read_model(folder, text=False)
        with loading(folder, KIND, config):
            sizes = ImageClassifierConfig(**config["model"])
            model = filled(lambda: ImageClassifier(sizes), weights)
            labels, both_ways = labels_of(config), member(config, "both_ways", bool, False)
            if model.config.labels != len(labels):
                raise ValueError(f"it has {model.config.labels} classes and {len(labels)} labels")
            return cls(model.requires_grad_(False), labels, both_ways)

    def save(self, path: str | Path, dtype: torch.dtype | None = None) -> None:
        """Writes a model folder of `config.json` and `model.safetensors`.

        Args:
            path: the folder.
            dtype: what the weights are stored in, such as `torch.float16`, or `torch.int8` for
                matrices in 8 bits with scales; default: as they are. They are float32 once loaded.

        Raises:
            ValueError: no weights are stored in `dtype`, or it is too narrow for them.
            OSError: a file cannot be written; what there was stays.
        """
        config = {
            "format": KIND.format,
            "labels": self.labels,
            "both_ways": self.both_ways,
            "model": asdict(self.model.config),
        }
        write_model(Path(path), config, None, self.model.state_dict(), dtype)

    @property
    def size(self) -> tuple[int, int]:
        """The height and width to which pictures are scaled, in pixels."""
        return self.model.config.height, self.model.config.width

    def classify_files(self, files: Sequence[str | os.PathLike[str]]) -> list[ClassifiedImage]:
        """Classifies picture files of any size, in order.

        Raises:
            TypeError: `files` is a single path.
            ValueError: a file is no picture; the text names the first.
            OSError: a file cannot be opened.
        """
        if isinstance(files, str | bytes | os.PathLike):
            raise TypeError(
                "ImageLabeller.classify_files: files must be a list of paths; got one path"
            )
        paths = list(map(Path, files))
        if not paths:
            return Shown()
        images = torch.stack([read_picture(file, str(file), self.size) for file in paths])
        answers = self.classify(images, list(map(str, paths)))
        return Shown(replace(one, file=file) for one, file in zip(answers, paths, strict=True))

    @torch.no_grad()
    def classify(self, images: Tensor, names: Sequence[str]) -> list[ClassifiedImage]:
        """Classifies pictures, in order.

        Args:
            images: `[N, 3, H, W]` of the model's size, values from 0 to 255.
            names: a name for each picture, which becomes the `input` of its answer.

        Raises:
            ValueError: `images` has another shape, or `names` has not N entries; the model's
                probabilities are not finite.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, *self.size):
            raise ValueError(
                f"ImageLabeller.classify: images must be [N, 3, {self.size[0]}, {self.size[1]}]; "
                f"got {list(images.shape)}"
            )
        results = []
        for part in images.split(AT_ONCE):
            logits, weights = self._read(part)
            if self.both_ways:
                others, reflected = self._read(part.flip(3))
                logits = (logits + others) / 2
                if weights is not None and reflected is not None:
                    weights = (weights + reflected.flip(2)) / 2
            maps = [None] * len(part) if weights is None else list(weights)
            results += zip(probabilities_of(logits), part, maps, strict=True)
        return Shown(
            ClassifiedImage(
                name,
                self.labels[int(p.argmax())],
                float(p.max()),
                image,
                weights,
                by_label(self.labels, p),
            )
            for name, (p, image, weights) in zip(names, results, strict=True)
        )

    def _read(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits `[N, labels]` of pictures and the weights `[N, h, w]` of their places."""
        features = self.model.read(images.to(self.model.output.weight.device))
        logits = self.model.decide(features).float().cpu()
        matrix = self.model.pooling_matrix(features)
        if matrix is None:
            return logits, None
        return logits, matrix.dense()[:, 0, 0].float().cpu().unflatten(1, features.shape[2:])
