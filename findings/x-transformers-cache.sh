#!/usr/bin/env bash
# x-transformers 2.31.10 with torch 2.13.0: `AutoregressiveWrapper.generate` keeps keys and values by default
# (`cache_kv=True`). With `shift_tokens` or `attn_data_dependent_alibi` it then computes other logits than the model: a
# step gets the new token alone, so there is nothing to shift, and each distance is that of a token to itself.
# Options that cannot be cached (`attn_selective`) are known to it, these are not.
# Seen: step by step with the cache, logits differ from those of one pass by 3.0 and 0.08, without the options by 2e-6.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet torch==2.13.0 x-transformers==2.31.10
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import torch
from x_transformers import Decoder, TransformerWrapper

tokens = torch.randint(50, (2, 12), generator=torch.Generator().manual_seed(2))


def difference(**options):
    torch.manual_seed(0)
    layers = Decoder(dim=32, depth=2, heads=4, attn_dim_head=8, **options)
    model = TransformerWrapper(num_tokens=50, max_seq_len=64, attn_layers=layers).eval()
    for parameter in model.parameters():
        parameter.data += 0.15 * torch.randn_like(parameter)
    assert model.can_cache_kv
    with torch.no_grad():
        logits, cache = model(tokens[:, :5], return_intermediates=True)
        steps = [logits]
        for length in range(6, 13):
            logits, cache = model(tokens[:, :length], cache=cache, return_intermediates=True)
            steps.append(logits[:, -1:])
        return (torch.cat(steps, 1) - model(tokens)).abs().max().item()


shifted, dependent, plain = (
    difference(shift_tokens=1),
    difference(attn_data_dependent_alibi=True),
    difference(),
)
print(version("x-transformers"), shifted, dependent, plain)
assert plain < 1e-4
assert min(shifted, dependent) > 0.01
PYTHON
