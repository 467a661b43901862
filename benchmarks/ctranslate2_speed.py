"""qkv's translator beside CTranslate2: the same weights, the same sentences, the same beam.

    python benchmarks/ctranslate2_speed.py LINES [--model DIR] [--threads N] [--rounds N]
        [--beam 5] [--sentences N]

Needs `ctranslate2==4.8.5`. LINES is a file with a sentence a line. A Transformer of ours is
converted to CTranslate2 in float32 and must give the same log-probabilities of given translations
(the oracle). Both then translate the sentences in one process by turns: ours with
`Translator.translate`, theirs with `translate_batch`, each in batches of several sizes. Prints the
median sentences a second of all, the ratio of the best of each, and how many translations agree.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import ctranslate2  # pyright: ignore[reportMissingImports]
import numpy as np
import torch
from common import interleaved, machine
from ctranslate2.specs import TransformerSpec  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn

from qkv import Translator
from qkv.nn import SinusoidalPositions
from qkv.tasks.translation.forced import hypotheses

LONGEST = 512  # positions
BATCHES = (16, 32, 64, 128)
CLOSE = 1e-3  # nats, of a sentence


def converted(translator: Translator, folder: Path) -> Path:
    """A folder with the model in CTranslate2's format."""
    model, config = translator.model, translator.model.config
    layers = config.encoder_layers, config.decoder_layers
    spec = TransformerSpec.from_config(layers, config.heads or 4, pre_norm=True)
    _fill(spec.encoder, model.encoder, model.source_embedding.weight)
    _fill(spec.decoder, model.decoder, model.target_embedding.weight)
    _linear(spec.decoder.projection, model.target_embedding.weight, model.output_bias)
    spec.register_source_vocabulary([*map(str, range(translator.source.size))])
    spec.register_target_vocabulary([*map(str, range(translator.target.size))])
    spec.config.add_source_bos = spec.config.add_source_eos = False
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = "1", "2", "<unk>"
    spec.config.decoder_start_token = "1"
    spec.validate()
    spec.optimize()
    folder.mkdir()
    spec.save(str(folder))
    return folder


def _fill(spec: Any, part: Any, embedding: Tensor) -> None:
    tables = spec.embeddings if isinstance(spec.embeddings, list) else [spec.embeddings]
    tables[0].weight = embedding.numpy()
    zero = torch.zeros(1, LONGEST, embedding.shape[1])
    spec.position_encodings.encodings = SinusoidalPositions(embedding.shape[1])(zero)[0].numpy()
    _norm(spec.layer_norm, part.norm)
    for out, layer in zip(spec.layer, part.layers, strict=True):
        _norm(out.self_attention.layer_norm, layer.attention_norm)
        own = layer.attention
        _stack(out.self_attention.linear[0], own.query, own.key, own.value)
        _stack(out.self_attention.linear[1], own.output)
        if layer.looks_out:
            context = layer.context_attention
            _norm(out.attention.layer_norm, layer.context_norm)
            _stack(out.attention.linear[0], context.query)
            _stack(out.attention.linear[1], context.key, context.value)
            _stack(out.attention.linear[2], context.output)
        _norm(out.ffn.layer_norm, layer.feedforward_norm)
        _stack(out.ffn.linear_0, layer.feedforward[0])
        _stack(out.ffn.linear_1, layer.feedforward[3])


def _norm(spec: Any, norm: nn.LayerNorm) -> None:
    spec.gamma, spec.beta = norm.weight.numpy(), norm.bias.numpy()


def _stack(spec: Any, *linears: nn.Linear) -> None:
    weights = torch.cat([linear.weight for linear in linears])
    _linear(spec, weights, torch.cat([linear.bias for linear in linears]))


def _linear(spec: Any, weight: Tensor, bias: Tensor) -> None:
    spec.weight, spec.bias = weight.numpy(), bias.numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--sentences", type=int, default=1000)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    translator = Translator.load(given.model)
    texts = given.lines.read_text().splitlines()[: given.sentences]
    sources = [list(map(str, row)) for row in translator.source.encode(texts)]
    with tempfile.TemporaryDirectory() as folder:
        theirs = ctranslate2.Translator(
            str(converted(translator, Path(folder) / "model")), device="cpu",
            compute_type="float32", inter_threads=1, intra_threads=given.threads,
        )  # fmt: skip
    _check(translator, theirs, texts[:20], sources[:20])
    print(machine())

    def peer(batch: int) -> list[str]:
        found = theirs.translate_batch(
            sources, beam_size=given.beam, max_batch_size=batch, max_decoding_length=256,
            length_penalty=1.0, batch_type="examples",
        )  # fmt: skip
        return [translator.target.decode(list(map(int, one.hypotheses[0]))) for one in found]

    def own(batch: int) -> list[str]:
        found = translator.translate(texts, given.beam, length_penalty=1.0, batch=batch)
        return [one.text for one in found]

    times = interleaved(
        {
            f"{name}, batches of {size}": partial(call, size)
            for name, call in (("CTranslate2", peer), ("qkv", own))
            for size in BATCHES
        },
        given.rounds,
    )
    for name, seconds in times.items():
        print(f"{name}: {len(texts) / seconds:.1f} sentences a second")
    best = {
        who: min(seconds for name, seconds in times.items() if name.startswith(who))
        for who in ("CT", "qkv")
    }
    print(f"qkv is {best['CT'] / best['qkv']:.2f} times as fast as CTranslate2's best")
    same = np.mean([a == b for a, b in zip(own(32), peer(32), strict=True)])
    print(f"{100 * same:.1f} % of the translations are the same")


def _check(translator: Translator, theirs: Any, texts: list[str], sources: list) -> None:
    """Both give the same log-probabilities of the same translations."""
    written = translator.target.encode([one.text for one in translator.translate(texts)])
    read = [list(map(int, source)) for source in sources]
    ours = hypotheses(translator.model, read, written, torch.device("cpu"))
    scored = theirs.score_batch(sources, [list(map(str, row[:-1])) for row in written])
    for found, one in zip(ours, scored, strict=True):
        if abs(found.log_probability - sum(one.log_probs)) > CLOSE:
            raise SystemExit(
                f"the models differ: {found.log_probability:.5f} and {sum(one.log_probs):.5f} nats"
            )


if __name__ == "__main__":
    main()
