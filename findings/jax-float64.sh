#!/usr/bin/env bash
# jax 0.10.2: `jax.nn.dot_product_attention` of float64 (`jax_enable_x64`) gives float64 with the digits of
# float32: the softmax is made in float32, and so is its gradient. Written out with `jax.nn.softmax` all digits
# are there.
# Seen: error of the output 9e-8, of the gradients 3e-7; written out 2e-16.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.10.2
"$folder/venv/bin/python" - <<'PYTHON'
import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)
query, key, value = np.random.default_rng(0).normal(size=(3, 1, 6, 2, 4))


def written_out(query, key, value):
    scores = jnp.einsum("bihd,bjhd->bhij", query, key) / 2
    return jnp.einsum("bhij,bjhd->bihd", jax.nn.softmax(scores), value)


def gradients(attention):
    return jax.grad(lambda *inputs: (attention(*inputs) ** 2).sum(), (0, 1, 2))(query, key, value)


scores = np.einsum("bihd,bjhd->bhij", query, key) / 2
weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
truth = np.einsum("bhij,bjhd->bihd", weights, value)
output = jax.nn.dot_product_attention(query, key, value)
error = float(abs(output - truth).max())
plain = float(abs(written_out(query, key, value) - truth).max())
pairs = zip(gradients(jax.nn.dot_product_attention), gradients(written_out))
of_gradients = max(float(abs(one - other).max()) for one, other in pairs)
print(jax.__version__, output.dtype, error, of_gradients, plain)
assert output.dtype == np.float64
assert plain < 1e-14 < 1e-9 < min(error, of_gradients)
PYTHON
