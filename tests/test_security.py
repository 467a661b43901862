"""No code path of the package executes what it reads."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "qkv"
FILES = sorted(SOURCE.rglob("*.py"))
MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "code", "runpy"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
SAFE = {"torch.load": ("weights_only", True), "numpy.load": ("allow_pickle", False)}
STARTS_PROCESSES = {"lab/apart.py"}
"""A measurement in a process of its own: this Python, with arguments of its own."""


def faults(path: str, tree: ast.Module) -> Iterator[str]:
    """What in a file may execute what was read."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            roots = {
                name.partition(".")[0] for name in [getattr(node, "module", None) or "", *names]
            }
            if roots & MODULES:
                yield f"imports {roots & MODULES}"
            if "subprocess" in roots and path not in STARTS_PROCESSES:
                yield "starts processes"
        elif isinstance(node, ast.Call):
            yield from faults_of_call(ast.unparse(node.func), node)


def faults_of_call(name: str, call: ast.Call) -> Iterator[str]:
    given = {word.arg: getattr(word.value, "value", None) for word in call.keywords}
    if name in BUILTINS or name in {"os.system", "os.popen"}:
        yield f"calls {name}"
    if name in SAFE and given.get(SAFE[name][0]) is not SAFE[name][1]:
        yield f"calls {name} without {SAFE[name][0]}={SAFE[name][1]}"
    if given.get("shell") or given.get("trust_remote_code"):
        yield f"calls {name} with a shell or remote code"
    if name.endswith((".extractall", ".extract")):
        yield f"calls {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_nothing_that_is_read_is_executed(path: Path) -> None:
    name = path.relative_to(SOURCE).as_posix()
    assert list(faults(name, ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from yaml import load", "eval(text)", "torch.load(path)",
        "torch.load(path, weights_only=False)", "numpy.load(path)", "import subprocess",
        "Model.from_pretrained(path, trust_remote_code=True)", "archive.extractall(folder)",
    ],
)  # fmt: skip
def test_each_fault_is_seen(line: str) -> None:
    assert list(faults("here.py", ast.parse(line)))
