#!/usr/bin/env bash
# torch 2.13.0: under `torch.autocast("cpu", torch.bfloat16)` nn.LSTM refuses float32 input with an error of its
# library, "could not create a primitive descriptor", although autocast is there to cast it; input that is
# bfloat16 already is served. nn.GRU takes the same input and computes in float32.
# Seen: LSTM float32 RuntimeError, LSTM bfloat16 torch.bfloat16, GRU float32 torch.float32.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/python" - <<'PYTHON'
import torch

text, seen = torch.randn(2, 5, 16), {}
with torch.autocast("cpu", torch.bfloat16):
    for name, layer, given in (
        ("LSTM float32", torch.nn.LSTM(16, 16, batch_first=True), text),
        ("LSTM bfloat16", torch.nn.LSTM(16, 16, batch_first=True), text.bfloat16()),
        ("GRU float32", torch.nn.GRU(16, 16, batch_first=True), text),
    ):
        try:
            seen[name] = layer(given)[0].dtype
        except RuntimeError as error:
            seen[name] = str(error)
print(torch.__version__, seen)
assert "primitive descriptor" in str(seen["LSTM float32"])
assert seen["LSTM bfloat16"] == torch.bfloat16
assert seen["GRU float32"] == torch.float32
PYTHON
