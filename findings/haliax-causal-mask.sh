#!/usr/bin/env bash
# haliax 1.3 with jax 0.4.30: `nn.attention.self_attention` takes a mask and, apart from it, `is_causal`. With
# `is_causal=True` the mask is not looked at: padding is seen by every token behind it. The docstring calls the causal mask an
# exception for masks with a query axis; one over the keys is dropped like any other, without an error.
# Seen: what is told of hidden keys changes tokens behind them by 0.0 without is_causal, by more than 0.1 with it;
# the mask joined to `causal_mask` by hand and given to `dot_product_attention` hides them (0.0).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.4.30 jaxlib==0.4.30 equinox==0.11.4 jaxtyping==0.2.33 \
    numpy==1.26.4 scipy==1.13.1 haliax==1.3
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import haliax as hax
import jax
import jax.numpy as jnp

Pos, Key = hax.Axis("Pos", 6), hax.Axis("Key", 4)
query, key, value = (hax.random.normal(jax.random.key(i), (Pos, Key)) for i in range(3))
real = hax.named(jnp.array([True, True, False, False, True, True]), Pos)
other = hax.where(real, value, value + 1.0)  # as many keys, other values of the hidden ones


def moved(attend):
    """By how much real tokens change with what stands at hidden keys."""
    change = hax.abs(attend(value) - attend(other))
    return round(float(hax.max(hax.where(real, change, 0.0)).array), 3)


def attention(causal):
    return lambda value: hax.nn.attention.self_attention(Pos, Key, query, key, value, causal, mask=real)


def joined(value):
    QPos = Pos.alias("q_Pos")
    mask = hax.nn.attention.causal_mask(QPos, Pos) & real
    asked = query.rename({"Pos": "q_Pos"})
    found = hax.nn.attention.dot_product_attention(Pos, Key, asked, key, value, mask=mask)
    return found.rename({"q_Pos": "Pos"})


seen = {name: moved(f) for name, f in {
    "is_causal=False": attention(False), "is_causal=True": attention(True), "joined by hand": joined,
}.items()}
print(version("haliax"), seen)
assert seen["is_causal=False"] == seen["joined by hand"] == 0
assert seen["is_causal=True"] > 0.1
PYTHON
