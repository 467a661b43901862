#!/usr/bin/env bash
# keras-hub 0.32.0: `BeamSampler` with prompts of different lengths in one batch. It begins at the end of the shortest. In a
# longer prompt its candidates are then written over by the prompt's next tokens, while their scores are kept: all beams
# become copies of one, with scores of tokens that were never written. What a prompt gives depends on its neighbours.
# Seen: a prompt of six tokens alone: three beams that differ, the best −3.29; beside a prompt of one token: three equal
# beams, another best text, −7.84, though its text has the score −3.37.
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

TOKENS, LENGTH = 8, 10
table = np.random.default_rng(0).normal(size=(TOKENS, TOKENS)).astype("float32") * 1.5  # logits of the next by the last


def following(prompt, cache, index):
    return ops.take(table, ops.take(prompt, index - 1, axis=1), axis=0), None, cache


def search(*prompts):
    """Beams of the first prompt, and their scores."""
    tokens, given = np.zeros((len(prompts), LENGTH), "int32"), np.zeros((len(prompts), LENGTH), bool)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)], given[row, : len(prompt)] = prompt, True
    sampler = keras_hub.samplers.BeamSampler(num_beams=3, return_all_beams=True)
    texts, scores = sampler(following, tokens, index=min(map(len, prompts)), mask=given)
    return np.array(texts)[0].tolist(), np.array(scores)[0].round(2).tolist()


prompt = [1, 2, 3, 4, 5, 6]
alone, alone_scores = search(prompt)
beside, beside_scores = search(prompt, [7])
print("keras-hub", version("keras-hub"), "alone:", *zip(alone_scores, alone))
print("beside a shorter prompt:", *zip(beside_scores, beside))
assert len(set(map(tuple, alone))) == 3
assert len(set(map(tuple, beside))) == 1
assert beside[0] != alone[0] and beside_scores[0] < alone_scores[-1] - 1
PYTHON
