"""A trained classifier of texts: it labels them and tells which words it looked at."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path

import torch
from torch import Tensor

from qkv.models import TextClassifier, TextClassifierConfig
from qkv.tasks.buckets import bucket, padded
from qkv.tasks.classification.answers import answer, by_label, probabilities_of
from qkv.tasks.classification.text.kind import KIND
from qkv.tasks.filled import filled
from qkv.tasks.model_folders import (
    MODELS,
    labels_of,
    loading,
    model_folder,
    read_model,
    write_model,
)
from qkv.tasks.shown import Shown
from qkv.tasks.texts import listed, whole_characters
from qkv.tasks.tokens import Tokens, word_numbers

SHIPPED = MODELS / "reviews"
BATCH_TOKENS = 16_000


@dataclass(frozen=True)
class ClassifiedText:
    """A text, its most probable label and the probability; both are None for a text without words.

    `probabilities` are those of all labels, the most probable first. `words` are the words that
    were read. `weights` `[len(words)]` tell how the pooling looked at each word, as a sum over the
    pieces of the word; with the weight of the end mark they sum to 1. `left_out` counts the words
    beyond the longest text that the model reads.
    """

    input: str
    label: str | None
    probability: float | None
    words: tuple[str, ...] = ()
    weights: Tensor | None = field(default=None, repr=False, compare=False)
    left_out: int = 0
    probabilities: dict[str, float] = field(default_factory=dict, repr=False, compare=False)

    def picture(self, path: str | os.PathLike[str]) -> None:
        """Draws the words that were read, coloured by their weights, to a `.png`, `.svg` or `.pdf`
        file. Needs matplotlib.

        Raises:
            ValueError: the text has no words, or the file has another suffix.
            OSError: the file cannot be written.
            ImportError: matplotlib is missing.
        """
        from qkv.pictures import check_picture_path, coloured_text, save_picture

        path = check_picture_path(path)
        if self.weights is None:
            raise ValueError("ClassifiedText.picture: a text without words has nothing to draw")
        save_picture(coloured_text(self.weights, self.words, title=answer(self)), path)

    def _repr_html_(self) -> str:
        from qkv.pictures import text_html

        if self.weights is None:
            return f"<code>{escape(repr(self))}</code>"
        return f"<b>{escape(answer(self))}</b>{text_html(self.weights, self.words)}"


class TextLabeller:
    """A `TextClassifier` with its tokens and the labels of its classes.

    It puts the model into evaluation mode; the model may be on any device.

    Args:
        model: the network.
        tokens: cuts texts into token numbers.
        labels: the label of each class.
        longest: how many words of a text are read; None means all.

    Raises:
        ValueError: `longest` is neither None nor an int >= 1.
    """

    def __init__(
        self, model: TextClassifier, tokens: Tokens, labels: list[str], longest: int | None
    ) -> None:
        if longest is not None and (type(longest) is not int or longest < 1):
            raise ValueError(f"TextLabeller: longest must be an int >= 1; got {longest!r}")
        self.model, self.tokens = model.eval(), tokens
        self.labels, self.longest = labels, longest

    @classmethod
    def load(cls, path: str | Path | None = None) -> TextLabeller:
        """Loads the classifier in a folder, or a shipped one by its name; default: the shipped
        classifier of film reviews.

        Raises:
            ValueError: the folder holds no such classifier; the text names it and says why.
        """
        folder = SHIPPED if path is None else model_folder(path)
        config, tokenizer, weights = read_model(folder)
        with loading(folder, KIND, config):
            sizes = TextClassifierConfig(**config["model"])
            model = filled(lambda: TextClassifier(sizes), weights)
            tokens, labels = Tokens.from_json(tokenizer["text"]), labels_of(config)
            if (model.config.tokens, model.config.labels) != (tokens.size, len(labels)):
                raise ValueError("tokenizer or labels are of another model: the counts differ")
            return cls(model.requires_grad_(False), tokens, labels, config["longest"])

    def save(self, path: str | Path, dtype: torch.dtype | None = None) -> None:
        """Writes a model folder of `config.json`, `model.safetensors`, `tokenizer.json`.

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
            "longest": self.longest,
            "model": asdict(self.model.config),
        }
        tokenizer = {"text": self.tokens.to_json()}
        write_model(Path(path), config, tokenizer, self.model.state_dict(), dtype)

    @torch.no_grad()
    def classify(self, texts: Iterable[str]) -> list[ClassifiedText]:
        """Classifies texts, in order. A text gets the same answer alone as among others. A text
        without words gets no label.

        Raises:
            TypeError: `texts` is one str, or holds something else than str.
            ValueError: the model's probabilities are not finite.
        """
        texts = listed("TextLabeller.classify", texts)
        whole = [*map(whole_characters, texts)]
        read = [first_words(text, self.longest) for text in whole]
        cut = [" ".join(some) for some in read]
        numbers = self.tokens.encode(cut)
        outputs: dict[int, tuple[Tensor, Tensor]] = {}
        filled = [i for i, some in enumerate(read) if some]
        for group in bucket([(len(numbers[i]),) for i in filled], BATCH_TOKENS, None):
            rows = [filled[place] for place in group]
            outputs.update(zip(rows, self._batch([numbers[i] for i in rows]), strict=True))
        return Shown(
            self._one(text, cut[i], len(whole[i].split()) - len(read[i]), outputs.get(i))
            for i, text in enumerate(texts)
        )

    def _batch(self, numbers: list[list[int]]) -> list[tuple[Tensor, Tensor]]:
        """Probabilities of the classes, and weights of the tokens, of each text."""
        device = self.model.output.weight.device
        tokens, lengths = (part.to(device) for part in padded(numbers))
        states = self.model.read(tokens, lengths)
        probabilities = probabilities_of(self.model.decide(states, lengths)).cpu()
        weights = self.model.pooling.matrix(states, lengths).dense()[:, 0, 0].float().cpu()
        return [
            (one, row[: len(text)])
            for one, row, text in zip(probabilities, weights, numbers, strict=True)
        ]

    def _one(
        self, text: str, cut: str, left_out: int, output: tuple[Tensor, Tensor] | None
    ) -> ClassifiedText:
        if output is None:
            return ClassifiedText(text, None, None)
        probabilities, weights = output
        best = int(probabilities.argmax())
        read = tuple(cut.split())
        belongs = torch.tensor(word_numbers(cut, self.tokens.offsets(cut)), dtype=torch.long)
        # The last weight is the end mark's.
        merged = torch.zeros(len(read)).index_add(0, belongs, weights[: len(belongs)])
        return ClassifiedText(
            text,
            self.labels[best],
            float(probabilities[best]),
            read,
            merged,
            left_out,
            by_label(self.labels, probabilities),
        )


def first_words(text: str, longest: int | None) -> list[str]:
    """The words of a text, at most `longest` of them: what stands between white space."""
    return text.split()[:longest]
