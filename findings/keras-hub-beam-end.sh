#!/usr/bin/env bash
# keras-hub 0.32.0: `BeamSampler` goes on writing behind the end token of a beam until all beams have one, and counts what it
# writes there. A text that has ended loses with each step to a longer one that never ends,
# though that is less probable.
# Seen: a text that ends at once has the probability 0.6, one that goes on for all of five tokens 0.34: the second is
# returned, and the first has fallen to exp(−4.31) = 0.013.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.10.2 jaxlib==0.10.2 keras==3.15.1 numpy==2.4.6 regex==2026.11.19 \
    kagglehub==1.0.3 kagglesdk==0.1.38 sentencepiece==0.2.3 tokenizers==0.23.3 absl-py==2.5.1
"$folder/venv/bin/pip" install --quiet --no-deps keras-hub==0.32.0
KERAS_BACKEND=jax "$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import keras_hub
import numpy as np
from keras import ops

START, END, WORD, LENGTH = 0, 3, 2, 6
table = np.array([  # probabilities of the next token by the last
    [0.01, 0.01, 0.38, 0.60],
    [0.25, 0.25, 0.25, 0.25],
    [0.01, 0.01, 0.97, 0.01],
    [0.25, 0.25, 0.25, 0.25],
], "float32")


def following(prompt, cache, index):
    return ops.log(ops.take(table, ops.take(prompt, index - 1, axis=1), axis=0)), None, cache


tokens = np.zeros((1, LENGTH), "int32")
sampler = keras_hub.samplers.BeamSampler(num_beams=2, return_all_beams=True)
texts, scores = sampler(following, tokens, index=1, mask=np.arange(LENGTH)[None] == 0, stop_token_ids=[END])
texts, scores = np.array(texts)[0].tolist(), np.array(scores)[0].tolist()
ended, going = table[START, END], table[START, WORD] * table[WORD, WORD] ** (LENGTH - 2)

print("keras-hub", version("keras-hub"), "probability of the text that ends at once:", round(float(ended), 3))
print("of the one that goes on:", round(float(going), 3), "beams, best first:")
for text, score in zip(texts, scores):
    print(text, "exp", round(score, 2), "=", round(float(np.exp(score)), 3))
assert ended > going
assert texts[0] == [START] + [WORD] * (LENGTH - 1) and texts[1][1] == END
assert np.exp(scores[1]) < 0.02
PYTHON
