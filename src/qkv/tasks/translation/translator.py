"""A trained translator: text in, text out, and where it looked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path

import torch

from qkv import AttentionMatrix
from qkv.models import SequenceToSequence, SequenceToSequenceConfig
from qkv.tasks.buckets import padded
from qkv.tasks.filled import filled
from qkv.tasks.model_folders import (
    MODELS,
    loading,
    member,
    model_folder,
    read_model,
    write_model,
)
from qkv.tasks.shown import Shown
from qkv.tasks.texts import listed, whole_characters
from qkv.tasks.tokens import END_TEXT, Tokens, words
from qkv.tasks.translation.carried import MARKS, Carried, carried, spelled
from qkv.tasks.translation.doubt import doubts
from qkv.tasks.translation.forced import TextPair, checked_pairs, groups, hypotheses
from qkv.tasks.translation.kind import KIND
from qkv.tasks.translation.layout import as_read
from qkv.tasks.translation.links import Places, places_of, places_written
from qkv.tasks.translation.looks import BatchLooks, Look, said_by
from qkv.tasks.translation.search import Hypothesis, beam_search
from qkv.tasks.translation.sentences import laid_out, sentences
from qkv.tasks.translation.translation import Translation, ranked

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
        aligner: the look that aligns words best, which `Translation.word_alignment` takes unless
            told; None: the mean over all heads, as they write.

    Raises:
        ValueError: `longest` or `length_penalty` breaks its rule, or the model has no such look.
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
        aligner: Look | None = None,
    ) -> None:
        if type(longest) is not int or longest < SHORTEST_LIMIT:
            raise ValueError(
                f"Translator: longest must be an int >= {SHORTEST_LIMIT}; got {longest!r}"
            )
        _check_penalty("Translator", length_penalty)
        self.model, self.source, self.target = model.eval(), source, target
        self.longest, self.length_penalty = longest, length_penalty
        self.source_language, self.carries = source_language, carries
        if aligner is not None:
            with said_by("Translator"):
                aligner.check(model.heads)
        self.aligner = Look() if aligner is None else aligner

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
            language = member(config, "source_language", str)
            carries = member(config, "carries", bool, False)
            aligner = Look(**config["aligner"]) if "aligner" in config else None
            return cls(
                model, source, target, config["longest"], penalty, language, carries, aligner
            )

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
            **({"aligner": asdict(self.aligner)} if self.aligner != Look() else {}),
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
        batch: int = 64,
        n_best: int = 1,
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
            n_best: how many different translations of each text are given, as far as the search
                finds so many: the best, and the next ones as its `others`; at most `beam`.

        Raises:
            TypeError: `texts` is one text, or holds something else.
            ValueError: a number breaks its rule.
        """
        texts = listed("Translator.translate", texts)
        _check("Translator.translate", beam=beam, batch=batch, n_best=n_best)
        if n_best > beam:
            raise ValueError(
                f"Translator.translate: n_best must be at most beam; got {n_best} and {beam}"
            )
        if length_penalty is None:
            length_penalty = self.length_penalty
        _check_penalty("Translator.translate", length_penalty)
        cut = [sentences(as_read(text), self.source, self.longest, self._carried) for text in texts]
        flat = [one.text for found, _ in cut for one in found]
        # Sentences of one length together: a batch takes as long as its longest.
        order = sorted(range(len(flat)), key=lambda i: len(flat[i]))
        done: dict[int, Translation] = {}
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            results = self._batch([flat[i] for i in rows], beam, length_penalty, n_best)
            done.update(zip(rows, results, strict=True))
        results = iter(done[i] for i in range(len(flat)))
        whole: Shown[Translation] = Shown()
        for text, (found, after) in zip(texts, cut, strict=True):
            each = [next(results) for _ in found]
            lay_out = partial(laid_out, found, after, spaced=self.target.kind != "characters")
            whole.append(ranked(text, each, lay_out))
        return whole

    def align(self, source: str, target: str) -> Translation:
        """Forced decoding: what `translate` gives, for a translation that is known already.

        Both texts are read whole, however long they are and however many sentences they have.

        Raises:
            ValueError: one of them is no str, or has no words.
        """
        [aligned] = self._aligned(checked_pairs("Translator.align", [(source, target)]))
        return aligned

    def align_pairs(self, pairs: Iterable[TextPair], *, batch: int = 32) -> list[Translation]:
        """As `align`, for many pairs of a source and its translation, in their order.

        Args:
            pairs: any number of pairs.
            batch: how many of them are worked on at once.

        Raises:
            TypeError: `pairs` holds something else than pairs.
            ValueError: a text is no str, or has no words; `batch` breaks its rule.
        """
        _check("Translator.align_pairs", batch=batch)
        checked = checked_pairs("Translator.align_pairs", pairs)
        done: dict[int, Translation] = {}
        for rows in groups(checked, batch):
            done.update(zip(rows, self._aligned([checked[i] for i in rows]), strict=True))
        return Shown(done[i] for i in range(len(checked)))

    def _aligned(self, pairs: Sequence[TextPair]) -> list[Translation]:
        marked = [self._carried(" ".join(as_read(source).split())) for source, _ in pairs]
        targets = [
            read.marked(whole_characters(t)) for read, (_, t) in zip(marked, pairs, strict=True)
        ]
        sources = self.source.encode([read.text for read in marked])
        written = self.target.encode(targets)
        found = hypotheses(self.model, sources, written, self._device)
        each = zip(self._several(marked, sources, found), pairs, marked, targets, strict=True)
        return [
            replace(one, source=source, text=target, places=partial(self._places_given, read, text))
            for one, (source, target), read, text in each
        ]

    def _batch(
        self, texts: list[str], beam: int, length_penalty: float, n_best: int
    ) -> list[Translation]:
        """The best translation of each sentence, with the others that it has."""
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
            marks=self._marks,
        )
        best = [self._different(*pair, n_best) for pair in zip(marked, found, strict=True)]
        each: list[list[Translation]] = [[] for _ in texts]
        for rank in range(n_best):
            rows = [row for row, some in enumerate(best) if len(some) > rank]
            several = self._several(
                [marked[row] for row in rows],
                [sources[row] for row in rows],
                [best[row][rank] for row in rows],
            )
            for row, one in zip(rows, several, strict=True):
                each[row].append(one)
        return [replace(first, others=tuple(others)) for first, *others in each]

    def _different(self, read: Carried, found: list[Hypothesis], n_best: int) -> list[Hypothesis]:
        """The best hypotheses of a sentence with different texts."""
        by_text: dict[str, Hypothesis] = {}
        for one in found:
            if len(by_text) == n_best:
                break
            by_text.setdefault(self._text(read, one.tokens), one)
        return [*by_text.values()]

    def _several(
        self, marked: list[Carried], sources: list[list[int]], found: list[Hypothesis]
    ) -> list[Translation]:
        """Translated sentences, which look at their sources together."""
        looks = BatchLooks(self.model, sources, [one.tokens for one in found], self._device)
        each = zip(marked, sources, found, strict=True)
        return [self._one(*one, partial(looks.of, place)) for place, one in enumerate(each)]

    @cached_property
    def _marks(self) -> list[tuple[int, int]]:
        """The numbers of the marks among the tokens of source and target."""
        if not self.carries:
            return []
        sources, targets = (one.encode(list(MARKS)) for one in (self.source, self.target))
        return [(read[0], written[0]) for read, written in zip(sources, targets, strict=True)]

    def _carried(self, text: str) -> Carried:
        """A sentence as the model reads it."""
        if not self.carries:
            return Carried(text, {})
        return carried(
            text, lambda word: len(self.source.offsets(word)), chinese=self._writes_chinese
        )

    @property
    def _writes_chinese(self) -> bool:
        """Whether numbers are written as Chinese has them."""
        return self.target.kind == "characters"

    def _one(
        self,
        read: Carried,
        source: list[int],
        found: Hypothesis,
        look: Callable[[], list[AttentionMatrix]],
    ) -> Translation:
        offsets = self.source.offsets(read.text)
        spans = words(read.text, offsets)
        pieces = (read.restored(read.text[start:stop].strip()) for start, stop in offsets)
        return Translation(
            source=read.restored(read.text),
            text=self._text(read, found.tokens),
            source_tokens=(*pieces, END_TEXT),
            tokens=tuple(read.written(self.target.readable(number)) for number in found.tokens),
            source_spans=(*spans, (len(offsets), len(offsets) + 1)),
            score=found.score,
            look=look,
            places=partial(self._places, read, found.tokens),
            aligner=self.aligner,
            suspect=partial(
                doubts, source, found.tokens, self.source_language, chinese=self._writes_chinese
            ),
        )

    def _text(self, read: Carried, tokens: list[int]) -> str:
        """What was written. The model reads lower case, so Latin words within another script are
        spelled as the source spells them; what is taken over stays as it is."""
        text = self.target.decode(tokens)
        if self.target.kind == "characters":
            text = spelled(text, read.restored(read.text))
        return read.written(text)

    def _places(self, read: Carried, written: list[int]) -> tuple[Places, Places]:
        text = self._text(read, written)
        source = places_of(read.text, read.restored, self.source)
        return source, places_written(written, read.written, self.target, text)

    def _places_given(self, read: Carried, target: str) -> tuple[Places, Places]:
        return (
            places_of(read.text, read.restored, self.source),
            places_of(target, read.written, self.target),
        )

    @property
    def heads(self) -> tuple[int, ...]:
        """The number of heads of each of the `matrices` of a translation; empty for a model without
        attention."""
        return self.model.heads

    @property
    def _device(self) -> torch.device:
        return self.model.output_bias.device


def _check(function: str, **counts: int) -> None:
    """Raise ValueError for a count that is none."""
    for name, value in counts.items():
        if type(value) is not int or value < 1:
            raise ValueError(f"{function}: {name} must be an int >= 1; got {value}")


def _check_penalty(function: str, value: float) -> None:
    if not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{function}: length_penalty must be a number >= 0; got {value!r}")
