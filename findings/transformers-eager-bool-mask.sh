#!/usr/bin/env bash
# transformers 5.24.0: a model takes a mask of four dimensions as it is given. `sdpa` reads a bool one as
# torch does, True: may look. `eager` adds it to the scores as 0 and 1: nothing is hidden, and a causal mask
# is lost without a word.
# Seen: a causal bool mask changes the logits of a small Llama by 0.04 (eager) and 0 (sdpa); tokens before a
# changed one change by eager and not by sdpa.
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
ids = torch.arange(6)[None] + 3
other = ids.clone()
other[0, -1] = 40
seen = torch.ones(1, 1, 6, 6).tril().bool()
for way in ("eager", "sdpa"):
    torch.manual_seed(0)
    model = LlamaForCausalLM._from_config(config, attn_implementation=way).eval()
    with torch.no_grad():
        given, changed = (model(i, attention_mask=seen).logits for i in (ids, other))
        apart = (given - model(ids).logits).abs().max().item()
    ahead = (given - changed)[:, :-1].abs().max().item()
    print(way, f"apart from the model's own mask by {apart:.4f}; looks ahead: {ahead > 1e-6}")
    assert (apart > 1e-3) == (ahead > 1e-6) == (way == "eager")
PYTHON
