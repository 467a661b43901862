"""A trained translator: text in, text out, and where it looked."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qkv import AttentionMatrix
from qkv.models import SequenceToSequence, SequenceToSequenceConfig
from qkv.tasks.buckets import padded
from qkv.tasks.filled import filled
from qkv.tasks.model_folders import MODELS, loading, model_folder, read_model, write_model
from qkv.tasks.texts import listed
from qkv.tasks.tokens import END_TEXT, START, Tokens, words
from qkv.tasks.translation.carried import Carried, carried, spelled
from qkv.tasks.translation.doubt import doubts
from qkv.tasks.translation.kind import KIND
from qkv.tasks.translation.search import Hypothesis, beam_search
from qkv.tasks.translation.sentences import LINE_BREAKS, Sentence, sentences
from qkv.tasks.translation.translation import Translation, joined

FAMILY = "sequence-to-sequence"
SHORTEST_LIMIT = 8  # a chunk holds at least a character, which may be four byte tokens
SHIPPED = MODELS / "en-zh"


class Translator:
    """A translation model with the tokens of its two languages.

    Args:
        model: the model, on any device; it is put into evaluation mode.
        source, target: the tokens of the two languages.
        longest: the number of source tokens beyond which a sentence is cut.
        length_penalty: what suits this model in `translate`.
        source_language: the name of what it reads, such as "English"; None: it is not known.
        carries: whether the model has learnt to take over what marks stand for
            (`qkv.tasks.translation.carried`).

    Raises:
        ValueError: `longest` or `length_penalty` breaks its rule.
    """

    def __init__(
        self,
        model: SequenceToSequence,
        source: Tokens,
        target: Tokens,
        longest: int,
        length_penalty: float = 1.0,
        source_language: str | None = None,
        carries: bool = False,
    ) -> None:
        if type(longest) is not int or longest < SHORTEST_LIMIT:
            raise ValueError(
                f"Translator: longest must be an int >= {SHORTEST_LIMIT}; got {longest!r}"
            )
        _check_penalty("Translator", length_penalty)
        self.model, self.source, self.target = model.eval(), source, target
        self.longest, self.length_penalty = longest, length_penalty
        self.source_language, self.carries = source_language, carries

    @classmethod
    def load(cls, path: str | Path | None = None) -> Translator:
        """Loads a saved translator.

        Args:
            path: its folder, or the name of one that ships, such as "en-zh-recurrent"; default:
                "en-zh", English to Chinese.

        Raises:
            ValueError: the folder holds no translator; the text names it and what is wrong.
        """
        folder = SHIPPED if path is None else model_folder(path)
        config, tokenizer, weights = read_model(folder)
        with loading(folder, KIND, config):
            if config.get("family") != FAMILY:
                raise ValueError(f"family must be {FAMILY!r}; got {config.get('family')!r}")
            sizes = SequenceToSequenceConfig(**config["model"])
            model = filled(lambda: SequenceToSequence(sizes), weights)
            source, target = (Tokens.from_json(tokenizer[side]) for side in ("source", "target"))
            counts = (model.config.source_tokens, model.config.target_tokens)
            if counts != (source.size, target.size):
                raise ValueError("tokenizer.json is of another model: the token counts differ")
            penalty = config.get("length_penalty", 1.0)
            model.requires_grad_(False)
            language = config.get("source_language")
            carries = config.get("carries", False)
            return cls(model, source, target, config["longest"], penalty, language, carries)

    def save(self, path: str | Path, dtype: torch.dtype | None = None) -> None:
        """Writes a model folder of `config.json`, `model.safetensors`, `tokenizer.json`.

        Args:
            path: the folder.
            dtype: what the weights are stored in, such as `torch.float16`, or `torch.int8` for
                matrices in 8 bits with scales; default: as they are. They are float32 once loaded.

        Raises:
            ValueError: no weights are stored in `dtype`, or it is too narrow for them.
            OSError: the folder cannot be written; it is left as it was.
        """
        config = {
            "format": KIND.format,
            "family": FAMILY,
            "longest": self.longest,
            "length_penalty": self.length_penalty,
            **({"source_language": self.source_language} if self.source_language else {}),
            **({"carries": True} if self.carries else {}),
            "model": asdict(self.model.config),
        }
        tokenizer = {"source": self.source.to_json(), "target": self.target.to_json()}
        write_model(Path(path), config, tokenizer, self.model.state_dict(), dtype)

    @torch.no_grad()
    def translate(
        self,
        texts: Iterable[str],
        beam: int = 5,
        *,
        length_penalty: float | None = None,
        batch: int = 32,
    ) -> list[Translation]:
        """Translates texts by beam search, in their order.

        A text is translated sentence by sentence, and its line breaks stay where they are. An empty
        text gives an empty translation.

        Args:
            texts: any number of texts.
            beam: how many hypotheses are kept at each step; 1 is greedy search.
            length_penalty: hypotheses are compared by log-probability / tokens ** length_penalty,
                so a larger one prefers longer translations (Wu et al. 2016, section 7, in its plain
                form, bounded where the translation grows longer than its source: see
                `search.rank`); default: the translator's own.
            batch: how many sentences are worked on at once.

        Raises:
            TypeError: `texts` is one text, or holds something else.
            ValueError: a number breaks its rule.
        """
        texts = listed("Translator.translate", texts)
        _check(beam, batch)
        if length_penalty is None:
            length_penalty = self.length_penalty
        _check_penalty("Translator.translate", length_penalty)
        cut = [sentences(_whole(text), self.source, self.longest) for text in texts]
        flat = [one.text for found, _ in cut for one in found]
        # Sentences of one length together: a batch takes as long as its longest.
        order = sorted(range(len(flat)), key=lambda i: len(flat[i]))
        done: dict[int, Translation] = {}
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            results = self._batch([flat[i] for i in rows], beam, length_penalty)
            done.update(zip(rows, results, strict=True))
        results = iter(done[i] for i in range(len(flat)))
        whole = []
        for text, (found, after) in zip(texts, cut, strict=True):
            each = [next(results) for _ in found]
            whole.append(joined(text, each, self._laid_out(found, each, after)))
        return whole

    def _laid_out(self, found: list[Sentence], each: list[Translation], after: str) -> str:
        """Translated sentences with the white space that the text had between its own, but for
        spaces where the target language writes none."""
        parts = [(s.before, t.text) for s, t in zip(found, each, strict=True)]
        spaced = [part for before, text in parts for part in (self._space(before), text)]
        return "".join([*spaced, self._space(after)]) if found else ""

    def _space(self, white: str) -> str:
        breaks = any(character in LINE_BREAKS for character in white)
        return white if breaks or self.target.kind != "characters" else ""

    @torch.no_grad()
    def align(self, source: str, target: str) -> Translation:
        """Forced decoding: what `translate` gives, for a translation that is known already.

        Both texts are read whole, however long they are.
        """
        for name, text in (("source", source), ("target", target)):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"Translator.align: {name} must be a str with words; got {text!r}")
        text = self._carried(" ".join(_whole(source).split()))
        [read] = self.source.encode([text.text])
        [written] = self.target.encode([text.marked(_whole(target))])
        tokens, lengths = self._on_device([read]), self._on_device([len(read)])
        logits = self.model(tokens, lengths, self._on_device([[START, *written[:-1]]]))[0]
        each = logits.log_softmax(-1)[range(len(written)), written]
        found = Hypothesis(written, float(each.sum()))
        return replace(self._one(text, read, found), source=source, text=target)

    def _batch(self, texts: list[str], beam: int, length_penalty: float) -> list[Translation]:
        marked = [self._carried(text) for text in texts]
        sources = self.source.encode([one.text for one in marked])
        tokens, lengths = padded(sources)
        found = beam_search(
            self.model,
            tokens.to(self._device),
            lengths.to(self._device),
            beam=beam,
            length_penalty=length_penalty,
            unknown=self.target.unknown,
        )
        return [self._one(*pair) for pair in zip(marked, sources, found, strict=True)]

    def _carried(self, text: str) -> Carried:
        """A sentence as the model reads it."""
        if not self.carries:
            return Carried(text, ())
        return carried(text, lambda word: len(self.source.offsets(word)))

    def _one(self, read: Carried, source: list[int], found: Hypothesis) -> Translation:
        offsets = self.source.offsets(read.text)
        spans = words(read.text, offsets)
        pieces = (read.restored(read.text[start:stop].strip()) for start, stop in offsets)
        return Translation(
            source=read.restored(read.text),
            text=self._text(read, found.tokens),
            source_tokens=(*pieces, END_TEXT),
            tokens=tuple(read.restored(self.target.readable(number)) for number in found.tokens),
            source_spans=(*spans, (len(offsets), len(offsets) + 1)),
            score=found.score,
            look=partial(self._look, source, found.tokens),
            suspect=partial(doubts, source, found.tokens, self.source_language),
        )

    def _text(self, read: Carried, tokens: list[int]) -> str:
        """What was written. The model reads lower case, so Latin words within another script are
        spelled as the source spells them."""
        text = read.restored(self.target.decode(tokens))
        return spelled(text, read.restored(read.text)) if self.target.kind == "characters" else text

    @torch.no_grad()
    def _look(self, source: list[int], written: list[int]) -> list[AttentionMatrix]:
        return self.model.matrices(self._on_device(source), self._on_device([START, *written]))

    @property
    def _device(self) -> torch.device:
        return self.model.output_bias.device

    def _on_device(self, numbers: list[Any]) -> Tensor:
        return torch.tensor(numbers, device=self._device)


def _whole(text: str) -> str:
    """The text without halves of surrogate pairs, which undecodable bytes of standard input become
    and which are no characters."""
    return text.encode("utf-8", "replace").decode()


def _check(beam: int, batch: int) -> None:
    """Raise ValueError for arguments that `translate` cannot take."""
    for name, value in (("beam", beam), ("batch", batch)):
        if type(value) is not int or value < 1:
            raise ValueError(f"Translator.translate: {name} must be an int >= 1; got {value}")


def _check_penalty(function: str, value: float) -> None:
    if not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{function}: length_penalty must be a number >= 0; got {value!r}")
