#!/usr/bin/env bash
# sentence-transformers 5.7.0 with torch 2.13.0: `Pooling("weightedmean")` weighs a token by its column in the batch,
# padding counted. Behind left padding, which tokenizers of decoders are set to, the weights become flat, and a
# text's vector depends on the longest one in its batch, in spite of the mask. The same class weighs each text from 1
# when the batch comes flattened, and every other mode gives the same with padding on either side.
# Seen: padding of 8 on the left changes the vector of three tokens by 0.32, on the right by 0; other modes by 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet torch==2.13.0 sentence-transformers==5.7.0
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import torch
from sentence_transformers.sentence_transformer.modules import Pooling

text = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(0))
padding = torch.zeros(1, 8, 8)
real, unreal = torch.ones(1, 3, dtype=torch.int64), torch.zeros(1, 8, dtype=torch.int64)


def changes(mode):
    pooling = Pooling(8, mode)

    def vector(tokens, mask):
        return pooling({"token_embeddings": tokens, "attention_mask": mask})["sentence_embedding"]

    def change(tokens, mask):
        return (vector(tokens, mask) - vector(text, real)).abs().max().item()

    flattened = {"token_embeddings": text, "cu_seq_lens_q": torch.tensor([0, 3])}
    whole = pooling(flattened)["sentence_embedding"]
    torch.testing.assert_close(whole, vector(text, real))
    left = change(torch.cat([padding, text], 1), torch.cat([unreal, real], 1))
    return left, change(torch.cat([text, padding], 1), torch.cat([real, unreal], 1))


seen = {mode: changes(mode) for mode in Pooling.POOLING_MODES}
print(version("sentence-transformers"), torch.__version__, seen)
left, right = seen.pop("weightedmean")
assert left > 0.1
assert max(right, *(max(pair) for pair in seen.values())) < 1e-5
PYTHON
