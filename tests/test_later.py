"""Packages whose names are imported when they are first asked for."""

import subprocess
import sys
from importlib import import_module
from importlib.resources import files

import pytest

PACKAGES = [
    "qkv",
    "qkv.models",
    "qkv.pictures",
    "qkv.tasks.classification",
    "qkv.tasks.translation",
]


@pytest.mark.parametrize("package", PACKAGES)
def test_dir_lists_every_public_name_before_it_is_used(package):
    program = f"import {package} as it; print(*dir(it)); print(*it.__all__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    listed, public = map(str.split, done.stdout.splitlines())
    assert set(public) <= set(listed)
    assert "__name__" in listed
    assert listed == sorted(listed)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there_and_no_other(package):
    found = import_module(package)
    for name in found.__all__:
        assert getattr(found, name) is not None
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        _ = found.nothing


def test_type_checkers_are_told_that_it_is_typed():
    assert files("qkv").joinpath("py.typed").is_file()


def test_the_compiler_is_imported_by_who_compiles():
    program = """
import sys, torch
before = "torch._dynamo" in sys.modules
import qkv, qkv.nn, qkv.models
x = torch.randn(1, 2, 4, 8, requires_grad=True)
for normalizer in (qkv.Softmax(), qkv.Entmax15()):
    matrix = qkv.attention(x, x, mask=qkv.Causal(), normalizer=normalizer)
    (matrix @ x).sum().backward()
    matrix.entropy()
for name in ("reviews", "images", "en-zh-recurrent", "en-zh"):
    model = qkv.load(name)
model.translate(["Hello."])
print(before, "torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    before, after = done.stdout.split()
    assert after == before
