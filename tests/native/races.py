"""Every loop of the kernels with four threads that share as much as they can: for the thread
sanitiser, `scripts/sanitize.sh thread`. Torch itself keeps to one thread."""

from __future__ import annotations

import torch
from dense import case
from strips import KINDS, by_strips
from test_biases import Chain, found
from test_statistics import by_sweep, wanted_of

from qkv import native


def main() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads = lambda: 4  # what the kernels ask
    queries, keys = 500, 700
    chain = Chain(
        ("cells", (1, 1, 1, queries, keys)),
        ("distance", (1, 1, 1, 1300)),
        ("soft_cap", 2.0),
        ("cells", (1, 1, 1, 1, keys)),
        ("cells", (1, 1, 1, queries, 1)),
    )
    for name in native.instruction_sets():
        native.use(name)
        for heads in (1, 3):
            found(case((1, heads, 2), queries, keys), Chain())
            found(case((1, heads, 2), queries, keys), chain)
            found(case((1, heads, 2), 1, keys), Chain())
            given = case((1, heads, 2), 130, 150)
            for kind in KINDS.values():
                parameter = kind.draw(given)
                by_strips(given, kind, parameter)
                by_sweep(given, kind, parameter, wanted_of(given, kind))
        print(f"{name}: no races")


if __name__ == "__main__":
    main()
