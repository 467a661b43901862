#!/usr/bin/env bash
# torch 2.13.0: `torch.utils.flop_counter.FlopCounterMode` counts no operation at all for
# scaled_dot_product_attention on a CPU, forward or backward, and none for nn.LSTM, while nn.GRU and the
# "math" backend of the same attention are counted. A model of attention and LSTM layers seems to cost
# its linear layers alone.
# Seen: attention 0, with gradients 0, math backend 524288, LSTM 0, GRU 30720.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention as attend
from torch.utils.flop_counter import FlopCounterMode


def counted(run):
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


query = torch.randn(1, 2, 64, 16, requires_grad=True)
text = torch.randn(1, 10, 16)
seen = {
    "attention": counted(lambda: attend(query, query, query)),
    "with gradients": counted(lambda: attend(query, query, query).sum().backward()),
    "LSTM": counted(lambda: torch.nn.LSTM(16, 16, batch_first=True)(text)),
    "GRU": counted(lambda: torch.nn.GRU(16, 16, batch_first=True)(text)),
}
with sdpa_kernel(SDPBackend.MATH):
    seen["math backend"] = counted(lambda: attend(query, query, query))
print(torch.__version__, seen)
assert seen["attention"] == seen["with gradients"] == seen["LSTM"] == 0
assert seen["math backend"] == 4 * 2 * 64 * 64 * 16
assert seen["GRU"] > 0
PYTHON
