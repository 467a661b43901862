#!/usr/bin/env bash
# flax 0.12.8: `LayerNorm` subtracts mean(x)² from mean(x²) by default (`use_fast_variance=True`), in float32. Where
# the mean is some thousand times the spread nothing is left of the variance: results are not a little off but a
# thousand times too large. Both `linen` and `nnx`; `use_fast_variance=False` is right.
# Seen: [0, 1, 2, 3] + 10000 gives [-1500, -500, 500, 1500]; right is [-1.34, -0.45, 0.45, 1.34].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet flax==0.12.8 jax==0.10.2
"$folder/venv/bin/python" - <<'PYTHON'
import flax
import flax.linen
import flax.nnx
import jax.numpy as jnp
import numpy as np

x = jnp.arange(4, dtype=jnp.float32)
right = np.array([-1.3416, -0.4472, 0.4472, 1.3416])
state = {"params": {"scale": jnp.ones(4), "bias": jnp.zeros(4)}}
layers = {
    "linen": flax.linen.LayerNorm().bind(state),
    "nnx": flax.nnx.LayerNorm(4, rngs=flax.nnx.Rngs(0)),
    "slow": flax.nnx.LayerNorm(4, use_fast_variance=False, rngs=flax.nnx.Rngs(0)),
}
seen = {name: np.asarray(layer(x + 10000)) for name, layer in layers.items()}
print(flax.__version__, {name: values.tolist() for name, values in seen.items()})
assert np.abs(np.asarray(layers["nnx"](x)) - right).max() < 1e-3
assert seen["linen"].max() > 100
assert seen["nnx"].max() > 100
assert np.abs(seen["slow"] - right).max() < 1e-2
PYTHON
