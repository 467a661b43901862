"""Peak memory at growing lengths, forward and with backward, beyond inputs and outputs.

    python benchmarks/memory.py                          the whole table
    python benchmarks/memory.py --lengths 1024 2048      some lengths
    python benchmarks/memory.py --kinds statistics       some kinds; the others stay as they are

Every figure is the peak of a fresh process: its largest resident size, less what was resident when
the inputs had been made, less the size of the output and of the gradients. Beside it stands the
dense formula in plain torch, where that takes less than about 6 GB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, dataclass

import torch
from common import ROOT, machine, peak, save
from torch import Tensor

import qkv

TABLE, FIGURES = ROOT / "docs" / "memory.md", ROOT / "docs" / "memory.json"
LENGTHS = tuple(1024 * 2**i for i in range(6))
MEBIBYTE = 2**20
DENSE_LIMIT = 6e9  # bytes
MODES = ("forward", "backward")
STATISTICS = (
    "product, mass, entropy, distance, support, top 8, map 256 × 256, logsumexp in one sweep"
)


@dataclass(frozen=True)
class Case:
    """One row of the table: what is computed and how many queries at most (None: as many as keys),
    where all of them would take too long."""

    name: str
    kind: str
    heads: int
    width: int
    queries: int | None = None
    modes: tuple[str, ...] = MODES

    def numbers_per_cell(self) -> int:
        """How many numbers the dense formula makes for each cell at a time."""
        return self.width if self.kind == "additive" else 1


CASES = (
    Case("Dot, D 64, 1 head (fused kernels)", "dot", 1, 64),
    Case("Dot, D 64, 8 heads (fused kernels)", "dot", 8, 64),
    Case("Dot, D 64, 1 head, sparsemax", "sparsemax", 1, 64, queries=2048),
    Case("Additive, D 256, 1 head", "additive", 1, 256, queries=512),
    Case("callable with a captured parameter, D 64, 1 head", "callable", 1, 64, queries=512),
    Case(f"{STATISTICS}, D 64, 1 head", "statistics", 1, 64, modes=("forward",)),
)


@dataclass(frozen=True)
class Figure:
    """One measurement; `extra` in bytes, None where it was not tried."""

    case: str
    queries: int
    keys: int
    mode: str
    code: str
    extra: int | None


def lazily(kind: str, query: Tensor, key: Tensor, parameter: Tensor) -> Tensor | list[Tensor]:
    """The product, or everything, by qkv."""
    if kind == "statistics":
        some = [qkv.Mass(), qkv.Entropy(), qkv.Distance(), qkv.Support(), qkv.LogSumExp()]
        found = qkv.attention(query, key).measure(
            qkv.Product(key), *some, qkv.Top(8), qkv.Pool(256, 256)
        )
        return [*found[:6], *found.top, found.pool]
    if kind == "additive":
        return qkv.attend(query, key, key, score=qkv.Additive(parameter))
    if kind == "callable":
        return qkv.attend(
            query,
            key,
            key,
            score=lambda q, k, cells: (q * parameter) @ k.mT - 1e-3 * (cells.row - cells.col).abs(),
        )
    normalizer = qkv.Sparsemax() if kind == "sparsemax" else None
    return qkv.attend(query, key, key, normalizer=normalizer)


def densely(kind: str, query: Tensor, key: Tensor, parameter: Tensor) -> Tensor | list[Tensor]:
    """The same by the formula, with the whole matrix."""
    if kind == "statistics":
        return dense_statistics(query @ key.mT * query.shape[-1] ** -0.5, key)
    if kind == "additive":
        scores = torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3)) @ parameter
    elif kind == "callable":
        row, col = torch.arange(query.shape[-2])[:, None], torch.arange(key.shape[-2])
        scores = (query * parameter) @ key.mT - 1e-3 * (row - col).abs()
    else:
        scores = query @ key.mT * query.shape[-1] ** -0.5
    if kind == "sparsemax":
        return qkv.Sparsemax().normalize(scores, None) @ key
    return torch.softmax(scores, -1) @ key


def dense_statistics(scores: Tensor, value: Tensor) -> list[Tensor]:
    """Everything from a matrix that is there."""
    weights = torch.softmax(scores, -1)
    row, col = torch.arange(scores.shape[-2])[:, None], torch.arange(scores.shape[-1])
    strongest = weights.topk(8)
    return [
        weights @ value,
        weights.sum(-2),
        torch.special.entr(weights).sum(-1),
        (weights * (row - col).abs()).sum(-1),
        (weights > 0).sum(-1),
        scores.logsumexp(-1),
        strongest.values,
        strongest.indices,
        torch.nn.functional.adaptive_max_pool2d(weights, (256, 256)),
    ]


def measure(case: Case, queries: int, keys: int, mode: str, code: str) -> int:
    """The figure in bytes; runs in the child process."""
    function = lazily if code == "qkv" else densely

    def run(query: Tensor, key: Tensor, parameter: Tensor) -> list[Tensor]:
        output = function(case.kind, query, key, parameter)
        if isinstance(output, list) or mode == "forward":
            return output if isinstance(output, list) else [output]
        inputs = [tensor for tensor in (query, key, parameter) if tensor.requires_grad]
        found = torch.autograd.grad(output.sum(), inputs, allow_unused=True)
        return [output, *(gradient for gradient in found if gradient is not None)]

    def inputs(queries: int, keys: int) -> tuple[Tensor, Tensor, Tensor]:
        needs = mode == "backward"
        query = torch.randn(1, case.heads, queries, case.width, requires_grad=needs)
        key = torch.randn(1, case.heads, keys, case.width, requires_grad=needs)
        return query, key, torch.full((case.width,), 0.1, requires_grad=needs)

    run(*inputs(256, 256))  # loads what first calls load
    tensors = inputs(queries, keys)
    before = peak()
    results = run(*tensors)
    size = sum(tensor.numel() * tensor.itemsize for tensor in results)
    return max(0, peak() - before - size)


def figure(index: int, length: int, mode: str, code: str) -> Figure:
    """One measurement in a fresh process."""
    case = CASES[index]
    queries = min(length, case.queries or length)
    cells = case.heads * queries * length * case.numbers_per_cell()
    if code == "dense" and 4 * cells * (3 if mode == "forward" else 4) > DENSE_LIMIT:
        return Figure(case.name, queries, length, mode, code, None)
    command = [sys.executable, __file__, "--child", str(index), str(queries), str(length)]
    done = subprocess.run([*command, mode, code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{case.name}, {length}, {mode}, {code}: {done.stderr}")
    return Figure(case.name, queries, length, mode, code, int(done.stdout))


def known() -> list[Figure]:
    """The figures of the last time."""
    if not FIGURES.exists():
        return []
    return [Figure(**entry) for entry in json.loads(FIGURES.read_text())["figures"]]


def text(figures: list[Figure], lengths: list[int]) -> str:
    """The figures as Markdown tables, one for each case."""
    found = {(f.case, f.keys, f.mode, f.code): f for f in figures}
    lines = []
    for case in CASES:
        lines += ["", f"### {case.name}", ""]
        titles = {"forward": "forward | dense", "backward": "with backward | dense"}
        lines.append(f"| queries × keys | {' | '.join(titles[mode] for mode in case.modes)} |")
        lines.append("|---:" * (1 + 2 * len(case.modes)) + "|")
        for length in lengths:
            row = [
                found[case.name, length, mode, code]
                for mode in case.modes
                for code in ("qkv", "dense")
            ]
            cells = [mebibytes(f.extra) for f in row]
            lines.append(f"| {row[0].queries:,} × {length:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mebibytes(size: int | None) -> str:
    """A size as the tables show it."""
    return "–" if size is None else f"{size / MEBIBYTE:,.0f}"


def document(figures: list[Figure], lengths: list[int]) -> str:
    """`docs/memory.md`."""
    setting = machine()
    return f"""# Memory

