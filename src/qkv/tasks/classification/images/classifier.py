"""A trained classifier of pictures: picture in, label out, and the places that it looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from qkv.models import ImageClassifier, ImageClassifierConfig
from qkv.tasks.classification.images.reading import read_picture
from qkv.tasks.files import fill, loading, read_model, write_model

FORMAT = "qkv image classifier 1"
SHIPPED = Path(__file__).parents[3] / "weights" / "images"
AT_ONCE = 100


@dataclass(frozen=True)
class ClassifiedImage:
    """The likeliest label of a picture and that label's probability.

    `image` `[3, H, W]` is the picture as the model saw it, `weights` `[h, w]` how the pooling
    looked at the states of its places, summing to 1; None where the model has no attention.
    """

    input: str
    label: str
    probability: float
    image: Tensor = field(repr=False, compare=False)
    weights: Tensor | None = field(default=None, repr=False, compare=False)


class ImageLabeller:
    """An `ImageClassifier` with the labels of its classes.

    The model is put into evaluation mode; it may be on any device.
    """

    def __init__(self, model: ImageClassifier, labels: list[str]) -> None:
        self.model, self.labels = model.eval(), labels

    @classmethod
    def load(cls, path: str | Path | None = None) -> ImageLabeller:
        """The classifier saved in a folder; None: the one that ships.

        Raises ValueError naming the folder and what is wrong with it.
        """
        folder = SHIPPED if path is None else Path(path)
        if path is None and not folder.is_dir():
            raise ValueError(
                "classify: this qkv ships no image classifier; train one with "
                "`qkv train classify-image` and give its folder as the model"
            )
        config, _, weights = read_model(folder, text=False)
        with loading(folder, "an image classifier", config, FORMAT):
            model = ImageClassifier(ImageClassifierConfig(**config["model"]))
            fill(model, weights)
            labels = list(config["labels"])
            if model.config.labels != len(labels):
                raise ValueError(f"it has {model.config.labels} classes and {len(labels)} labels")
            return cls(model.requires_grad_(False), labels)

    def save(self, path: str | Path, dtype: torch.dtype | None = None) -> None:
        """Write a model folder of `config.json` and `model.safetensors`.

        `dtype` is what the weights are stored in, e.g. `torch.float16`; None: as they are.
        """
        config = {"format": FORMAT, "labels": self.labels, "model": asdict(self.model.config)}
        write_model(Path(path), config, None, self.model.state_dict(), dtype)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width that pictures are brought to."""
        return self.model.config.height, self.model.config.width

    def classify_files(self, files: Sequence[Path]) -> list[ClassifiedImage]:
        """Classify picture files of any size; the order is kept.

        Raises ValueError naming the first file that is no picture.
        """
        images = torch.stack([read_picture(file, str(file), self.size) for file in files])
        return self.classify(images, [str(file) for file in files])

    @torch.no_grad()
    def classify(self, images: Tensor, names: Sequence[str]) -> list[ClassifiedImage]:
        """Classify pictures `[N, 3, H, W]`, values from 0 to 255, of the model's size."""
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, *self.size):
            raise ValueError(
                f"ImageLabeller.classify: images must be [N, 3, {self.size[0]}, {self.size[1]}]; "
                f"got {list(images.shape)}"
            )
        device, results = self.model.output.weight.device, []
        for part in images.split(AT_ONCE):
            features = self.model.read(part.to(device))
            probabilities = self.model.decide(features).float().softmax(-1).cpu()
            matrix = self.model.looks(features)
            weights = [None] * len(part)
            if matrix is not None:
                looked = matrix.dense()[:, 0, 0].float().cpu()
                weights = list(looked.unflatten(1, features.shape[2:]))
            results += zip(probabilities, part, weights, strict=True)
        return [
            ClassifiedImage(name, self.labels[int(p.argmax())], float(p.max()), image, looked)
            for name, (p, image, looked) in zip(names, results, strict=True)
        ]
