#!/usr/bin/env bash
# torch 2.13.0: torch.export of a module with torch.utils.checkpoint fails with strict=True, at the end, while it runs
# its own program. With strict=False the checkpoint is left out, and the program is right.
# Seen: "2.13.0 strict=False: right; strict=True: RuntimeError: _checkpoint_context_fn".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torch.utils.checkpoint import checkpoint


class Checkpointed(torch.nn.Module):
    def forward(self, x):
        return checkpoint(torch.sin, x, use_reentrant=False)


x = torch.arange(4.0)
program = torch.export.export(Checkpointed(), (x,), strict=False)
assert torch.equal(program.module()(x + 1), torch.sin(x + 1))
try:
    torch.export.export(Checkpointed(), (x,), strict=True)
    raise SystemExit("strict=True makes a program")
except RuntimeError as error:
    reason = str(error).splitlines()[0]
    assert reason == "_checkpoint_context_fn", reason
print(f"{torch.__version__} strict=False: right; strict=True: RuntimeError: {reason}")
PYTHON
