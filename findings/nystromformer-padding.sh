#!/usr/bin/env bash
# transformers 5.24.0: Nystromformer fails on every padded batch where it has fewer landmarks than places, which is
# what it is for. The mask has a row for each place, and is added to the scores of landmarks.
# Seen: 16 landmarks for 64 places run without padding, and raise RuntimeError with it; 64 landmarks run.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import torch
import transformers as t

tokens = torch.randint(5, 90, (2, 64), generator=torch.Generator().manual_seed(0))
real = torch.ones_like(tokens)
real[1, 40:] = 0
for landmarks in (16, 64):
    config = t.NystromformerConfig(
        vocab_size=99, hidden_size=64, num_hidden_layers=1, num_attention_heads=4,
        intermediate_size=96, num_landmarks=landmarks, segment_means_seq_len=64,
    )
    model = t.NystromformerModel(config).eval()
    model(tokens, attention_mask=torch.ones_like(tokens))
    try:
        model(tokens, attention_mask=real)
        failed = ""
    except RuntimeError as error:
        failed = str(error)
    print(t.__version__, landmarks, failed or "runs")
    assert bool(failed) == (landmarks == 16)
PYTHON
