#!/usr/bin/env bash
# flax 0.12.8 with jax 0.10.2: dropout of attention weights draws one mask for the whole batch, and by the
# functions `dot_product_attention` one for all heads as well (`broadcast_dropout=True` is the default): every
# sequence of a batch loses the same links. torch, Keras and others draw a mask per sequence and head.
# Seen: the same output for each entry of the batch True, for each head True; with
# broadcast_dropout=False both False.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.10.2
"$folder/venv/bin/pip" install --quiet flax==0.12.8
"$folder/venv/bin/python" - <<'PYTHON'
import flax
import jax
import jax.numpy as jnp
from flax import linen, nnx

query = jnp.zeros((3, 8, 2, 4))
value = jnp.broadcast_to(jnp.eye(8)[None, :, None, :4], (3, 8, 2, 4))
for module in (linen, nnx):
    for shared in (True, False):
        options = {} if shared else {"broadcast_dropout": False}
        output = module.dot_product_attention(
            query,
            query,
            value,
            dropout_rng=jax.random.PRNGKey(0),
            dropout_rate=0.5,
            deterministic=False,
            **options,
        )
        batch = bool((output[0] == output[1]).all())
        heads = bool((output[:, :, 0] == output[:, :, 1]).all())
        print(flax.__version__, module.__name__, options or "default", "batch", batch, "heads", heads)
        assert batch == heads == shared
PYTHON
