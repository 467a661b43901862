"""A command in several processes leaves their group when it ends."""

import subprocess
import sys

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# What is registered first is called last.
PROGRAM = """
import atexit, os, sys, torch
atexit.register(lambda: torch.distributed.is_initialized() and os._exit(3))
from qkv.cli import main
main()
"""


def test_the_group_of_processes_is_left(tmp_path):
    lines = "".join(f"{label}\tThe {label} text {n}.\n" for n in range(20) for label in "ab")
    (tmp_path / "texts.tsv").write_text(lines)
    (tmp_path / "program.py").write_text(PROGRAM)
    out = ["--out", str(tmp_path / "out"), "--width", "8", "--steps", "1", "--cpu"]
    command = [sys.executable, *TORCHRUN, str(tmp_path / "program.py"), "train", "classify"]
    done = subprocess.run(
        [*command, str(tmp_path / "texts.tsv"), *out],
        check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
