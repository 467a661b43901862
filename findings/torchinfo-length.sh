#!/usr/bin/env bash
# torchinfo 1.8.0 counts the multiply-adds of a linear layer once for a whole text: the same number for 1 word and for
# 64, though 64 texts of one word count 64 times. The same map as a convolution of width 1 is counted for each word,
# and so is an LSTM. Of `nn.MultiheadAttention`, projections and all, both torchinfo and thop 0.1.1 count nothing. So
# beside recurrent and convolutional layers a Transformer seems to cost next to nothing, at any length.
# Seen: linear 66048 and 66048 for 1 and 64 words, convolution 66048 and 4227072, LSTM 132096 and 8454144, attention 0
# and 0; a Transformer layer of 13.6 million multiply-adds over 64 words: 132224 by torchinfo, 8454144 by thop.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 torchinfo==1.8.0 thop==0.1.1.post2209072238 \
  numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import thop
import torch
import torchinfo
from torch import nn


def counted(layer, *given):
    return torchinfo.summary(layer, input_data=given, verbose=0).total_mult_adds


WIDTH, WORDS = 128, (1, 64)
seen = {"linear": [], "linear, words as a batch": [], "convolution": [], "LSTM": [], "attention": []}
for words in WORDS:
    text = torch.randn(1, words, WIDTH)
    seen["linear"].append(counted(nn.Linear(WIDTH, 512), text))
    seen["linear, words as a batch"].append(counted(nn.Linear(WIDTH, 512), text[0]))
    seen["convolution"].append(counted(nn.Conv1d(WIDTH, 512, 1), text.mT))
    seen["LSTM"].append(counted(nn.LSTM(WIDTH, WIDTH, batch_first=True), text))
    attention = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
    seen["attention"].append(counted(attention, text, text, text))
layer = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, batch_first=True).eval()
right = (4 + 8) * WORDS[1] * WIDTH**2 + 2 * WORDS[1] ** 2 * WIDTH
of_layer = counted(layer, text), thop.profile(layer, (text,), verbose=False)[0]
of_attention = thop.profile(attention, (text, text, text), verbose=False)[0]
print("torchinfo", version("torchinfo"), seen, "layer", of_layer[0], "of", right)
print("thop", version("thop"), "attention", of_attention, "layer", of_layer[1], "of", right)
one, many = seen["linear, words as a batch"]
assert many == 64 * one == seen["convolution"][1]
assert seen["linear"] == [one, one]
assert seen["LSTM"][1] == 64 * seen["LSTM"][0]
assert seen["attention"] == [0, 0] and of_attention == 0
assert of_layer[0] < right / 100 and of_layer[1] < 0.7 * right
PYTHON
