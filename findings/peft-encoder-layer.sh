#!/usr/bin/env bash
# peft 0.21.2 with torch 2.13.0: LoRA on the layers of an `nn.TransformerEncoderLayer` trains, and does nothing
# once the model is in eval mode. The layer's fast path takes `linear1.weight` and never calls the adapter; as the
# base weights are frozen, it is taken with gradients on, too. An adapter of `out_proj` alone is not used in training
# either, until it is merged.
# `torch.backends.mha.set_fastpath_enabled(False)` or `merge_and_unload()` brings the adapters back.
# Seen: change of the output by the adapters of linear1 and linear2: train 1.16, eval 0, eval without the fast
# path 1.16, merged 1.16; by that of out_proj 0, 0, 0, merged 0.54.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet torch==2.13.0 peft==0.21.2
"$folder/venv/bin/python" - <<'PYTHON'
import peft
import torch
from torch import nn

x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(1))


def changes(*targets):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    before = layer(x).detach()
    config = peft.LoraConfig(target_modules=list(targets), r=4, init_lora_weights=False)
    model = peft.get_peft_model(layer, config)

    def change(module):
        return (module(x) - before).abs().max().item()

    train, evaluated = change(model.train()), change(model.eval())
    torch.backends.mha.set_fastpath_enabled(False)
    slow = change(model)
    torch.backends.mha.set_fastpath_enabled(True)
    return train, evaluated, slow, change(model.merge_and_unload())


feedforward, projection = changes("linear1", "linear2"), changes("out_proj")
print(peft.__version__, torch.__version__, feedforward, projection)
train, evaluated, slow, merged = feedforward
assert evaluated < 1e-5 < 0.1 < min(train, slow, merged)
train, evaluated, slow, merged = projection
assert max(train, evaluated, slow) < 1e-5 < 0.1 < merged
PYTHON
