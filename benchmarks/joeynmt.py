"""qkv beside JoeyNMT 2.3: the same Transformer, the same sentences, the same time.

    python benchmarks/joeynmt.py FOLDER PAIRS... --python JOEY [--validation FILE] [--test FILE]
        [--minutes 40] [--threads N]

JOEY is the Python of an environment with `joeynmt==2.3.0 sentencepiece==0.2.0 importlib_metadata`.
The sentences are split as `qkv train translate` does. Each trains three layers on either side of
width 256 for so long, batches of 4,096 target tokens, pieces of English words and Chinese
characters, then translates up to 1,000 sentences of each test file with a beam of 5. What was done
already is not done again. Prints the tokens a second of the target that were trained on, padding
not counted, the time of translating, and BLEU with its interval; writes FOLDER/figures.json.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from common import machine, save, training_speeds

from qkv.tasks.translation.bleu import bleu, by_source
from qkv.tasks.translation.pairs import Pair, read_pairs, split_pairs
from qkv.tasks.translation.training import interleave
from qkv.tasks.translation.translator import Translator

BATCH, BEAM, SENTENCES, VALIDATED = 4096, 5, 1000, 200
SHARES = (0.02, 0.04)  # of the pairs: to validate on, to test on

CONFIG = """\
name: "compared"
joeynmt_version: "2.3.0"
model_dir: "{folder}/joeynmt"
use_cuda: False
fp16: False
random_seed: 0
data:
    train: "{folder}/train"
    dev: "{folder}/dev"
    test: "{folder}/{test}"
    dataset_type: "plain"
    src:
        lang: "en"
        level: "bpe"
        lowercase: True
        max_length: 60
        voc_file: "{folder}/pieces.txt"
        tokenizer_type: "sentencepiece"
        tokenizer_cfg: {{model_file: "{folder}/pieces.model"}}
    trg:
        lang: "zh"
        level: "char"
        max_length: 60
        voc_min_freq: 2
    special_symbols:
        unk_token: "<unk>"
        unk_id: 0
        pad_token: "<pad>"
        pad_id: 1
        bos_token: "<s>"
        bos_id: 2
        eos_token: "</s>"
        eos_id: 3
training:
    optimizer: "adamw"
    adam_betas: [0.9, 0.98]
    learning_rate: 0.001
    learning_rate_min: 0.00001
    learning_rate_warmup: 400
    scheduling: "warmupinversesquareroot"
    weight_decay: 0.01
    clip_grad_norm: 1.0
    label_smoothing: 0.1
    loss: "crossentropy"
    normalization: "tokens"
    batch_size: {batch}
    batch_type: "token"
    epochs: 1000
    validation_freq: 50
    logging_freq: 10
    early_stopping_metric: "ppl"
    print_valid_sents: []
    keep_best_ckpts: 1
testing:
    load_model: "{folder}/joeynmt/best.ckpt"
    batch_size: {batch}
    batch_type: "token"
    beam_size: {beam}
    beam_alpha: 1.0
    max_output_length: 60
    eval_metrics: ["bleu"]
    sacrebleu_cfg: {{tokenize: "zh"}}
model:
    initializer: "xavier_uniform"
    init_gain: 1.0
    bias_initializer: "zeros"
    embed_initializer: "xavier_uniform"
    encoder: &side
        type: "transformer"
        num_layers: 3
        num_heads: 4
        hidden_size: 256
        ff_size: 1024
        dropout: {dropout}
        layer_norm: "pre"
        embeddings: {{embedding_dim: 256, scale: True, dropout: 0.0}}
    decoder: *side
"""

PIECES = """\
import sys, sentencepiece
_, text, model = sys.argv
sentencepiece.SentencePieceTrainer.train(
    input=text, model_prefix=model, vocab_size=6000, model_type="bpe", character_coverage=1.0,
    unk_id=0, pad_id=1, bos_id=2, eos_id=3)
pieces = sentencepiece.SentencePieceProcessor(model_file=model + ".model")
words = [pieces.id_to_piece(i) for i in range(4, pieces.get_piece_size())]
open(model + ".txt", "w", encoding="utf-8").write("\\n".join(words) + "\\n")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("pairs", type=Path, nargs="+")
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--validation", type=Path, action="append", default=[])
    parser.add_argument("--test", type=Path, action="append", default=[])
    parser.add_argument("--minutes", type=float, default=40.0, help="of training, each")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dropout", type=float, default=0.2)
    given = parser.parse_args()
    given.folder = given.folder.resolve()
    torch.set_num_threads(given.threads)
    tests = prepare(given)
    figures = {"JoeyNMT": joeynmt(given, tests), "qkv": qkv(given, tests)}
    found = {"minutes": given.minutes, "threads": given.threads, "figures": figures}
    save(
        given.folder / "figures.json",
        json.dumps({"machine": machine(), **found}, indent=1, ensure_ascii=False) + "\n",
    )
    print(table(figures))


