#!/usr/bin/env bash
# levanter 1.1: `&` and `|` of `AttentionMask`. What is causal and something else, `AttentionMask.causal() & mask`, is not
# causal: each place sees later ones, wherever the other mask lets it. And what is causal or something else hides all that
# either hides, as "and" should.
# Seen: with a mask that shows keys 0, 1 and 3 of four, "and" shows 3 keys to each query, and "or" 1, 2, 2 and 3, which is
# what "and" is; right are 1, 2, 2, 3 and 3, 3, 4, 4.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.4.30 jaxlib==0.4.30 equinox==0.11.4 jaxtyping==0.2.33 \
    numpy==1.26.4 scipy==1.13.1 haliax==1.3
"$folder/venv/bin/pip" install --quiet --no-deps levanter==1.1
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import distribution, version
from importlib.util import module_from_spec

import haliax as hax
import jax.numpy as jnp
import numpy as np

for name in ("levanter", "levanter.models"):  # without their __init__, which loads all else
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations.append(str(distribution("levanter").locate_file(name.replace(".", "/"))))
    sys.modules[name] = module_from_spec(spec)
from levanter.models.attention import AttentionMask, dot_product_attention

Query, Key, Width, Out = (hax.Axis(name, 4) for name in ("query", "key", "width", "out"))
shown = jnp.array([True, True, False, True])
causal, some = np.tril(np.ones((4, 4), bool)), np.tile(shown, (4, 1))
explicit = AttentionMask.explicit(hax.named(jnp.array(some), (Query, Key)))


def seen(mask):
    """How many keys have a weight, for each query."""
    ones = [hax.zeros(axes) for axes in ((Query, Width), (Key, Width))]
    value = hax.named(jnp.eye(4), (Key, Out))
    weights = dot_product_attention(Query, Key, Width, *ones, value, mask=mask)
    return (weights.rearrange((Query, Out)).array > 1e-6).sum(-1).tolist()


both, either = seen(AttentionMask.causal() & explicit), seen(AttentionMask.causal() | explicit)
print("levanter", version("levanter"), "causal & mask, keys seen:", both, "right:", (causal & some).sum(-1).tolist())
print("causal | mask:", either, "right:", (causal | some).sum(-1).tolist())
assert both == [3, 3, 3, 3] != (causal & some).sum(-1).tolist()
assert either == (causal & some).sum(-1).tolist() != (causal | some).sum(-1).tolist()
PYTHON
