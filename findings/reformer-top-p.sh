#!/usr/bin/env bash
# reformer-pytorch 1.4.4, routing-transformer 1.6.1, sinkhorn-transformer 0.11.4, linear-attention-transformer 0.19.1:
# `top_p(logits, thres=0.9)`, the filter that their `generate` may be given, with 0.9 by default, keeps the tokens that make
# up 0.1 of the probability and not 0.9: mostly the best alone, so that sampling is greedy. It takes 1 − p for p.
# Seen: of probabilities 0.4, 0.3, 0.2, 0.06, 0.04 one token is left by 0.9, and four by 0.1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.4 einops==0.8.1 local-attention==1.11.2 product-key-memory==0.3.0 \
    CoLT5-attention==0.11.2 axial-positional-embedding==0.3.12 packaging==25.0
"$folder/venv/bin/pip" install --quiet --no-deps mixture-of-experts==0.2.3 linformer==0.2.3 reformer-pytorch==1.4.4 \
    routing-transformer==1.6.1 sinkhorn-transformer==0.11.4 linear-attention-transformer==0.19.1
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib import import_module
from importlib.metadata import version

import torch

probabilities = torch.tensor([[0.4, 0.3, 0.2, 0.06, 0.04]])
for package, module in {
    "reformer-pytorch": "reformer_pytorch.generative_tools",
    "routing-transformer": "routing_transformer.autoregressive_wrapper",
    "sinkhorn-transformer": "sinkhorn_transformer.autoregressive_wrapper",
    "linear-attention-transformer": "linear_attention_transformer.autoregressive_wrapper",
}.items():
    top_p = import_module(module).top_p
    left = {thres: int(top_p(probabilities.log(), thres=thres).isfinite().sum()) for thres in (0.9, 0.1)}
    print(package, version(package), "tokens left:", left)
    assert left == {0.9: 1, 0.1: 4}
PYTHON
