#!/usr/bin/env bash
# levanter 1.1: with `use_flash=True`, `dot_product_attention` drops scores and not weights, and does so behind the mask.
# A score that is dropped is 0, which is more than hidden: with dropout a training step of a causal model sees later tokens,
# the more the higher the dropout. Without flash attention weights are dropped, and nothing is seen that is hidden.
# Seen: the first of eight queries gives to the keys behind it, which a causal mask hides, a weight of 0.47 with flash
# attention and a dropout of 0.5; 0.0 without the dropout, and 0.0 with it and without flash attention.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.4.19 jaxlib==0.4.19 equinox==0.11.2 jaxtyping==0.2.25 \
    numpy==1.26.4 scipy==1.11.4 haliax==1.2
"$folder/venv/bin/pip" install --quiet --no-deps levanter==1.1
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import contextlib
import io
import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import distribution, version
from importlib.util import module_from_spec

import haliax as hax
import jax
import jax.numpy as jnp

for name in ("levanter", "levanter.models"):  # without their __init__, which loads all else
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations.append(str(distribution("levanter").locate_file(name.replace(".", "/"))))
    sys.modules[name] = module_from_spec(spec)
from levanter.models.attention import AttentionMask, dot_product_attention

Query, Key, Width = hax.Axis("query", 8), hax.Axis("key", 8), hax.Axis("width", 8)
query, key = (hax.random.normal(jax.random.PRNGKey(i), (axis, Width)) for i, axis in enumerate((Query, Key)))
value = hax.named(jnp.eye(8), (Key, Width))  # each output is its query's weights


def hidden(**options):
    """The weight that the first query gives to keys behind it."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its steps
        weights = dot_product_attention(
            Query, Key, Width, query, key, value, mask=AttentionMask.causal(), flash_block_size=4,
            inference=False, prng=jax.random.PRNGKey(2), **options,
        )
    return round(float(weights.rearrange((Query, Width)).array[0, 1:].sum()), 3)


plain, flash = (hidden(use_flash=one, dropout=0.5) for one in (False, True))
none = hidden(use_flash=True, dropout=0.0)
print("levanter", version("levanter"), "weight of hidden keys: flash, no dropout:", none)
print("dropout, no flash:", plain, "flash and dropout:", flash)
assert none == plain == 0
assert flash > 0.1
PYTHON
