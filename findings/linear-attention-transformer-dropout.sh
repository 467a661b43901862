#!/usr/bin/env bash
# linear-attention-transformer 0.19.1 and reformer-pytorch 1.4.4: options of the language models that do nothing.
# `ff_dropout` and `ff_glu` of `LinearAttentionTransformerLM` do not reach its feed-forward networks (only those of axial and
# context layers, where there are any), and `post_attn_dropout` of `ReformerLM` is replaced by 0 on its way.
# Seen: with probabilities of 0.9 all dropouts of both models have 0.0, and a training step is the same twice; the first
# product of the feed-forward network has 64 rows with `ff_glu` and without, where a gate needs 128.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.4 einops==0.8.1 local-attention==1.11.2 product-key-memory==0.3.0 \
    CoLT5-attention==0.11.2 axial-positional-embedding==0.3.12 packaging==25.0
"$folder/venv/bin/pip" install --quiet --no-deps linformer==0.2.3 linear-attention-transformer==0.19.1 \
    reformer-pytorch==1.4.4
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch
from linear_attention_transformer import LinearAttentionTransformerLM
from reformer_pytorch import ReformerLM

torch.manual_seed(0)
sizes = dict(num_tokens=20, dim=16, depth=2, max_seq_len=64, heads=2)
linear = LinearAttentionTransformerLM(**sizes, ff_dropout=0.9, ff_glu=True)
reformer = ReformerLM(**sizes, post_attn_dropout=0.9)
dropouts = [part.p for model in (linear, reformer) for part in model.modules() if isinstance(part, torch.nn.Dropout)]
rows = {part.shape[0] for name, part in linear.named_parameters() if name.endswith("w1.weight")}

text = torch.randint(0, 20, (1, 64))
linear.train()
apart = float((linear(text) - linear(text)).abs().max())
print(version("linear-attention-transformer"), version("reformer-pytorch"), "dropouts:", sorted(set(dropouts)))
print("a training step twice, apart:", apart, "rows with a gate:", rows)
assert set(dropouts) == {0.0}
assert apart == 0
assert rows == {64}
PYTHON
