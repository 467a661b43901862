"""A trained translator: text in, text out, and where it looked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch

import qkv
from qkv.models import EncoderDecoder, EncoderDecoderConfig
from qkv.tasks.buckets import padded
from qkv.tasks.files import fill, loading, read_model, write_model
from qkv.tasks.tokens import END_TEXT, START, Tokens, words
from qkv.tasks.translation.search import Hypothesis, beam_search
from qkv.tasks.translation.sentences import chunks

FORMAT = "qkv translator 1"
SHORTEST_LIMIT = 8  # a chunk holds at least a character, which may be four byte tokens
SHIPPED = Path(__file__).parents[2] / "weights" / "en-zh"


@dataclass(frozen=True)
class Translation:
    """A translated text.

    `source_tokens` are the pieces that the encoder read, `tokens` those that the decoder wrote,
    each with its end mark `</s>`. `source_spans` groups the source pieces into words: ranges
    `(start, stop)` in order, the end mark by itself. `score` is the log-probability in nats per
    token. `alignment` is the attention matrix `[len(tokens), len(source_tokens)]`: row i is where
    the decoder looked to write token i; None for a model without attention.

    A text longer than anything the model was trained on is translated sentence by sentence:
    `parts` then holds these, each with its alignment, and the whole has none.
    """

    source: str
    text: str
    source_tokens: tuple[str, ...]
    tokens: tuple[str, ...]
    source_spans: tuple[tuple[int, int], ...]
    score: float
    alignment: qkv.AttentionMatrix | None = field(default=None, repr=False, compare=False)
    parts: tuple[Translation, ...] = field(default=(), repr=False)


class Translator:
    """An encoder-decoder with the tokens of its two languages.

    `longest` is the number of source tokens beyond which a text is cut into sentences. The model
    is put into evaluation mode; it may be on any device.
    """

    def __init__(self, model: EncoderDecoder, source: Tokens, target: Tokens, longest: int) -> None:
        if type(longest) is not int or longest < SHORTEST_LIMIT:
            raise ValueError(
                f"Translator: longest must be an int >= {SHORTEST_LIMIT}; got {longest!r}"
            )
        self.model, self.source, self.target = model.eval(), source, target
        self.longest = longest

    @classmethod
    def load(cls, path: str | Path | None = None) -> Translator:
        """The translator saved in a folder; None: the one that ships, English to Chinese.

        Raises ValueError naming the folder and what is wrong with it.
        """
        folder = SHIPPED if path is None else Path(path)
        config, tokenizer, weights = read_model(folder)
        with loading(folder, "a translator", config, FORMAT):
            model = EncoderDecoder(EncoderDecoderConfig(**config["model"]))
            fill(model, weights)
            source, target = (Tokens.from_json(tokenizer[side]) for side in ("source", "target"))
            sizes = (model.config.source_tokens, model.config.target_tokens)
            if sizes != (source.size, target.size):
                raise ValueError("tokenizer.json is of another model: the token counts differ")
            return cls(model.requires_grad_(False), source, target, config["longest"])

    def save(self, path: str | Path, dtype: torch.dtype | None = None) -> None:
        """Write a model folder of `config.json`, `model.safetensors`, `tokenizer.json`.

        `dtype` is what the weights are stored in, e.g. `torch.float16`; None: as they are.
        """
        config = {
            "format": FORMAT,
            "longest": self.longest,
            "model": asdict(self.model.config),
        }
        tokenizer = {"source": self.source.to_json(), "target": self.target.to_json()}
        write_model(Path(path), config, tokenizer, self.model.state_dict(), dtype)

    @torch.no_grad()
    def translate(
        self,
        texts: Sequence[str],
        beam: int = 5,
        *,
        length_penalty: float = 1.0,
        batch: int = 32,
    ) -> list[Translation]:
        """Translate texts by beam search; the order is kept.

        `beam` hypotheses are kept at each step (1: greedy search) and compared at the end by
        log-probability / tokens ** `length_penalty` (Wu et al. 2016, section 7, in its plain
        form); `batch` texts are worked on at once. An empty text gives an empty translation.
        """
        _check(texts, beam, batch)
        # Half of a surrogate pair, as undecodable bytes of standard input become, is no character.
        whole = [text.encode("utf-8", "replace").decode() for text in texts]
        cut = [chunks(text, self.source, self.longest) for text in whole]
        flat = [chunk for parts in cut for chunk in parts]
        # Texts of one length together: a batch takes as long as its longest.
        order = sorted(range(len(flat)), key=lambda i: len(flat[i]))
        done: dict[int, Translation] = {}
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            results = self._batch([flat[i] for i in rows], beam, length_penalty)
            done.update(zip(rows, results, strict=True))
        results = iter(done[i] for i in range(len(flat)))
        return [
            self._join(text, [next(results) for _ in parts])
            for text, parts in zip(texts, cut, strict=True)
        ]

    def _batch(self, texts: list[str], beam: int, length_penalty: float) -> list[Translation]:
        sources = self.source.encode(texts)
        device = self.model.output_bias.device
        tokens, lengths = padded(sources)
        found = beam_search(
            self.model,
            tokens.to(device),
            lengths.to(device),
            beam=beam,
            length_penalty=length_penalty,
            unknown=self.target.unknown,
        )
        return [self._one(*pair) for pair in zip(texts, sources, found, strict=True)]

    def _one(self, text: str, source: list[int], found: Hypothesis) -> Translation:
        offsets = self.source.offsets(text)
        spans = words(text, offsets)
        read = [START, *found.tokens[:-1]]
        device = self.model.output_bias.device
        return Translation(
            source=text,
            text=self.target.decode(found.tokens),
            source_tokens=(*(text[start:stop].strip() for start, stop in offsets), END_TEXT),
            tokens=tuple(self.target.readable(number) for number in found.tokens),
            source_spans=(*spans, (len(offsets), len(offsets) + 1)),
            score=found.score,
            alignment=self.model.attention(
                torch.tensor(source, device=device), torch.tensor(read, device=device)
            ),
        )

    def _join(self, text: str, parts: list[Translation]) -> Translation:
        if len(parts) == 1:
            return replace(parts[0], source=text)
        spans, shift = [], 0
        for part in parts:
            spans += [(start + shift, stop + shift) for start, stop in part.source_spans]
            shift += len(part.source_tokens)
        tokens = tuple(token for part in parts for token in part.tokens)
        total = sum(part.score * len(part.tokens) for part in parts)
        glue = "" if self.target.kind == "characters" else " "
        return Translation(
            source=text,
            text=glue.join(part.text for part in parts),
            source_tokens=tuple(token for part in parts for token in part.source_tokens),
            tokens=tokens,
            source_spans=tuple(spans),
            score=total / len(tokens) if tokens else 0.0,
            parts=tuple(parts),
        )


def _check(texts: Sequence[str], beam: int, batch: int) -> None:
    """Raise TypeError or ValueError for arguments that `translate` cannot take."""
    rule = "Translator.translate: texts must be a list of str"
    if isinstance(texts, str):
        raise TypeError(f"{rule}; got one str")
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{rule}; got {type(text).__name__} in it")
    for name, value in (("beam", beam), ("batch", batch)):
        if type(value) is not int or value < 1:
            raise ValueError(f"Translator.translate: {name} must be an int >= 1; got {value}")
