"""An exported translator beside the saved one: the same tokens, and tokens in a second.

    python benchmarks/exported.py sentences.tsv --exported FOLDER [--model en-zh] [--count 200]

The first column of the file is read. Both are asked by the same search, in turns, on one thread;
the times are those of the search alone, medians of three.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial
from pathlib import Path

import torch

import qkv
from qkv.tasks.buckets import padded
from qkv.tasks.translation.exported import ExportedModel
from qkv.tasks.translation.search import beam_search

BATCH, RUNS = 64, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sentences", type=Path)
    parser.add_argument("--exported", type=Path, required=True)
    parser.add_argument("--model", default="en-zh")
    parser.add_argument("--count", type=int, default=200)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    lines = asked.sentences.read_text(encoding="utf-8").splitlines()
    texts = list(dict.fromkeys(line.split("\t")[0] for line in lines))[: asked.count]
    translator = qkv.load(asked.model)
    numbers = sorted(translator.source.encode(texts), key=len)
    models = {"saved": translator.model, "exported": ExportedModel(asked.exported, threads=1)}
    for beam in (1, 5):
        search = partial(
            beam_search,
            beam=beam,
            length_penalty=translator.length_penalty,
            unknown=translator.target.unknown,
        )
        written, seconds = {}, {name: [] for name in models}
        for _ in range(RUNS):
            for name, model in models.items():
                start = time.perf_counter()
                with torch.no_grad():
                    written[name] = [
                        found[0].tokens
                        for place in range(0, len(numbers), BATCH)
                        for found in search(model, *padded(numbers[place : place + BATCH]))
                    ]
                seconds[name].append(time.perf_counter() - start)
        same = sum(a == b for a, b in zip(*written.values(), strict=True))
        print(f"beam {beam}: {same} of {len(numbers)} sentences have the same tokens")
        for name, times in seconds.items():
            tokens = sum(map(len, written[name]))
            print(f"  {name}: {tokens / statistics.median(times):,.0f} tokens a second")


if __name__ == "__main__":
    main()
