"""Counts how the package hangs together, from the imports that its files write.

Imports inside functions and those for types count like all others. A room is a sub-package or a
module at the top of the package; `qkv` itself, which hands out names of all rooms, is none. The
order of rooms is that of the layers in `pyproject.toml`. A circle counts as one floor. The files of
a call are those of the package that Python enters while `A @ value` runs, once all is loaded; they
are counted where this checkout is the one that is installed, with its kernels.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
Graph = dict[str, set[str]]


def main() -> None:
    """Prints the counts, and what stands behind upward arrows and circles."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--root", type=Path, default=ROOT, help="a checkout; this one by default")
    options = parser.parse_args()
    counts, rooms = structure(options.root), rooms_of(imports(options.root))
    if options.json:
        print(json.dumps(counts, indent=2))
        return
    for name, count in counts.items():
        print(f"{name:28} {'not measured' if count is None else count:>5}")
    for arrow in upward(rooms, layers(options.root)):
        print("upward:", *arrow)
    for circle in circles(rooms):
        print("circle:", *sorted(circle))


def structure(root: Path = ROOT) -> dict[str, int | None]:
    """The counts of a checkout."""
    modules, order = imports(root), layers(root)
    rooms = rooms_of(modules)
    return {
        "modules at the top": len(list((root / "src" / "qkv").glob("*.py"))),
        "rooms": len(rooms),
        "rooms without a layer": len(rooms.keys() - order.keys()),
        "floors": floors(rooms),
        "arrows between rooms": sum(map(len, rooms.values())),
        "upward arrows": len(upward(rooms, order)),
        "rooms in circles": sum(map(len, circles(rooms))),
        "modules in circles": sum(map(len, circles(modules))),
        "files of a plain call": entered(root),
        "files of a call with a bias": entered(root, bias=True),
    }


def imports(root: Path = ROOT) -> Graph:
    """Each module of the package, and the others that it imports; the package itself left out."""
    source, files = root / "src", {}
    for path in sorted((source / "qkv").rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        files[".".join(parts[:-1] if path.name == "__init__.py" else parts)] = path
    del files["qkv"]
    return {name: {*_imported(name, path, files)} - {name} for name, path in files.items()}


def _imported(name: str, path: Path, files: dict[str, Path]) -> Iterator[str]:
    package = name.split(".")[: None if path.name == "__init__.py" else -1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            named = (f"{base}.{alias.name}" for alias in node.names)
            yield from ({name if name in files else base for name in named} & files.keys())


def rooms_of(modules: Graph) -> Graph:
    """The rooms, and the others that each imports from."""
    rooms: Graph = {}
    for name, imported in modules.items():
        room, *others = (".".join(module.split(".")[:2]) for module in (name, *imported))
        rooms.setdefault(room, set()).update({*others} - {room})
    return rooms


def upward(rooms: Graph, order: dict[str, int]) -> list[tuple[str, str]]:
    """The arrows from a lower layer to a higher one."""
    arrows = [(room, other) for room in rooms.keys() & order for other in rooms[room]]
    return sorted((room, other) for room, other in arrows if order[room] < order.get(other, 0))


def layers(root: Path = ROOT) -> dict[str, int]:
    """The height of each room that the layers in `pyproject.toml` name."""
    linter = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]
    (order,) = (each["layers"] for each in linter["contracts"] if each["type"] == "layers")
    rows = enumerate(row.replace("|", " ").replace(":", " ").split() for row in reversed(order))
    return {name: height for height, row in rows for name in row}


def reached(graph: Graph) -> Graph:
    """Whatever each node leads to."""
    found: Graph = {node: set() for node in graph}
    for node, seen in found.items():
        left = [*graph[node]]
        while left:
            if (other := left.pop()) not in seen:
                seen.add(other)
                left += graph[other]
    return found


def circles(graph: Graph) -> list[set[str]]:
    """The sets of nodes of which each leads to all others."""
    reach = reached(graph)
    groups = {frozenset(o for o in reach[n] if n in reach[o]) for n in graph if n in reach[n]}
    return sorted(map(set, groups), key=len, reverse=True)


def floors(graph: Graph) -> int:
    """How many nodes the longest chain of imports has."""
    reach, heights = reached(graph), {}
    for node in sorted(graph, key=lambda node: len(reach[node] | {node})):  # from below
        below = [heights[other] for other in reach[node] if node not in reach[other]]
        heights[node] = max(below, default=0) + 1
    return max(heights.values())


def entered(root: Path, bias: bool = False) -> int | None:
    """How many files of the package a call of `A @ value` enters."""
    import torch

    import qkv

    package = root / "src" / "qkv"
    if Path(qkv.__file__).parent != package or qkv.implementations()["native"] is not None:
        return None
    query, files = torch.ones(1, 2, 4, 8), set()
    matrix = qkv.attention(query, query, bias=torch.ones(4, 4) if bias else None)
    _ = matrix @ query
    sys.setprofile(lambda frame, *_: files.add(frame.f_code.co_filename))
    _ = matrix @ query
    sys.setprofile(None)
    return sum(Path(file).is_relative_to(package) for file in files)


if __name__ == "__main__":
    main()
