"""Models of Hugging Face transformers in a folder on the disk, which read a text or a picture."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import torch

import qkv
from qkv._extras import needed
from qkv.capture.capture import Capture
from qkv.tasks.classification.images.reading import read_picture
from qkv.tasks.model_folders import read_json
from qkv.viewer.subject import Source

from .titles import named, titled

_WRITTEN = 256  # tokens at most that an encoder-decoder writes
_ADAPTER = "adapter_config.json"
_SAFE = {"local_files_only": True, "trust_remote_code": False}


class TransformersFolder:
    """A folder as `save_pretrained` writes it. Nothing is downloaded, and no code of it is run.

    Raises:
        ValueError: transformers cannot load it.
        ImportError: transformers is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._transformers = path, needed("transformers")
        self._check_names()
        self._transformers.utils.logging.disable_progress_bar()
        self._transformers.utils.logging.set_verbosity_error()
        self.config = self._loaded("AutoConfig")

    def read_text(self, text: str) -> list[Source]:
        """The attention of a text; an encoder-decoder writes what it has to say of it, and reads
        both."""
        encoded, model = self._encoded(text), self._model
        ids, written = encoded["input_ids"][0], None
        with torch.no_grad(), self._reading("text"):
            if self.config.is_encoder_decoder:
                written = self._written(encoded)
                encoded = {**encoded, "decoder_input_ids": written[None]}
            with qkv.observe(model) as capture:
                getattr(model, "text_model", model)(**encoded)
        self._check(capture)
        self._label(capture, ids, text, None if written is None else "encoder")
        if written is not None:
            self._label(capture, written, None, "decoder")
        return [Source(titled(text), capture)]

    def read_picture(self, file: str) -> list[Source]:
        """The attention of a picture, labelled with its patches where there is a place for each."""
        pixels = read_picture(Path(file), file).permute(1, 2, 0).numpy()
        processor = self._loaded("AutoImageProcessor")
        model = self._model
        with torch.no_grad(), self._reading("picture"):
            seen = processor(images=pixels, return_tensors="pt").pixel_values
            with qkv.observe(model) as capture:
                getattr(model, "vision_model", model)(pixel_values=seen)
        self._check(capture)
        shown = processor(images=pixels, return_tensors="pt", do_rescale=False, do_normalize=False)
        self._label_image(capture, shown.pixel_values[0])
        return [Source(named(file), capture)]

    def _written(self, encoded: dict[str, torch.Tensor]) -> torch.Tensor:
        """What an encoder-decoder writes, but for the last token, which it does not read."""
        written = self._model.generate(
            **encoded, do_sample=False, num_beams=1, max_new_tokens=_WRITTEN
        )
        return written[0, :-1]

    def _check(self, capture: Capture) -> None:
        if not capture.calls:
            reasons = "; ".join(dict.fromkeys(missed.reason for missed in capture.missed))
            raise ValueError(f"{self.path}: no attention was seen{reasons and f': {reasons}'}")

    def _label(
        self, capture: Capture, ids: torch.Tensor, text: str | None, side: str | None
    ) -> None:
        """By the tokenizer, which knows where in the text its tokens stand, or by tokens alone."""
        tokenizer = self._tokenizer
        with self._labelling():
            if not getattr(tokenizer, "is_fast", False):
                capture.label(tokenizer.convert_ids_to_tokens(ids.tolist()), side=side)
            elif text is None:
                capture.label(tokenizer, ids, side=side)
            else:
                capture.label(tokenizer, text, side=side, truncation=True, max_length=len(ids))

    def _label_image(self, capture: Capture, pixels: torch.Tensor) -> None:
        patch = getattr(getattr(self.config, "vision_config", self.config), "patch_size", None)
        high, wide = patch if isinstance(patch, list | tuple) else (patch, patch)
        with self._labelling():
            if not (high and wide):
                raise ValueError("the model tells of no patches")
            grid = pixels.shape[1] // high, pixels.shape[2] // wide
            capture.label_image(pixels.round().clamp(0, 255).to(torch.uint8), grid)

    @contextmanager
    def _labelling(self) -> Iterator[None]:
        """Models that put several places together, or parts of them apart, are shown without."""
        try:
            yield
        except ValueError as error:
            print(f"qkv: {self.path}: without labels: {error}", file=sys.stderr)

    def _encoded(self, text: str) -> dict[str, torch.Tensor]:
        """The text as the model reads it: what is too long is cut, and told."""
        longest = self._tokenizer.model_max_length
        if places := getattr(self.config.get_text_config(), "max_position_embeddings", None):
            longest = min(longest, places)
        count = len(self._tokenizer(text, verbose=False)["input_ids"])
        if not count:
            raise ValueError(f"{self.path}: its tokenizer finds no token in {titled(text)!r}")
        cut = {"truncation": True, "max_length": longest} if count > longest else {}
        if cut:
            print(f"qkv: the first {longest:,} of {count:,} tokens are read", file=sys.stderr)
        encoded = self._tokenizer(text, return_tensors="pt", **cut)
        # Of one text nothing else is told, and not every model takes it.
        names = ("input_ids", "attention_mask")
        return {name: encoded[name] for name in names if name in encoded}

    @cached_property
    def _tokenizer(self) -> Any:
        found = self._loaded("AutoTokenizer")
        names = sorted({*found.vocab_files_names.values()})
        # Without its files one is made all the same, which knows no word.
        if names and not any((self.path / name).exists() for name in names):
            raise ValueError(f"{self.path}: there is no tokenizer: {', '.join(names)} are missing")
        return found

    @cached_property
    def _model(self) -> Any:
        name = "AutoModelForSeq2SeqLM" if self.config.is_encoder_decoder else "AutoModel"
        model, told = self._loaded(name, output_loading_info=True)
        missing = sorted(key for key in told["missing_keys"] if "pooler" not in key)
        if missing:  # they would be drawn at random
            raise ValueError(f"{self.path}: weights are missing: {', '.join(missing[:3])}")
        return model.eval()

    def _check_names(self) -> None:
        """Raises ValueError where the folder names weights that lie elsewhere."""
        if (self.path / _ADAPTER).is_file():
            raise ValueError(
                f"{self.path}: {_ADAPTER} is of an adapter, which names a model elsewhere; merge "
                "it with that model, and save the whole"
            )
        for index in sorted(self.path.glob("*.index.json")):
            names = read_json(self.path, index.name).get("weight_map")
            names = names.values() if isinstance(names, dict) else [names]
            for name in names:
                if not isinstance(name, str) or name != PurePath(name).name or "\\" in name:
                    raise ValueError(
                        f"{self.path}: {index.name} must name files of the folder; "
                        f"got {titled(str(name))!r}"
                    )

    def _loaded(self, name: str, **options: Any) -> Any:
        """What a class of transformers makes of the folder."""
        own = getattr(self._transformers, name)
        try:
            return own.from_pretrained(str(self.path), **_SAFE, **options)
        except ImportError:
            raise
        except Exception as error:  # whatever a damaged file makes of what transformers reads it by
            raise ValueError(
                f"{self.path}: not a folder that {name} of transformers can load: {error}"
            ) from error

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """What a model that is not known says of what it was given."""
        try:
            yield
        except (AttributeError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{self.path}: the model cannot read this {what}: {error}") from error
