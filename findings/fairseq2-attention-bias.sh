#!/usr/bin/env bash
# fairseq2 0.8.1: two biases that are to hide keys and do not. `ChunkedAttentionBias`, Llama 4's, is 1 where a key may be
# seen and 0 where not, and is added to the scores: it hides nothing, neither other chunks nor what comes later.
# `CausalAttentionBias(attn_window_len=...)` leaves its window out where there are no more queries than the window is long, so
# that queries behind a cache see all keys before them; with more queries the window holds.
# Seen: six places in chunks of 3: every place sees all six; a window of 3: ten queries see 3 keys each, the last three
# of them alone, beside the same ten keys, 8, 9 and 10.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.4
"$folder/venv/bin/pip" install --quiet --no-deps fairseq2==0.8.1
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import distribution, version
from importlib.util import module_from_spec

import torch


def bare(name):
    """The package without its __init__, which loads all else."""
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations.append(str(distribution("fairseq2").locate_file(name.replace(".", "/"))))
    sys.modules[name] = module_from_spec(spec)
    return sys.modules[name]


for name in ("fairseq2", "fairseq2.models", "fairseq2.models.transformer", "fairseq2.models.transformer.sdpa"):
    bare(name)
for name, content in {"data_type": "DataType", "device": "Device", "nn": "BatchLayout"}.items():
    setattr(bare(f"fairseq2.{name}"), content, object)  # they annotate alone
from fairseq2.models.transformer.attention_bias import CausalAttentionBias, ChunkedAttentionBias


def seen(bias, queries, keys):
    """How many keys have a weight, for each query."""
    scores = bias.create_bias_tensor(queries, keys, torch.device("cpu"), torch.float32)
    weights = torch.nn.functional.scaled_dot_product_attention(
        torch.zeros(queries, 4), torch.zeros(keys, 4), torch.eye(keys), attn_mask=scores
    )
    return (weights > 0).sum(-1).tolist()


chunks = seen(ChunkedAttentionBias(3), 6, 6)
window = CausalAttentionBias(attn_window_len=3)
whole, behind = seen(window, 10, 10), seen(window, 3, 10)
print("fairseq2", version("fairseq2"), "chunks of 3, keys seen:", chunks)
print("window of 3, ten queries:", whole, "the last three alone:", behind)
assert chunks == [6] * 6
assert whole == [1, 2] + [3] * 8
assert behind == [8, 9, 10]
PYTHON
