#!/usr/bin/env bash
# transformers 5.24.0: `generate(cache_implementation="static")` writes other tokens than without, and says
# nothing. LED and FSMT give their decoder no mask for one token at a time, so it looks at places of the cache that
# are not filled; GPT-Neo counts its window from the end of the cache.
# Seen: LED, FSMT and GPT-Neo write other tokens, BLOOM, T5 and BART the same.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import torch
import transformers as t

words = {"vocab_size": 99, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
pair = {"d_model": 64, "decoder_start_token_id": 2, "pad_token_id": 0}
for side in ("encoder", "decoder"):
    pair |= {f"{side}_layers": 2, f"{side}_attention_heads": 4, f"{side}_ffn_dim": 96}
models = {
    "LED": t.LEDForConditionalGeneration(t.LEDConfig(**words | pair, attention_window=8)),
    "FSMT": t.FSMTForConditionalGeneration(
        t.FSMTConfig(src_vocab_size=99, tgt_vocab_size=99, eos_token_id=2, **pair)
    ),
    "GPT-Neo": t.GPTNeoForCausalLM(
        t.GPTNeoConfig(
            **words, hidden_size=64, num_layers=2, num_heads=4, window_size=8,
            attention_types=[[["global", "local"], 1]],
        )
    ),
    "BLOOM": t.BloomForCausalLM(t.BloomConfig(**words, hidden_size=64, n_layer=2, n_head=4)),
    "T5": t.T5ForConditionalGeneration(
        t.T5Config(**words, d_model=64, d_kv=16, num_layers=2, num_heads=4, decoder_start_token_id=0)
    ),
    "BART": t.BartForConditionalGeneration(t.BartConfig(**words | pair)),
}
numbers = torch.Generator().manual_seed(0)
text = torch.randint(5, 94, (8, 16), generator=numbers)
differs = {}
for name, model in models.items():
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.ndim > 1:
            parameter.data.normal_(0, parameter.shape[-1] ** -0.5, generator=numbers)
    how = {"do_sample": False, "num_beams": 1, "max_new_tokens": 8, "min_new_tokens": 8}
    usual, static = (
        model.eval().generate(text, **how, **cache) for cache in ({}, {"cache_implementation": "static"})
    )
    differs[name] = not torch.equal(usual, static)
print(t.__version__, differs)
assert [name for name in models if differs[name]] == ["LED", "FSMT", "GPT-Neo"]
PYTHON
