#!/usr/bin/env bash
# entmax 1.3: the gradient of `budget_bisect` is wrong, in silence, where the dimension before the last has size 1
# and another stands before it: one head, one query. Row sums of shape [3, 1] are divided by counts of shape [3], so
# each row gets the gradients of all. Beside it, hiding a score by −inf makes the row NaN, and by −1e9 breaks the budget.
# Seen: [3, 2, 6] agrees with finite differences to 1e-9; [3, 1, 6] is off by 5.9 where the largest is 2.1; of
# budget 1, scores [1, 0.5, 2] get [0, 0, 1], and with a fourth of −1e9 [1, 0.5, 1, 0], which sum to 2.5.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet torch==2.13.0 entmax==1.3
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import torch
from entmax import budget_bisect


def error_of_gradient(*shape):
    torch.manual_seed(0)
    scores = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    factors = torch.randn(shape, dtype=torch.float64)

    def total(x):
        return (budget_bisect(x, budget=2, n_iter=100) * factors).sum()

    (gradient,) = torch.autograd.grad(total(scores), scores)
    steps = 1e-6 * torch.eye(scores.numel(), dtype=torch.float64).view(-1, *shape)
    with torch.no_grad():
        truth = [(total(scores + step) - total(scores - step)) / 2e-6 for step in steps]
    return (gradient - torch.stack(truth).view(shape)).abs().max().item()


two, one = error_of_gradient(3, 2, 6), error_of_gradient(3, 1, 6)
scores = torch.tensor([[1.0, 0.5, 2.0]])
shown = budget_bisect(scores, budget=1)
infinite, large = (
    budget_bisect(torch.cat([scores, torch.tensor([[hidden]])], -1), budget=1)
    for hidden in (-torch.inf, -1e9)
)
print(version("entmax"), two, one, shown.tolist(), infinite.tolist(), large.tolist())
assert two < 1e-6 < 1 < one
assert (shown.sum() - 1).abs() < 1e-5
assert infinite.isnan().all()
assert large.sum() > 2
PYTHON
