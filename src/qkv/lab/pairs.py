"""Translators as studies train and test them: by the trainer, as `qkv train translate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qkv.lab.fair import parameters
from qkv.lab.intervals import PER_CENT, Scores
from qkv.lab.study import Record
from qkv.lab.training import trained
from qkv.models import SequenceToSequence, SequenceToSequenceConfig
from qkv.tasks.buckets import padded
from qkv.tasks.trainer.task import LOSS
from qkv.tasks.translation import Translator
from qkv.tasks.translation.bleu import score_of, sentence_counts
from qkv.tasks.translation.options import Options
from qkv.tasks.translation.pairs import Pair
from qkv.tasks.translation.search import beam_search
from qkv.tasks.translation.task import TranslationTask

NO_ATTENTION, RECURRENT = "LSTM, no attention", "LSTM with attention"
TRANSFORMER, HYBRID = "Transformer", "LSTM below a Transformer"
MIXED = "Transformer encoder, LSTM decoder"
_SELF = {"heads": 4}
_KINDS: dict[str, dict[str, Any]] = {
    NO_ATTENTION: {"encoder": "lstm", "decoder": "lstm", "score": "none", "feeding": "none"},
    RECURRENT: {"encoder": "lstm", "decoder": "lstm", "feeding": "upper"},
    TRANSFORMER: {"encoder": "attention", "decoder": "attention", **_SELF},
    HYBRID: {"encoder": "hybrid", "decoder": "attention", **_SELF},
    MIXED: {"encoder": "attention", "decoder": "lstm", "feeding": "upper", **_SELF},
}
MODELS = tuple(_KINDS)
LAYERS = 2
_BATCH = 50  # sentences that are translated together


def sizes(model: str, width: int) -> dict[str, Any]:
    """The sizes of a translator of a width; the hybrid has a recurrent layer more below."""
    kind = _KINDS[model]
    inside = {"feedforward": 4 * width} if "heads" in kind else {}
    layers = {
        "encoder_layers": LAYERS - (model == HYBRID), "decoder_layers": LAYERS,
    }  # fmt: skip
    return {**kind, **inside, **layers, "width": width, "dropout": 0.1}


def makers() -> dict[str, Callable[[int], nn.Module]]:
    """What makes a translator of a width, for each model."""

    def maker(model: str) -> Callable[[int], nn.Module]:
        return lambda width: SequenceToSequence(
            SequenceToSequenceConfig(1, 1, **sizes(model, width))
        )

    return {model: maker(model) for model in MODELS}


def network_parameters(model: nn.Module) -> int:
    """How many weights a translator has outside of its embeddings and of what is as large as its
    number of tokens."""
    assert isinstance(model, SequenceToSequence)
    return parameters(model) - model.output_bias.numel()


def learnt(
    train_on: Sequence[Pair],
    validate_on: Sequence[Pair],
    test: Mapping[str, Sequence[Pair]],
    model_sizes: Mapping[str, Any],
    budget: Mapping[str, Any],
    *,
    seed: int,
    rate: float,
    folder: Path,
) -> Record:
    """Trains a translator and tests it, greedily and each source as one sentence.

    Args:
        test: pairs by the names of the parts of the test.
        budget: `epochs`, `batch_tokens`, `pieces` and `longest`, the tokens of a side at most.
        folder: an empty one.

    Returns:
        What BLEU is computed of, for each sentence of each part; the least loss on validation,
        negative; the parameters and the seconds of training.
    """
    options = Options(
        source_pieces=budget["pieces"], target_pieces=budget["pieces"], longest=budget["longest"],
        batch_tokens=budget["batch_tokens"], validation_sentences=50,
    )  # fmt: skip
    task = TranslationTask(list(train_on), list(validate_on), options, dict(model_sizes), seed)
    figures = trained(task, folder, epochs=budget["epochs"], seed=seed, rate=rate)
    translator = Translator.load(folder)
    return {
        "validation": -min(one[LOSS] for one in figures),
        "counts": {name: _counted(translator, pairs) for name, pairs in test.items()},
        "parameters": network_parameters(translator.model),
        "training": 60 * figures[-1]["minutes"],
    }


def bleu_scores(records: Sequence[Record], part: str) -> Scores:
    """BLEU of runs of several seeds on a part of the test."""
    counts = torch.tensor([record["counts"][part] for record in records], dtype=torch.float64)
    return Scores(counts, score_of, PER_CENT)


def _counted(translator: Translator, pairs: Sequence[Pair]) -> list[list[int]]:
    outputs = translated(translator, [pair.source for pair in pairs])
    return sentence_counts(outputs, [[pair.target] for pair in pairs]).tolist()


@torch.no_grad()
def translated(translator: Translator, sources: Sequence[str]) -> list[str]:
    """Each source translated as one sentence, however long it is."""
    numbers = translator.source.encode(list(sources))
    order = sorted(range(len(numbers)), key=lambda i: len(numbers[i]))
    outputs = [""] * len(numbers)
    for first in range(0, len(order), _BATCH):
        rows = order[first : first + _BATCH]
        tokens, lengths = padded([numbers[i] for i in rows])
        for row, text in zip(rows, _search(translator, tokens, lengths), strict=True):
            outputs[row] = text
    return outputs


def _search(translator: Translator, tokens: Tensor, lengths: Tensor) -> list[str]:
    found = beam_search(
        translator.model, tokens, lengths, beam=1, length_penalty=1.0,
        unknown=translator.target.unknown,
    )  # fmt: skip
    return [translator.target.decode(hypotheses[0].tokens) for hypotheses in found]
