#!/usr/bin/env bash
# compressive-transformer-pytorch 0.4.0: the projections to keys and values stop learning with the first memory that is
# compressed. To keep the loss of the compression from them, the layer detaches their weight in place, which for a parameter
# ends its training for good: it no longer asks for a gradient, and an optimizer leaves it as it is.
# Seen: of four texts in training the first gives the weight a gradient, the second, the first with a memory to compress, none,
# nor do the others; `requires_grad` is True, False, False, False. In evaluation, and without texts that follow, it stays True.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.4 mogrifier==0.0.5
"$folder/venv/bin/pip" install --quiet --no-deps compressive-transformer-pytorch==0.4.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch
from compressive_transformer_pytorch import CompressiveTransformer

TOKENS, LENGTH = 20, 8


def learning(training):
    """For four texts in a row: whether the weight of keys and values asks for a gradient, and gets one."""
    torch.manual_seed(0)
    sizes = dict(dim=16, depth=1, seq_len=LENGTH, mem_len=LENGTH, cmem_len=2, cmem_ratio=4, heads=2)
    model = CompressiveTransformer(num_tokens=TOKENS, **sizes).train(training)
    (weight,) = [one for name, one in model.named_parameters() if "to_kv" in name]
    memories, found = None, []
    for _ in range(4):
        model.zero_grad()
        logits, memories, loss = model(torch.randint(0, TOKENS, (1, LENGTH)), memories=memories)
        (logits.square().mean() + loss.sum()).backward()
        found.append((weight.requires_grad, weight.grad is not None))
    return found


training, evaluation = learning(True), learning(False)
print("compressive-transformer-pytorch", version("compressive-transformer-pytorch"))
print("keys' and values' weight asks for a gradient, and gets one, in training:", training)
print("in evaluation mode:", evaluation)
assert training == [(True, True)] + [(False, False)] * 3
assert evaluation == [(True, True)] * 4
PYTHON
