"""Classifiers as models of ONNX, each one graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qkv.tasks.classification.images.classifier import ImageLabeller
from qkv.tasks.classification.text.classifier import TextLabeller
from qkv.tasks.onnx_models import Exported, Graph
from qkv.tasks.tokens import FIRST

_OF_TEXTS = """\
import json
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

text = "A film that one does not forget."
config, tokens = json.load(open("config.json")), json.load(open("tokenizer.json"))["text"]
text = " ".join(text.split()[: config["longest"]])
encoding = Tokenizer.from_str(json.dumps(tokens["tokenizer"])).encode(text)
numbers = np.array([[3 + i for i in encoding.ids] + [2]])  # 2 is the end mark
feed = {"tokens": numbers, "lengths": np.array([numbers.shape[1]])}
[probabilities] = onnxruntime.InferenceSession("model.onnx").run(None, feed)
print(config["labels"][probabilities[0].argmax()], probabilities[0].max())
"""

_OF_IMAGES = """\
import json
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

config = json.load(open("config.json"))
size = config["model"]["width"], config["model"]["height"]
picture = ImageOps.fit(Image.open("picture.jpg").convert("RGB"), size, Image.Resampling.BICUBIC)
images = np.asarray(picture).transpose(2, 0, 1)[None].astype(np.float32)  # values from 0 to 255
[probabilities] = onnxruntime.InferenceSession("model.onnx").run(None, {"images": images})
print(config["labels"][probabilities[0].argmax()], probabilities[0].max())
"""

_OUTPUT = {"probabilities": {0: "batch"}}


class _OfTexts(nn.Module):
    """Probabilities of the classes of texts."""

    def __init__(self, labeller: TextLabeller) -> None:
        super().__init__()
        self.model = labeller.model

    def forward(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor]:
        return (self.model(tokens, lengths).softmax(-1),)


class _OfImages(nn.Module):
    """Probabilities of the classes of pictures; for a model that looks at both, the mean logits of
    a picture and its mirror image are what they come from."""

    def __init__(self, labeller: ImageLabeller) -> None:
        super().__init__()
        self.model, self.both_ways = labeller.model, labeller.both_ways

    def forward(self, images: Tensor) -> tuple[Tensor]:
        logits = self.model(images)
        if self.both_ways:
            logits = (logits + self.model(images.flip(3))) / 2
        return (logits.softmax(-1),)


def exported_of_texts(labeller: TextLabeller) -> Exported:
    """A classifier of texts: token numbers to probabilities."""

    def draw(batch: int, length: int) -> tuple[Tensor, ...]:
        lengths = torch.arange(batch) % length + 1
        return torch.randint(FIRST, labeller.tokens.size, (batch, length)), lengths

    inputs = {"tokens": {0: "batch", 1: "length"}, "lengths": {0: "batch"}}
    graph = Graph("model", _OfTexts(labeller), draw, inputs, _OUTPUT)
    return Exported((graph,), _OF_TEXTS)


def exported_of_images(labeller: ImageLabeller) -> Exported:
    """A classifier of pictures: pixels to probabilities."""

    def draw(batch: int, length: int) -> tuple[Tensor, ...]:
        return (torch.randint(0, 256, (batch, 3, *labeller.size)).float(),)

    graph = Graph("model", _OfImages(labeller), draw, {"images": {0: "batch"}}, _OUTPUT)
    return Exported((graph,), _OF_IMAGES)
