"""Translators as models of ONNX: one reads the sources, one makes a step of all hypotheses.

What the first gives and the second takes is the state of a search (`qkv.models.steps`), in tensors
`context_i` and `state_i`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from qkv import AttentionMatrix
from qkv.models.steps import Reading, Step, parts_of
from qkv.tasks.onnx_models import Axes, Exported, Graph, Session
from qkv.tasks.tokens import FIRST
from qkv.tasks.translation.translator import Translator

ENCODER, DECODER = "encoder", "decoder"
_HYPOTHESES = 3  # of each sentence, in what models are made and checked with
_WRITTEN = 4  # tokens that they have

_USAGE = """\
import json
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

sides = json.load(open("tokenizer.json"))
source, target = (
    Tokenizer.from_str(json.dumps(sides[side]["tokenizer"])) for side in ("source", "target")
)
encoder, decoder = (onnxruntime.InferenceSession(f"{n}.onnx") for n in ("encoder", "decoder"))
text = "I drink tea."
numbers = np.array([[3 + i for i in source.encode(text).ids] + [2]])  # 2 is the end mark
feed = {"source": numbers, "lengths": np.array([numbers.shape[1]])}
feed |= dict(zip([o.name for o in encoder.get_outputs()], encoder.run(None, feed)))
written, token = [], 1  # 1 is the start mark
while token != 2 and len(written) < 100:
    step = {name.name: feed.get(name.name) for name in decoder.get_inputs()}
    step["tokens"] = np.array([[token]])  # [batch, hypotheses]
    logits, *states = decoder.run(None, step)
    feed |= {f"state_{i}": state for i, state in enumerate(states)}
    token = int(logits[0, 0].argmax())
    written.append(token)
print(target.decode([token - 3 for token in written if token >= 3]))
"""


def exported(translator: Translator) -> Exported:
    """A translator: an encoder and a step of its decoder."""
    model = translator.model
    encoder = Reading(model)
    sources, targets = translator.source.size, translator.target.size

    def read(batch: int, length: int) -> tuple[Tensor, ...]:
        lengths = length - torch.arange(batch) % length
        return torch.randint(FIRST, sources, (batch, length)), lengths

    attends = model.config.decoder == "attention"
    like = parts_of(model.start(*read(1, 2)))
    contexts = [f"context_{i}" for i in range(len(like.contexts))]
    states = [f"state_{i}" for i in range(len(like.states))]
    decoder = Step(model, len(contexts))

    def asked(batch: int, length: int) -> tuple[Tensor, ...]:
        source, lengths = read(batch, length)
        found = encoder(source, lengths)
        mine = list(found[: len(contexts)])
        own = [t.repeat_interleave(_HYPOTHESES, 1) for t in found[len(contexts) :]]
        for _ in range(_WRITTEN):
            tokens = torch.randint(FIRST, targets, (batch, _HYPOTHESES))
            _, *own = decoder(tokens, lengths, *mine, *own)
        return (torch.randint(FIRST, targets, (batch, _HYPOTHESES)), lengths, *mine, *own)

    shared: Axes = {0: "batch", 2: "source"} if model.config.score != "none" else {0: "batch"}
    rows: Axes = {0: "batch", 1: "hypotheses"}
    each = {**rows, 3: "written"} if attends else rows
    grown = {**rows, 3: "written_now"} if attends else rows
    tokens: dict[str, Axes] = {"tokens": rows}
    first: Axes = {0: "batch"}
    lengths: dict[str, Axes] = {"lengths": {0: "batch"}}
    asking: dict[str, Axes] = dict.fromkeys(contexts, shared)
    reading: dict[str, Axes] = {"source": {0: "batch", 1: "source"}}
    graphs = (
        Graph(ENCODER, encoder, read, reading | lengths, asking | dict.fromkeys(states, first)),
        Graph(
            DECODER,
            decoder,
            asked,
            tokens | lengths | asking | dict.fromkeys(states, each),
            {"logits": rows} | {f"next_{name}": grown for name in states},
        ),
    )  # fmt: skip
    return Exported(graphs, _USAGE)


class ExportedModel:
    """An exported translator, run by onnxruntime: what a search asks of a model.

    Args:
        folder: where `qkv export` wrote it.
        threads: as for `Session`.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        self.encoder, self.decoder = (
            Session(folder / f"{name}.onnx", threads) for name in (ENCODER, DECODER)
        )

    def start(self, source: Tensor, lengths: Tensor) -> ExportedState:
        """The state before the first step, for `lengths` `[B]` of `source` `[B, Lk]`."""
        return ExportedState({"lengths": lengths}, {}).after(
            self.encoder(source=source, lengths=lengths)
        )

    def decode(self, target: Tensor, state: ExportedState) -> tuple[Tensor, ExportedState]:
        """Logits `[B, Lq, target_tokens]` after each token of `target` `[B, Lq]`, and the state."""
        steps = []
        for column in target.T:
            tokens = column.unflatten(0, (-1, state.copies))
            found = self.decoder(tokens=tokens, **state.contexts, **state.states)
            steps.append(found.pop("logits").flatten(0, 1))
            state = state.after({name.removeprefix("next_"): t for name, t in found.items()})
        return torch.stack(steps, 1), state

    def matrices(self, source: Tensor, lengths: Tensor, target: Tensor) -> list[AttentionMatrix]:
        """None: an exported model does not say where it looks."""
        return []


@dataclass(frozen=True)
class ExportedState:
    """Tensors by their names: `contexts` `[B, ...]`, `states` `[B, copies, ...]`."""

    contexts: dict[str, Tensor]
    states: dict[str, Tensor]

    @property
    def copies(self) -> int:
        """How many hypotheses a sentence has."""
        return next(iter(self.states.values())).shape[1]

    def after(self, found: dict[str, Tensor]) -> ExportedState:
        """The state with what a model gave."""
        states = {name: t for name, t in found.items() if name.startswith("state")}
        contexts = {name: t for name, t in found.items() if name not in states}
        return ExportedState(self.contexts | contexts, self.states | states)

    def spread(self, copies: int) -> ExportedState:
        """The state of `copies` hypotheses for each one before."""
        states = {name: t.repeat_interleave(copies, 1) for name, t in self.states.items()}
        return ExportedState(self.contexts, states)

    def reorder(self, rows: Tensor) -> ExportedState:
        """The state of these hypotheses, those of a sentence side by side."""
        copies = self.copies
        sentences = rows[::copies] // copies
        states = {
            name: t.flatten(0, 1)[rows].unflatten(0, (-1, copies))
            for name, t in self.states.items()
        }
        contexts = self.contexts
        if len(sentences) < len(contexts["lengths"]):
            contexts = {name: t[sentences] for name, t in contexts.items()}
        return ExportedState(contexts, states)
