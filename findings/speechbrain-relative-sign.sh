#!/usr/bin/env bash
# speechbrain 1.1.2: the relative positions of its Conformer (`RelPosEncXL`, for `RelPosMHAXL`) do not tell before
# from after: the sines of distance -d are those of +d, where sine is odd. A layer without a causal mask gives to
# keys as far ahead what it gives to keys as far behind. In Transformer-XL, whose scheme it is, the sign counts.
# Seen: of 9 embeddings those of -d and +d are equal for each d; on a constant sequence of 9 tokens the weights of
# the one in the middle are the same backwards, to 0.0; with signed sines they differ by more than 0.01.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet hyperpyyaml==1.2.3 joblib==1.5.2 soundfile==0.13.1 numpy==2.3.4 scipy==1.16.3 \
    requests==2.32.5 huggingface_hub==1.1.2 sentencepiece==0.2.1 tqdm==4.67.1
"$folder/venv/bin/pip" install --quiet --no-deps speechbrain==1.1.2
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys
from unittest.mock import MagicMock

sys.modules["torchaudio"] = MagicMock()  # imported at the start; nothing here uses it
import speechbrain
import torch
from speechbrain.nnet.attention import RelPosEncXL, RelPosMHAXL

LENGTH, WIDTH = 9, 16
torch.manual_seed(0)
tokens = torch.randn(1, 1, WIDTH).expand(1, LENGTH, WIDTH)
theirs = RelPosEncXL(WIDTH)(tokens)
signed = theirs.clone()
signed[:, LENGTH:, 0::2] *= -1  # the sines of what is ahead
layer = RelPosMHAXL(WIDTH, 2).eval()
torch.nn.init.normal_(layer.pos_bias_u)
torch.nn.init.normal_(layer.pos_bias_v)
apart = {}
with torch.no_grad():
    for name, positions in {"theirs": theirs, "signed": signed}.items():
        weights = layer(tokens, tokens, tokens, positions, return_attn_weights=True)[1]
        row = weights[0, ..., LENGTH // 2, :]
        apart[name] = round(float((row - row.flip(-1)).abs().max()), 4)
same = bool((theirs == theirs.flip(1)).all())
print(speechbrain.__version__, "-d and +d have equal embeddings:", same)
print("weights of the middle token less the same backwards:", apart)
assert same
assert apart["theirs"] < 1e-6
assert apart["signed"] > 0.01
PYTHON
