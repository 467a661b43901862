#!/usr/bin/env bash
# flax 0.12.8 with jax 0.10.2: `nnx.MultiHeadAttention` takes `is_causal=True` to hide what comes later. In decoding
# from a cache the same argument hides all but the first position: the causal mask counts the single query as the
# first. Without the argument the steps say what the whole sequence said.
# Seen: which of positions 0 to 3 change the last of four steps: with is_causal [True, False, False, False], without
# all; the steps differ from the whole sequence by 1.729, and by 0.0.
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
from flax import nnx

STEPS, WIDTH = 4, 8
x = jax.random.normal(jax.random.key(1), (1, STEPS, WIDTH))
layer = nnx.MultiHeadAttention(2, WIDTH, decode=False, rngs=nnx.Rngs(0))
whole = layer(x, is_causal=True)


def step_by_step(inputs, **options):
    layer.init_cache(inputs.shape)
    steps = [layer(inputs[:, i : i + 1], decode=True, **options) for i in range(STEPS)]
    return jnp.concatenate(steps, 1)


def seen(**options):
    """Which positions the last step hears of."""
    before = step_by_step(x, **options)[0, -1]
    return [
        bool(jnp.abs(step_by_step(x.at[0, i].add(1.0), **options)[0, -1] - before).max() > 1e-4)
        for i in range(STEPS)
    ]


for options in ({"is_causal": True}, {}):
    apart = float(jnp.abs(step_by_step(x, **options) - whole).max())
    print(flax.__version__, options, "seen by the last step", seen(**options), "apart", round(apart, 3))
    if options:
        assert apart > 0.1
        assert not any(seen(**options)[1:-1])
    else:
        assert apart < 1e-5
        assert all(seen())
PYTHON
