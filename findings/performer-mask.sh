#!/usr/bin/env bash
# performer-pytorch 1.1.4: the mask of a Performer hides the values of padding and not its keys, which go on counting in
# the sum that weights are divided by. So what real words get depends on how much padding there is and on what stands
# in it. And with `causal=True` earlier words depend on later ones: keys are scaled by the largest score of the whole
# text before a small constant is added to each, which a large score far behind makes a large one.
# Seen, as shares of the largest state: a text padded to twice its length differs from itself alone by 0.33, and by
# another padding by 0.61 (nn.MultiheadAttention: 0 and 0); other words behind change those before by 0.21.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 performer-pytorch==1.1.4
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import torch
from performer_pytorch import SelfAttention

torch.manual_seed(0)
WIDTH, HEADS, REAL, ALL = 32, 2, 24, 48
text = torch.randn(1, REAL, WIDTH)
mask = (torch.arange(ALL) < REAL).unsqueeze(0)
behind = torch.zeros(1, ALL - REAL, WIDTH), 3 * torch.randn(1, ALL - REAL, WIDTH)
padded, otherwise = (torch.cat([text, x], 1) for x in behind)


def differing(one, other):
    return round(float((one - other).abs().max() / one.abs().max()), 5)


@torch.no_grad()
def of(attend):
    alone = attend(text, None)
    with_padding, with_other = (attend(x, mask)[:, :REAL] for x in (padded, otherwise))
    return differing(alone, with_padding), differing(with_padding, with_other)


performer = SelfAttention(dim=WIDTH, heads=HEADS, dim_head=16).eval()
exact = torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).eval()
of_performer = of(lambda x, m: performer(x, mask=m))
of_exact = of(lambda x, m: exact(x, x, x, key_padding_mask=None if m is None else ~m)[0])
causal = SelfAttention(dim=WIDTH, heads=HEADS, dim_head=16, causal=True).eval()
with torch.no_grad():
    ones = torch.ones(1, REAL, WIDTH)
    later = [causal(torch.cat([text, x * ones], 1))[:, :REAL] for x in (0.0, 4.0)]
print("performer-pytorch", version("performer-pytorch"), "padding, other padding:", of_performer, "exact:", of_exact,
      "causal:", differing(*later))
assert min(of_performer) > 0.05 and max(of_exact) < 1e-4
assert differing(*later) > 0.02
PYTHON
