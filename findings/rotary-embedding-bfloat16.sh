#!/usr/bin/env bash
# rotary-embedding-torch 0.9.1 with torch 2.13.0: `rotate_queries_or_keys` counts positions in the dtype of its
# input. In bfloat16 places beyond 256 share their angles (256 and 257 are one place, 1,024 to 1,027 too), in
# float16 those beyond 2,048. The angles are cached without a word of the dtype: a module that saw bfloat16 once rotates
# float32 by the same wrong angles. Offsets of `get_axial_freqs` are cached as if there were none, likewise.
# Seen: largest error of 2,048 rotated places: float32 6e-8, bfloat16 2.8, float32 after bfloat16 2.8;
# frequencies with offsets minus those without: 10 in a new module, 0 in one that was used.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet torch==2.13.0 rotary-embedding-torch==0.9.1
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import torch
from rotary_embedding_torch import RotaryEmbedding

vectors = torch.ones(1, 1, 2048, 8)
truth = RotaryEmbedding(8).rotate_queries_or_keys(vectors.double())


def error(rotary, dtype):
    return (rotary.rotate_queries_or_keys(vectors.to(dtype)) - truth).abs().max().item()


fresh, used = RotaryEmbedding(8), RotaryEmbedding(8)
errors = error(fresh, torch.float32), error(used, torch.bfloat16), error(used, torch.float32)
plain = fresh.get_axial_freqs(4, 4)
moved = [
    (rotary.get_axial_freqs(4, 4, offsets=(10, 0)) - plain).abs().max().item()
    for rotary in (RotaryEmbedding(8), fresh)
]
print(version("rotary-embedding-torch"), errors, moved)
assert errors[0] < 0.01 < 1 < min(errors[1:])
assert moved == [10, 0]
PYTHON