def prepare(given: argparse.Namespace) -> dict[str, dict[str, list[str]]]:
    """Write what JoeyNMT reads; returns the sentences of each test with their translations."""
    files = [[read_pairs(path) for path in p] for p in (given.pairs, given.validation, given.test)]
    split = split_pairs(files[0], files[1], files[2], *SHARES)
    given.folder.mkdir(parents=True, exist_ok=True)
    write(given.folder / "train", [pair for file in split.train for pair in file])
    write(given.folder / "dev", interleave(split.validation)[:VALIDATED])
    tests = {}
    for name, pairs in split.test.items():
        references = dict(list(by_source(pairs).items())[:SENTENCES])
        stem = f"test.{name}"
        write(given.folder / stem, [Pair(text, known[0]) for text, known in references.items()])
        tests[stem] = references
        (given.folder / f"{stem}.yaml").write_text(
            CONFIG.format(
                folder=given.folder, test=stem, batch=BATCH, beam=BEAM, dropout=given.dropout
            )
        )
    if not (given.folder / "pieces.txt").exists():
        lower = given.folder / "lower.en"
        lower.write_text(
            "".join(pair.source.lower() + "\n" for file in split.train for pair in file)
        )
        command = [given.python, "-c", PIECES, lower, given.folder / "pieces"]
        subprocess.run(command, check=True, capture_output=True)
    return tests


def write(stem: Path, pairs: list[Pair]) -> None:
    """A file for each side."""
    save(stem.with_name(f"{stem.name}.en"), "".join(pair.source + "\n" for pair in pairs))
    save(stem.with_name(f"{stem.name}.zh"), "".join(pair.target + "\n" for pair in pairs))


def joeynmt(given: argparse.Namespace, tests: dict[str, dict[str, list[str]]]) -> dict[str, Any]:
    """Train and translate by JoeyNMT; the configurations differ in the test file alone."""
    run = [given.python, "-m", "joeynmt"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(given.threads)}
    options: dict[str, Any] = {"env": environment, "cwd": given.folder}
    log = given.folder / "joeynmt" / "train.log"
    if not log.exists():
        config = given.folder / f"{next(iter(tests))}.yaml"
        try:
            seconds = 60 * given.minutes
            subprocess.run([*run, "train", config, "--skip-test"], timeout=seconds, **options)
            raise SystemExit(f"joeynmt: its training ended by itself; see {log}")
        except subprocess.TimeoutExpired:
            pass  # so it is meant: it knows no limit of time
    speeds = [float(found) for found in re.findall(r"Tokens per Sec: +(\d+)", log.read_text())]
    figures: dict[str, Any] = {"tokens a second": statistics.median(speeds), "tests": {}}
    for stem, references in tests.items():
        output = given.folder / f"{stem}.joeynmt"
        if not Path(f"{output}.test").exists():
            config = given.folder / f"{stem}.yaml"
            subprocess.run([*run, "test", config, "-o", output], check=True, **options)
            log = (given.folder / "joeynmt" / "test.log").read_text()
            took = re.findall(r"Generation took ([\d.]+)\[sec\]", log)[-1]
            save(given.folder / f"{stem}.joeynmt.seconds", took)
        seconds = float((given.folder / f"{stem}.joeynmt.seconds").read_text())
        outputs = Path(f"{output}.test").read_text().splitlines()
        figures["tests"][stem] = scored(outputs, references, seconds)
    return figures


def qkv(given: argparse.Namespace, tests: dict[str, dict[str, list[str]]]) -> dict[str, Any]:
    """The same by qkv."""
    folder = given.folder / "qkv"
    if not (folder / "done").exists():
        paths = [*map(str, given.pairs)]
        for name in ("validation", "test"):
            for path in getattr(given, name):
                paths += [f"--{name}", str(path)]
        shares = ["--validation-share", str(SHARES[0]), "--test-share", str(SHARES[1])]
        limits = ["--minutes", str(given.minutes), "--threads", str(given.threads)]
        sizes = ["--batch-tokens", str(BATCH), "--dropout", str(given.dropout)]
        sizes += ["--validation-sentences", str(VALIDATED)]
        command = [sys.executable, "-m", "qkv", "train", "translate", *paths, *shares]
        subprocess.run([*command, *limits, *sizes, "--out", str(folder)], check=True)
        save(folder / "done", "")
    speeds = training_speeds(folder)
    figures: dict[str, Any] = {"tokens a second": statistics.median(speeds), "tests": {}}
    translator = Translator.load(folder)
    for stem, references in tests.items():
        start = time.perf_counter()
        outputs = [found.text for found in translator.translate(list(references), BEAM)]
        figures["tests"][stem] = scored(outputs, references, time.perf_counter() - start)
    return figures


def scored(outputs: list[str], references: dict[str, list[str]], seconds: float) -> dict[str, Any]:
    found = bleu(outputs, list(references.values()), bootstrap=1000)
    return {"seconds": seconds, "text": str(found), **asdict(found)}


def table(figures: dict[str, Any]) -> str:
    """A line for each system and measure, and how many times as much qkv does."""
    joey, own = figures["JoeyNMT"], figures["qkv"]
    speeds = joey["tokens a second"], own["tokens a second"]
    lines = [
        f"target tokens a second in training: JoeyNMT {speeds[0]:,.0f}, qkv {speeds[1]:,.0f}: "
        f"{speeds[1] / speeds[0]:.2f} times"
    ]
    for stem, other in joey["tests"].items():
        mine = own["tests"][stem]
        lines.append(
            f"{stem}: {mine['sentences']:,} sentences, beam {BEAM}: JoeyNMT {other['seconds']:.1f} "
            f"s, qkv {mine['seconds']:.1f} s: {other['seconds'] / mine['seconds']:.2f} times"
        )
        lines += [f"  {name}: {one['text']}" for name, one in (("JoeyNMT", other), ("qkv", mine))]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
