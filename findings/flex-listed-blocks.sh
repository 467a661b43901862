#!/usr/bin/env bash
# torch 2.13.0: flex_attention that is not compiled pays no heed to the blocks that a BlockMask lists, but to its
# mask_mod alone. One that is made by hand, BlockMask.from_kv_blocks without a mask_mod, hides nothing;
# compiled, the same call sees the listed blocks only.
# Seen: two blocks of 128, each seen by its own queries: as if unmasked, and off by 0.50 from the masked values.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import BlockMask, flex_attention

warnings.simplefilter("ignore")  # it warns that it is not compiled
torch.manual_seed(0)
query, key, value = (torch.randn(1, 1, 256, 16) for _ in range(3))
number = torch.ones(1, 1, 2, dtype=torch.int32)
listed = torch.tensor([[0, 1], [1, 0]], dtype=torch.int32).view(1, 1, 2, 2)
blocks = BlockMask.from_kv_blocks(number, listed, BLOCK_SIZE=128)
assert blocks.to_dense()[0, 0].tolist() == [[1, 0], [0, 1]]
shown = torch.block_diag(*torch.ones(2, 128, 128)).bool()
found = flex_attention(query, key, value, block_mask=blocks)
unmasked = F.scaled_dot_product_attention(query, key, value)
masked = F.scaled_dot_product_attention(query, key, value, attn_mask=shown)
off = [(found - other).abs().max().item() for other in (unmasked, masked)]
print(torch.__version__, off)
assert off[0] < 1e-5
assert off[1] > 0.1
PYTHON
