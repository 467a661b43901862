#!/usr/bin/env bash
# torch 2.13.0 on CPUs: in float32, the weights of a softmax over millions of keys do not sum to 1 where it runs
# along another dimension than the last, and an average of ones by `scaled_dot_product_attention` is not 1, while
# torch.sum and torch.logsumexp of as many numbers keep six digits and softmax along the last dimension four.
# Over 4,096 keys all is well.
# Seen: softmax over 16,777,216 rows, dim 0: sums 1.03, last dimension 0.9999; attention over 4,194,304 keys whose
# values are all 1 returns 0.9976 to 1.0006.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torch.nn.functional import scaled_dot_product_attention as attend

torch.manual_seed(0)
torch.set_num_threads(1)
scores = torch.randn(2**24, 2)
first = torch.softmax(scores, 0).double().sum(0)
last = torch.softmax(scores.T.contiguous(), -1).double().sum(-1)
query, key = torch.randn(1, 1, 8, 8), torch.randn(1, 1, 2**22, 8)
with torch.no_grad():
    output = attend(query, key, torch.ones(1, 1, 2**22, 8))
few = attend(query, key[:, :, :4096], torch.ones(1, 1, 4096, 8))
print(torch.__version__, "dim 0", first.tolist(), "last", last.tolist(), "attention", output[0, 0, :, 0].tolist())
assert (first - 1).abs().max() > 1e-2
assert (last - 1).abs().max() < 1e-3
assert (output - 1).abs().max() > 5e-4
assert (few - 1).abs().max() < 1e-5
PYTHON
