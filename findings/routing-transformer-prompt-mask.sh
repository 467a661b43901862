#!/usr/bin/env bash
# routing-transformer 1.6.1: `generate` of its `AutoregressiveWrapper` puts the mask of each new token at the front of the
# prompt's mask, though the token stands at the end. From the second token on all of the mask is off by one, by two, …: of
# a prompt that is padded on the left the padding becomes visible, and the first real tokens hidden.
# Seen: the mask 0 0 1 1 1 of a prompt is 1 0 0 1 1 1 at the second step and 1 1 0 0 1 1 1 at the third.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.4 einops==0.8.1 local-attention==1.11.2 product-key-memory==0.3.0 \
    CoLT5-attention==0.11.2 packaging==25.0
"$folder/venv/bin/pip" install --quiet --no-deps mixture-of-experts==0.2.3 routing-transformer==1.6.1
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch
from routing_transformer import AutoregressiveWrapper, RoutingTransformerLM

torch.manual_seed(0)
sizes = dict(num_tokens=20, dim=16, depth=1, max_seq_len=32, heads=2, dim_head=8, window_size=16)
model = RoutingTransformerLM(causal=True, **sizes)
seen = []


def note(module, arguments, keywords):
    (tokens,) = arguments
    seen.append((tokens[0].tolist(), keywords["input_mask"][0].int().tolist()))


model.register_forward_pre_hook(note, with_kwargs=True)
prompt = torch.tensor([[0, 0, 5, 6, 7]])  # 0 is padding
AutoregressiveWrapper(model).generate(prompt, 3, input_mask=prompt != 0)

print("routing-transformer", version("routing-transformer"))
for tokens, mask in seen:
    print("prompt and tokens", tokens, "mask", mask)
assert [mask for _, mask in seen] == [[0, 0, 1, 1, 1], [1, 0, 0, 1, 1, 1], [1, 1, 0, 0, 1, 1, 1]]
PYTHON
