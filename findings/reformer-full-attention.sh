#!/usr/bin/env bash
# reformer-pytorch 1.4.4: `ReformerLM` tells places by rotary embeddings, unless another kind is asked for, and its full
# attention drops them. With `use_full_attn=True`, or a text not longer than `full_attn_thres`, which is meant to be the
# exact case of the same model, a token does not know where it stands, and a text is a bag of tokens.
# Seen: what a token gives changes with the order of the tokens by less than 1e-6 by full attention, by more than 0.01 by LSH.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.4 einops==0.8.1 local-attention==1.11.2 product-key-memory==0.3.0 \
    CoLT5-attention==0.11.2 axial-positional-embedding==0.3.12 packaging==25.0
"$folder/venv/bin/pip" install --quiet --no-deps reformer-pytorch==1.4.4
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch
from reformer_pytorch import ReformerLM

TOKENS, LENGTH = 20, 16
torch.manual_seed(0)
text, order = torch.randint(0, TOKENS, (1, LENGTH)), torch.randperm(LENGTH)


def moved(**options):
    """By how much what a token gives changes when the text is written in another order."""
    torch.manual_seed(1)
    sizes = dict(dim=16, depth=1, max_seq_len=64, heads=2, dim_head=8, bucket_size=8, ff_chunks=1)
    model = ReformerLM(num_tokens=TOKENS, **sizes, **options).eval()
    found = []
    for tokens in (text, text[:, order]):
        torch.manual_seed(2)  # the same hashes
        found.append(model(tokens))
    return float((found[0][:, order] - found[1]).abs().max())


seen = {name: moved(**options) for name, options in {
    "use_full_attn": dict(use_full_attn=True), "full_attn_thres": dict(full_attn_thres=64), "LSH": {},
}.items()}
print(version("reformer-pytorch"), {name: round(one, 8) for name, one in seen.items()})
assert seen["use_full_attn"] < 1e-6 and seen["full_attn_thres"] < 1e-6
assert seen["LSH"] > 0.01
PYTHON
