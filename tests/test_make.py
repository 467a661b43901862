"""`make` asks before it downloads CUDA's packages, and installs torch as it is told."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = [
    pytest.mark.skipif(not (ROOT / "Makefile").exists(), reason="not in the source distribution"),
    pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed"),
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no build brings CUDA"),
]
# In place of Python and of pip: it writes down what it is told and answers what would come.
PYTHON = """#!/bin/sh
[ "$2" = venv ] || exit 0
mkdir -p .venv/bin
cat > .venv/bin/pip <<'PIP'
#!/bin/sh
echo "$@" >> told
for argument; do
    [ "$before" = --report ] && cp report.json "$argument"
    before=$argument
done
exit 0
PIP
chmod +x .venv/bin/pip
"""
CUDA = '{"requires_dist": ["filelock", "nvidia-cublas==13.1; platform_system == \\"Linux\\""]}'
CPU = '{"requires_dist": ["filelock"]}'


@pytest.fixture
def make(tmp_path):
    """Run make in a folder of its own: exit status, output, and what pip was told to install."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "CMakeLists.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)

    def call(report, *arguments, target=".venv/installed.stamp"):
        (tmp_path / "report.json").write_text(report)
        command = ["make", f"PYTHON={python}", target, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
        told = (tmp_path / "told").read_text().splitlines()
        return done.returncode, done.stdout, [line for line in told if "--dry-run" not in line][1:]

    return call


def test_it_stops_before_it_downloads_cuda_and_says_what_to_choose(make):
    status, output, told = make(CUDA)
    assert status != 0
    assert told == []
    chosen = 'TORCH="torch --index-url https://download.pytorch.org/whl/cpu"'
    assert f"  make .venv/installed.stamp {chosen}" in output
    assert '  make .venv/installed.stamp TORCH="torch" ' in output


def test_a_cpu_build_is_installed_as_it_is_pinned(make):
    status, _, told = make(CPU)
    assert status == 0
    assert told == ["install --quiet -c constraints.txt torch", "install --quiet -e .[tasks]"]


@pytest.mark.parametrize(
    "torch", ["torch", "wheels/torch.whl", "torch --index-url https://example.org/cpu"]
)
def test_torch_is_installed_as_it_is_asked_for(make, torch):
    status, _, told = make(CUDA, f"TORCH={torch}")
    assert status == 0
    assert told == [f"install --quiet {torch}", "install --quiet -e .[tasks]"]


def test_what_is_built_to_be_tested_takes_warnings_as_errors(make):
    _, _, told = make(CPU, target="lint")
    assert told[1] == "install --quiet -C cmake.define.QKV_STRICT=ON -e .[tasks]"
