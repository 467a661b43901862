#!/usr/bin/env bash
# torch 2.13.0: the first `normal_` on the meta device, which has no numbers to draw, imports torch's
# compiler: `torch._dynamo` and some 800 modules, for seconds. `uniform_`, `fill_` and `zero_` import
# nothing. A model whose layers are initialised by normal_ starts so late where it is built on "meta" to
# be quick, and not where it is built on the CPU.
# Seen: uniform_ 0 modules, normal_ 804 modules, torch._dynamo among them; normal_ on the CPU 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch


def imported(device, draw):
    before = len(sys.modules)
    getattr(torch.empty(3, device=device), draw)()
    return len(sys.modules) - before


seen = {
    "normal_ on the CPU": imported("cpu", "normal_"),
    "uniform_": imported("meta", "uniform_"),
    "zero_": imported("meta", "zero_"),
}
compiler = "torch._dynamo" in sys.modules
seen["normal_"] = imported("meta", "normal_")
print(torch.__version__, seen, compiler, "torch._dynamo" in sys.modules)
assert not any(seen[draw] for draw in seen if draw != "normal_") and not compiler
assert seen["normal_"] > 100 and "torch._dynamo" in sys.modules
PYTHON
