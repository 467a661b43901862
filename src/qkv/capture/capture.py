"""What was recorded while a model ran."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import qkv

from ..matrix.notebook import maps_html
from .call import Answer, Call, Missed
from .columns import html_rows, table
from .groups import GroupedMap, Groups, grouped
from .images import image_labels
from .labelling import Labelling
from .labels import Span, labels_of
from .layers import layers_of
from .saved import save
from .views import Views

_MOST_MAPS = 8  # of the calls, in a notebook


class _Table(list):
    """A list that prints as a table, and so does a part of it."""

    head: tuple[str, ...] = ()

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return type(self)(found) if isinstance(index, slice) else found

    def rows(self) -> list[tuple[Any, ...]]:
        """What stands in the table."""
        raise NotImplementedError

    def __str__(self) -> str:
        return table(self.head, self.rows())

    def _repr_html_(self) -> str:
        rows = ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in self.rows()]
        return html_rows(self.head, [f"<tr>{row}</tr>" for row in rows], "calls")


class Calls(_Table):
    """Attention calls in the order in which they were made."""

    head = ("", "module", "kind", "step", "heads", "queries", "keys", "residual", "function")

    def rows(self) -> list[tuple[Any, ...]]:
        return [(place, *_cells(call)) for place, call in enumerate(self)]


class MissedCalls(_Table):
    """Calls that could not be recorded."""

    head = ("module", "function", "calls", "reason")

    def rows(self) -> list[tuple[Any, ...]]:
        return [(m.module, m.function, m.count, m.reason) for m in self]


class Capture(Views):
    """The attention calls of a model, as `qkv.observe` recorded them.

    Attributes:
        calls: a list of `Call`, which prints as a table.
        missed: a list of what could not be recorded, with the reason of each.
        answers: what the function that was given as `each` returned, call by call, with the module
            that made the call; None is left out.
    """

    def __init__(self) -> None:
        self.calls: Calls = Calls()
        self.missed: MissedCalls = MissedCalls()
        self.answers: list[Answer] = []
        self.labelling = Labelling()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes all of it to one file, which `qkv.load_capture` opens without the model.

        The file holds query and key as they were kept, every stage, and what is known of each call:
        it is one of safetensors with JSON beside the tensors. It is written under a temporary name
        and renamed, so a file that was there stays until the new one is whole. A matrix that was
        loaded has the same weights, bit for bit; its working budget is the default.

        Args:
            path: the file; folders that are missing are made.

        Raises:
            TypeError: a stage is a user's function, which a file does not hold.
            OSError: the file cannot be written.
        """
        save(path, self.calls, self.missed, self.labelling)

    def label(
        self,
        labels: Any,
        text: Any = None,
        *,
        pair: Any = None,
        side: str | None = None,
        **options: Any,
    ) -> None:
        """Says what the places of sequences stand for: `capture.label(tokens)`, or
        `capture.label(tokenizer, text)`.

        Labels belong to the queries and the keys of all calls that have as many places, and the
        labels of a sequence to all rows that a search writes for it, which lie side by side.

        Args:
            labels: tokens, a list of texts; for a batch a list of such lists, padding included. Or
                a tokenizer: a fast one of Hugging Face transformers, or one of tokenizers.
            text: with a tokenizer, the text or the texts of a batch, or ids of tokens as `generate`
                returns them. Of these the last may be one that the model has not read.
            pair: with a tokenizer, the second text, or those of a batch, that it reads in one
                sequence with the first, as its `text_pair`. To `words` they are one text, the
                second on a line below the first.
            side: "encoder" or "decoder", where a model has both; each can be given by itself.
            options: for the tokenizer, such as `padding="max_length"`. Several texts are padded to
                the longest by default.

        Raises:
            ValueError: labels that fit no call: the text names both numbers; a tokenizer that does
                not say where in the text its tokens stand; not as many second texts as first ones.
            TypeError: something else than labels.
        """
        self.labelling.add(labels_of(labels, text, pair, options), side, self.calls)

    def label_image(
        self, image: Any, grid: int | tuple[int, int], *, extra: Sequence[str] | None = None
    ) -> None:
        """Says that places stand for the patches of an image, row after row.

        Args:
            image: a picture file (PNG, JPEG, GIF, WebP, BMP, PPM, TIFF), a picture of Pillow, an
                array or a tensor `[height, width, 3]` or `[3, height, width]`, of bytes or of
                numbers in 0 ... 1; for a batch a list of them.
            grid: how many rows and columns of patches it was cut into; one number where both agree.
            extra: names of the tokens in front of the patches; default: as many as there are,
                a class token and registers.

        Raises:
            ValueError: a grid that fits no call: the text names both numbers; no picture, or a file
                that is none or claims more than it can hold.
            OSError: the file cannot be opened.
        """
        images = image if isinstance(image, (list, tuple)) else [image]
        lengths = {size for call in self.calls for size in call.shape[-2:]}
        labels = [image_labels(one, grid, extra, lengths) for one in images]
        self.labelling.add(labels, None, self.calls)

    def labels(self, call: int | Call, entry: int = 0) -> tuple[list[str], list[str]]:
        """What the queries and the keys of a call are called, for one entry of the batch; their
        positions where no labels fit.

        Raises:
            IndexError: there is no such call or entry.
        """
        chosen = self._call(call)
        entry = _within("labels", chosen, entry)
        sides = zip(self.labelling.of(chosen, entry), chosen.shape[-2:], strict=True)
        queries, keys = (
            [str(place) for place in range(places)] if labels is None else labels.shown
            for labels, places in sides
        )
        return queries, keys

    def words(
        self,
        call: int | Call,
        entry: int = 0,
        spans: Callable[[str], Sequence[Span]] | None = None,
        max_bytes: int = 2**30,
    ) -> GroupedMap:
        """The weights between words, `[H, words, words]`: summed over the pieces of a key's word,
        their mean over the pieces of a query's.

        Tokens that are no part of a word, such as special ones, stand by themselves, as patches of
        an image and places without labels do; a token that holds characters of two words counts
        for each by its share. The matrix is walked through once, in
        strips of queries.

        Args:
            call: one of `calls`, or its number.
            entry: which entry of the batch.
            spans: which words a text has, as (start, stop) in order; default: what stands between
                spaces, kana and ideographs one by one. Sentences make a coarser map.
            max_bytes: what the result may take.

        Raises:
            ValueError: no labels fit the call, or they came without a text; the result would be
                larger.
            IndexError: there is no such call or entry.
        """
        chosen = self._call(call)
        (layer,) = layers_of("words", chosen)
        entry = _within("words", chosen, entry)
        matrix = layer.entry(entry)
        labels = self.labelling.of(chosen, entry)
        if labels == (None, None):
            raise ValueError("words: no labels fit this call; label(tokenizer, text) gives some")
        queries, keys = (
            Groups.alone([str(place) for place in range(places)])
            if own is None
            else own.words(spans)
            for own, places in zip(labels, matrix.shape[-2:], strict=True)
        )
        weights = grouped(matrix, queries, keys, max_bytes)
        return GroupedMap(weights, queries.labels, keys.labels)

    def show(self, at: str = "", height: int = 700, megabytes: float = 4) -> None:
        """Shows all of it in a notebook; see `qkv.show`, whose arguments and errors these are."""
        qkv.show(self, at=at, height=height, megabytes=megabytes)

    def _call(self, call: int | Call) -> Call:
        return call if isinstance(call, Call) else self.calls[call]

    def answer(self, module: str, value: Any) -> None:
        """Keeps what was answered to a call."""
        if value is not None:
            self.answers.append(Answer(module, value))

    def miss(self, module: str, function: str, reason: str) -> None:
        """Lists a call that could not be recorded."""
        for known in self.missed:
            if (known.module, known.function, known.reason) == (module, function, reason):
                known.count += 1
                return
        self.missed.append(Missed(module, function, reason))

    def __repr__(self) -> str:
        return f"<Capture of {len(self.calls)} calls, {len(self.missed)} missed>"

    def __str__(self) -> str:
        text = str(self.calls) if self.calls else "no attention call was recorded"
        return f"{text}\n\nmissed:\n{self.missed}" if self.missed else text

    def _repr_html_(self) -> str:
        missed = f"<p>missed:</p>{self.missed._repr_html_()}" if self.missed else ""
        few = self.calls[:: -(-len(self.calls) // _MOST_MAPS) or 1]
        maps = maps_html([(call.module or call.kind, call.matrix) for call in few])
        note = "<small>the mean over the heads of the first entry</small>" if maps else ""
        return self.calls._repr_html_() + maps + note + missed


def _cells(call: Call) -> tuple[Any, ...]:
    *lead, queries, keys = call.shape
    step = str(call.step) if call.steps == 1 else f"{call.step}–{call.step + call.steps - 1}"
    residual = "–" if call.residual is None else f"{call.residual:.1e}"
    function = call.function + (", materialised" if call.materialised else "")
    heads = lead[-1] if lead else 1
    return call.module, call.kind, step, heads, queries, keys, residual, function


def _within(function: str, call: Call, entry: int) -> int:
    """An entry of a call's batch, counted from the first."""
    if not -call.entries <= entry < call.entries:
        raise IndexError(f"{function}: the call has a batch of {call.entries}; got entry {entry}")
    return entry % call.entries
