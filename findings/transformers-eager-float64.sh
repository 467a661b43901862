#!/usr/bin/env bash
# transformers 5.24.0: Llama in float64 with its `eager` attention gives NaN where a prompt of the batch is
# padded on the left, for real tokens as well. In float32, and by `sdpa` in both types, all is finite. (Its
# softmax is taken in float32, where the lowest number of float64, which hides keys, is minus infinity: the
# row of a query that sees nothing is NaN, and the layer above multiplies that by 0.)
# Seen: real tokens finite: float32 eager True, sdpa True; float64 eager False, sdpa True.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet transformers==5.24.0
"$folder/venv/bin/python" - <<'PYTHON'
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

print(transformers.__version__, torch.__version__)
config = LlamaConfig(
    vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
)
ids = torch.arange(6).expand(2, 6) + 3
mask = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]])
for dtype in (torch.float32, torch.float64):
    for way in ("eager", "sdpa"):
        torch.manual_seed(0)
        model = LlamaForCausalLM._from_config(config, attn_implementation=way).eval().to(dtype)
        with torch.no_grad():
            logits = model(ids, attention_mask=mask).logits
        finite = bool(logits[mask.bool()].isfinite().all())
        print(dtype, way, "real tokens finite:", finite)
        assert finite == ((dtype, way) != (torch.float64, "eager"))
PYTHON
