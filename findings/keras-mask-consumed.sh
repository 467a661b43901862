#!/usr/bin/env bash
# keras 3.15.1 (the same on JAX and torch): `MultiHeadAttention` takes the padding mask off its inputs. Where two
# layers look at the same padded memory, as the blocks of a decoder do, the second one looks at the padding too; in
# a functional model it is the *first* that does, for the mask was taken off while the model was built. Nothing is
# said. `Attention`, `AdditiveAttention` and `GroupQueryAttention` leave the mask where it is.
# Seen: weight on padding in the two layers: a subclassed model 0.00 and 0.50, a functional one 0.50 and 0.00.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2
KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np

keras.utils.set_random_seed(0)
padded = np.array([[1, 2, 0, 0]])  # the last two are padding
query = np.random.randn(1, 3, 8).astype("float32")
embedding = keras.layers.Embedding(10, 8, mask_zero=True)
layers = [keras.layers.MultiHeadAttention(2, 4) for _ in range(2)]


def on_padding(weights):
    return [round(float(np.asarray(w)[..., 2:].sum(-1).mean()), 2) for w in weights]


def look(query, memory):
    return [layer(query, memory, return_attention_scores=True)[1] for layer in layers]


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding, self.looks = embedding, layers

    def call(self, inputs):
        return look(inputs[1], self.embedding(inputs[0]))


symbols = [keras.Input((4,), dtype="int32"), keras.Input((3, 8))]
seen = {
    "subclassed": on_padding(Subclassed()([padded, query])),
    "functional": on_padding(keras.Model(symbols, look(symbols[1], embedding(symbols[0])))([padded, query])),
}
memory = embedding(padded)
plain = keras.layers.Attention()
seen["Attention"] = on_padding(
    [plain([query, memory], return_attention_scores=True)[1] for _ in range(2)]
)
print(keras.__version__, seen)
assert seen["subclassed"][0] == 0 and seen["subclassed"][1] > 0.3
assert seen["functional"][0] > 0.3 and seen["functional"][1] == 0
assert seen["Attention"] == [0, 0]
PYTHON
