"""What the source distribution and a wheel hold. `make wheels` builds and tests those that run."""

from __future__ import annotations

import tarfile
import tomllib
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from zipfile import ZipFile

import pytest

import qkv

ROOT = Path(__file__).parents[1]
build = pytest.importorskip("scikit_build_core.build", reason="scikit-build-core is not installed")
pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")

PACKAGE = ("__init__.py", "py.typed", "native/_kernels.pyi", "viewer/page/*.js", "cli/app.py")
WEIGHTS = ("en-zh", "en-zh-recurrent", "reviews", "images")
SOURCE = (
    *("CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE", "CITATION.cff", "PKG-INFO"),
    *("licenses/nanobind.txt", "licenses/robin-map.txt", "licenses/weights.txt"),
    *(
        "src/qkv/native/cpp/*.h",
        "src/qkv/native/cpp/portable.cpp",
        "docs/*.md",
        "tests/conftest.py",
    ),
    *(f"src/qkv/{name}" for name in PACKAGE),
    *(f"src/qkv/weights/{name}/model.safetensors" for name in WEIGHTS),
)
WHEEL = (
    *(f"qkv/{name}" for name in PACKAGE),
    *(f"qkv/weights/{name}/*" for name in WEIGHTS),
    *("*.dist-info/METADATA", "*.dist-info/entry_points.txt", "*.dist-info/licenses/LICENSE"),
    "*.dist-info/licenses/licenses/nanobind.txt",
)
MOST = 40 * 2**20  # bytes of the source distribution; the weights are 26 MiB


@pytest.fixture
def in_checkout(monkeypatch) -> None:
    monkeypatch.chdir(ROOT)


def missing(names: Iterable[str], patterns: tuple[str, ...]) -> list[str]:
    names = list(names)
    return [one for one in patterns if not any(fnmatch(name, one) for name in names)]


def test_the_source_distribution(in_checkout, tmp_path) -> None:
    path = tmp_path / build.build_sdist(str(tmp_path))
    with tarfile.open(path) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
    names = {member.name.split("/", 1)[1]: member.size for member in members}
    assert not missing(names, SOURCE)
    built = ("*.so", "*__pycache__*", "build/*", "dist/*", ".*", "benchmarks/*")
    assert not [name for name in names if any(fnmatch(name, one) for one in built)]
    assert not [name for name, size in names.items() if name.startswith("tests/") and size > 2**20]
    assert path.stat().st_size < MOST


def test_a_wheel(in_checkout, tmp_path) -> None:
    """One without kernels, as where no compiler is."""
    how = {"wheel.cmake": "false", "wheel.py-api": "py3"}
    with ZipFile(tmp_path / build.build_wheel(str(tmp_path), how)) as archive:
        names = archive.namelist()
        (told,) = (name for name in names if name.endswith("METADATA"))
        metadata = archive.read(told).decode()
    assert not missing(names, WHEEL)
    assert not [name for name in names if "/cpp/" in name or name.startswith(("tests", "docs"))]
    assert "License-Expression: Apache-2.0 AND BSD-3-Clause AND MIT\n" in metadata
    assert "Requires-Dist: torch>=2.9\n" in metadata
    assert "Requires-Python: >=3.11\n" in metadata


def test_one_version_everywhere() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    assert project["version"] == qkv.__version__
    assert f"\nversion: {qkv.__version__}\n" in (ROOT / "CITATION.cff").read_text()
