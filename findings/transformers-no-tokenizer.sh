#!/usr/bin/env bash
# transformers 5.24.0: of a folder that holds a model and no tokenizer, as `model.save_pretrained` leaves it,
# AutoTokenizer makes one all the same, without a vocabulary and without a word. By BERT's every word becomes
# [UNK], by GPT-2's a text becomes no token at all.
# Seen: BERT [2, 1, 1, 1, 1, 3] for "A cat sits."; GPT-2 [].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet transformers==5.24.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import os
import sys

import transformers
from transformers import AutoTokenizer, BertConfig, BertModel, GPT2Config, GPT2Model

print(transformers.__version__)
small = {"vocab_size": 9}
models = {
    "bert": BertModel(BertConfig(**small, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)),
    "gpt2": GPT2Model(GPT2Config(**small, n_embd=8, n_layer=1, n_head=2)),
}
found = {}
for name, model in models.items():
    path = os.path.join(sys.argv[1], name)
    model.save_pretrained(path)
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    found[name] = tokenizer("A cat sits.").input_ids
    print(name, sorted(os.listdir(path)), type(tokenizer).__name__, found[name])
assert len(set(found["bert"][1:-1])) == 1 < len(found["bert"][1:-1])
assert found["gpt2"] == []
PYTHON
