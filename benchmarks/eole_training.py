"""How many tokens a second qkv trains on, beside eole: the same tokens, sizes and batches.

    python benchmarks/eole_training.py FOLDER PAIRS... --eole EOLE [--minutes 2] [--rounds 2]
        [--threads N] [--precision float32|bf16]

EOLE is the command of an environment with `eole==0.6.4 aiohttp`. Each trains a Transformer of three
layers on either side, width 256, by AdamW, in turn, from nothing. eole reads the tokens that qkv's
translator makes. Prints the median tokens a second of the target, padding not counted, the
parameters of each, which must be alike, and the ratio.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import torch
from common import machine, save, training_speeds

from qkv.tasks.translation.pairs import read_pairs
from qkv.tasks.translation.translator import Translator

BATCH, DROPOUT = 4096, 0.1
ALIKE = 0.05  # of the parameters

CONFIG = """\
seed: 1
share_vocab: false
src_vocab: {folder}/vocabulary.source
tgt_vocab: {folder}/vocabulary.target
save_data: {folder}/eole
overwrite: true
src_vocab_size: 100000
tgt_vocab_size: 100000
data:
  train: {{path_src: "{folder}/source.txt", path_tgt: "{folder}/target.txt", transforms: []}}
report_every: 5
training:
  model_path: {folder}/eole/model
  world_size: 0
  gpu_ranks: []
  batch_type: tokens
  batch_size: {batch}
  bucket_size: 100000
  num_workers: 0
  compute_dtype: {dtype}
  optim: adamw
  learning_rate: 0.001
  warmup_steps: 400
  label_smoothing: 0.1
  dropout: [{dropout}]
  attention_dropout: [0.0]
  train_steps: 1000000
  valid_steps: 1000000
  save_checkpoint_steps: 1000000
model:
  architecture: transformer
  hidden_size: 256
  encoder: {{layers: 3}}
  decoder: {{layers: 3}}
  heads: 4
  transformer_ff: 1024
  share_decoder_embeddings: true
  embeddings: {{word_vec_size: 256, position_encoding_type: SinusoidalInterleaved}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("pairs", type=Path, nargs="+")
    parser.add_argument("--eole", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=2.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    given = parser.parse_args()
    given.folder = given.folder.resolve()
    speeds: dict[str, list[float]] = {"eole": [], "qkv": []}
    for turn in range(given.rounds):
        mine, own = qkv(given, given.folder / f"qkv-{turn}")
        if turn == 0:
            prepare(given, given.folder / "qkv-0")
        others, other = eole(given)
        if abs(own - other) > ALIKE * other:
            raise SystemExit(f"the sizes differ: eole has {other:,} parameters, qkv {own:,}")
        speeds["eole"] += others
        speeds["qkv"] += mine
        print(f"parameters: eole {other:,}, qkv {own:,}")
    theirs, ours = (statistics.median(speeds[name]) for name in ("eole", "qkv"))
    print({**machine(), "threads": given.threads, "precision": given.precision})
    print(f"target tokens a second: eole {theirs:,.0f}, qkv {ours:,.0f}: {ours / theirs:.2f} times")


def qkv(given: argparse.Namespace, folder: Path) -> tuple[list[float], int]:
    """The speeds of a training of qkv's, and its parameters."""
    command = [sys.executable, "-m", "qkv", "train", "translate", *map(str, given.pairs)]
    command += ["--minutes", str(given.minutes), "--threads", str(given.threads), "--cpu"]
    command += ["--batch-tokens", str(BATCH), "--dropout", str(DROPOUT), "--log-every", "5"]
    command += ["--width", "256", "--encoder-layers", "3", "--decoder-layers", "3"]
    command += ["--feedforward", "1024", "--validation-sentences", "1"]
    command += ["--precision", given.precision, "--out", str(folder)]
    subprocess.run(command, check=True)
    parameters = Translator.load(folder).model.parameters()
    return training_speeds(folder)[1:], sum(one.numel() for one in parameters)


def prepare(given: argparse.Namespace, trained: Path) -> None:
    """Write what eole reads: the tokens of a trained translator, by their numbers."""
    translator = Translator.load(trained)
    pairs = [pair for path in given.pairs for pair in read_pairs(path).pairs]
    sides = [
        translator.source.encode([pair.source for pair in pairs]),
        translator.target.encode([pair.target for pair in pairs]),
    ]
    kept = [both for both in zip(*sides, strict=True) if max(map(len, both)) <= translator.longest]
    for place, name in enumerate(("source", "target")):
        rows = (" ".join(map(str, both[place][:-1])) for both in kept)
        save(given.folder / f"{name}.txt", "\n".join(rows) + "\n")
        size = (translator.source, translator.target)[place].size
        save(given.folder / f"vocabulary.{name}", "".join(f"{n}\t1\n" for n in range(size)))
    dtype = {"float32": "fp32", "bf16": "bf16"}[given.precision]
    config = CONFIG.format(folder=given.folder, batch=BATCH, dropout=DROPOUT, dtype=dtype)
    save(given.folder / "eole.yaml", config)


def eole(given: argparse.Namespace) -> tuple[list[float], int]:
    """The speeds of a training of eole's, and its parameters."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(given.threads)}
    command = [given.eole, "train", "-config", given.folder / "eole.yaml"]
    log = given.folder / "eole.log"
    with log.open("w") as file:
        try:
            subprocess.run(
                command, env=environment, timeout=60 * given.minutes, stdout=file, stderr=file
            )
            raise SystemExit(f"eole: its training ended by itself; see {log}")
        except subprocess.TimeoutExpired:
            pass  # so it is meant
    text = log.read_text()
    speeds = [float(found) for found in re.findall(r"/\s*(\d+) tok/s", text)]
    found = re.search(r"number of parameters: (\d+)", text)
    if found is None or len(speeds) < 2:
        raise SystemExit(f"eole told no speed; see {log}")
    return speeds[1:], int(found[1])


if __name__ == "__main__":
    main()
