#!/usr/bin/env bash
# torch 2.13.0: on a processor of AMD with AVX-512, products of float32 matrices take about twice as long
# as the other library in the same wheel needs for them. `torch.nn.functional.linear` and `@` call MKL,
# which stays with AVX2 there; oneDNN, which torch uses for bfloat16 and convolutions, has AVX-512. So
# float32 runs at a fifth of the speed of bfloat16, where a half would be expected.
# Seen (AMD EPYC, Zen 5, one thread, 3000 x 256 by 256 x 1024): MKL 106, oneDNN 238 GFLOP/s; the ratio 2.2.
# On other processors there is nothing to see, and this says so.
set -euo pipefail
if ! grep -q AuthenticAMD /proc/cpuinfo || ! grep -q avx512f /proc/cpuinfo; then
    echo "needs an AMD processor with AVX-512"
    exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/python" - <<'PYTHON'
from statistics import median
from time import perf_counter

import torch

torch.set_num_threads(1)
rows, weight = torch.randn(3000, 256), torch.randn(1024, 256)
ways = {
    "MKL": lambda: torch.nn.functional.linear(rows, weight),
    "oneDNN": lambda: torch.ops.mkldnn._linear_pointwise(rows, weight, None, "none", [], ""),
}
torch.testing.assert_close(ways["MKL"](), ways["oneDNN"](), rtol=1e-4, atol=1e-3)
seconds = {name: [] for name in ways}
for _ in range(50):
    for name, way in ways.items():
        start = perf_counter()
        way()
        seconds[name].append(perf_counter() - start)
speed = {name: 2e-9 * rows.numel() * len(weight) / median(seconds[name]) for name in ways}
ratio = speed["oneDNN"] / speed["MKL"]
print(torch.__version__, {name: round(figure) for name, figure in speed.items()}, f"ratio {ratio:.1f}")
assert ratio > 1.4
PYTHON
