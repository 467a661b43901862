#!/usr/bin/env bash
# transformers 5.24.0: in a plain forward pass the decoder of FSMT (wmt19-en-de and others) looks at later tokens. It
# makes a causal mask only where `use_cache=False` is said; without a word it takes a cache to be in use.
# Seen: another last token changes the first one's logits by 0.76, with `use_cache=False` by 0; in BART by 0 in both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import torch
import transformers as t

torch.manual_seed(0)
sizes = {"d_model": 64, "decoder_start_token_id": 2}
for side in ("encoder", "decoder"):
    sizes |= {f"{side}_layers": 2, f"{side}_attention_heads": 4, f"{side}_ffn_dim": 96}
models = {
    "FSMT": t.FSMTForConditionalGeneration(t.FSMTConfig(src_vocab_size=99, tgt_vocab_size=99, **sizes)),
    "BART": t.BartForConditionalGeneration(t.BartConfig(vocab_size=99, **sizes)),
}
source, written = torch.randint(5, 90, (1, 9)), torch.randint(5, 90, (1, 7))
other = written.clone()
other[0, -1] += 1
for name, model in models.items():
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.ndim > 1:
            parameter.data.normal_(0, parameter.shape[-1] ** -0.5)
    for how in ({}, {"use_cache": False}):
        with torch.no_grad():
            first, second = (
                model.eval()(source, decoder_input_ids=text, **how).logits[0, 0] for text in (written, other)
            )
        change = (first - second).abs().max().item()
        print(t.__version__, name, how, round(change, 3))
        assert (change > 0.1) == (name == "FSMT" and not how)
PYTHON
