#!/usr/bin/env bash
# transformers 5.24.0 with torch 2.13.0: texts packed into one row, with `position_ids` that start at 0 for each, are
# kept apart by `eager` and `sdpa` only where no cache is made. `use_cache` is on by default, in training mode too, and
# then each text looks at those before it, without a word; gradient checkpointing, which makes no cache, keeps them
# apart again. With a mask of ones they are not kept apart at all.
# Seen for a small Llama: logits of the second text differ from those of that text alone by 1.27, with
# `use_cache=False` or gradient checkpointing by 2e-7; with a mask of ones and `use_cache=False` by 1.27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0
"$folder/venv/bin/python" - <<'PYTHON'
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

transformers.logging.set_verbosity_error()
print(transformers.__version__, torch.__version__)
config = LlamaConfig(
    vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
)
first, second = torch.randint(3, 50, (2, 1, 5), generator=torch.Generator().manual_seed(1))
packed = {
    "input_ids": torch.cat([first, second], 1),
    "position_ids": torch.arange(5).repeat(1, 2),
}
ones = torch.ones(1, 10, dtype=torch.int64)
for way in ("eager", "sdpa"):
    torch.manual_seed(0)
    model = LlamaForCausalLM._from_config(config, attn_implementation=way)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    alone = model(second).logits

    def difference(**options):
        return (model(**packed, **options).logits[:, 5:] - alone).abs().max().item()

    assert model.training
    training, uncached = difference(), difference(use_cache=False)
    masked = difference(use_cache=False, attention_mask=ones)
    model.eval()
    evaluated = difference()
    model.train().activation_checkpointing_enable()
    recomputed = difference()
    print(way, training, evaluated, masked, uncached, recomputed)
    assert max(uncached, recomputed) < 1e-5
    assert min(training, evaluated, masked) > 0.1
PYTHON
