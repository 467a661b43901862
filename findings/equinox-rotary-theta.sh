#!/usr/bin/env bash
# equinox 0.13.8 with jax 0.10.2: `nn.RotaryPositionalEmbedding` keeps its tables in one place for the whole process,
# by width and type alone. A second embedding of the same width with another `theta` turns by the first one's angles,
# unless it is the first to see so long a sequence; then the other turns by its angles. Models whose layers have two
# thetas, as those with local and global attention, get one of them, whichever ran first.
# Seen: on the same 8 rows theta 100, called second, differs from theta 10000 by 0.0 and from its own formula by
# 1.529; behind 16 rows of theta 100, theta 10000 differs from itself before by 1.529.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.10.2 equinox==0.13.8
"$folder/venv/bin/python" - <<'PYTHON'
import equinox as eqx
import jax.numpy as jnp

WIDTH = 8
x = jnp.ones((8, WIDTH))


def turned(x, theta):
    """The formula: pairs of places (i, i + width / 2) turn by position * theta^(-2 i / width)."""
    angles = jnp.arange(len(x))[:, None] * theta ** (-jnp.arange(0, WIDTH, 2) / WIDTH)
    cos, sin = jnp.tile(jnp.cos(angles), 2), jnp.tile(jnp.sin(angles), 2)
    first, second = jnp.split(x, 2, -1)
    return x * cos + jnp.concatenate([-second, first], -1) * sin


def apart(one, other):
    return round(float(jnp.abs(one - other).max()), 3)


slow, quick = (eqx.nn.RotaryPositionalEmbedding(WIDTH, theta=theta) for theta in (10_000.0, 100.0))
before, second = slow(x), quick(x)
print(eqx.__version__, "theta 10000 from its formula:", apart(before, turned(x, 10_000.0)))
print("theta 100, called second, from its formula:", apart(second, turned(x, 100.0)))
print("and from theta 10000:", apart(second, before))
quick(jnp.ones((16, WIDTH)))
after = slow(x)
print("theta 10000 behind a longer sequence of theta 100, from itself before:", apart(after, before))
assert apart(before, turned(x, 10_000.0)) == apart(second, before) == 0
assert apart(second, turned(x, 100.0)) > 0.1
assert apart(after, before) > 0.1
PYTHON