Peak memory in MiB beyond inputs, output and gradients, float32, batch 1, with the default working
budget of 64 MiB (`memory=`). Every figure is the peak of a fresh process. "dense" is the formula in
plain torch with the whole matrix, where it takes less than about 6 GB.

Made by `python benchmarks/memory.py` on {setting["processor"]}, {setting["threads"]} threads, torch
{setting["torch"]}, Python {setting["python"]}, commit {setting["commit"]}; the figures as they came
are in [memory.json](memory.json). Where there are fewer queries than keys, all of them would take
too long on such a machine; the dense formula got just as few. Gradients of keys are summed over
blocks of queries: with backward a few copies of the keys come on top of the budget.
{text(figures, lengths)}
"""


def main() -> None:
    """Measures and writes the table, or is the child that does one measurement."""
    if sys.argv[1:2] == ["--child"]:
        index, queries, keys, mode, code = sys.argv[2:]
        print(measure(CASES[int(index)], int(queries), int(keys), mode, code))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS))
    kinds = sorted({case.kind for case in CASES})
    parser.add_argument("--kinds", choices=kinds, nargs="+", default=kinds)
    options = parser.parse_args()
    lengths, chosen = options.lengths, [c.name for c in CASES if c.kind in options.kinds]
    figures = [figure for figure in known() if figure.case not in chosen]
    for index, case in enumerate(CASES):
        for length in lengths if case.name in chosen else ():
            for mode in case.modes:
                for code in ("qkv", "dense"):
                    figures.append(figure(index, length, mode, code))
                    shown = mebibytes(figures[-1].extra)
                    print(f"{case.name:50} {length:6} {mode:8} {code:5} {shown:>8} MiB", flush=True)
    record = {**machine(), "figures": [asdict(figure) for figure in figures]}
    save(FIGURES, json.dumps(record, indent=1) + "\n")
    save(TABLE, document(figures, lengths))


if __name__ == "__main__":
    main()
