#!/usr/bin/env bash
# torch 2.13.0: of an object with __torch_function__ on the left of a tensor, A @ x, a compiled program hands over
# torch.Tensor.matmul with x as its first argument, which is x @ A. Uncompiled the call is Tensor.__rmatmul__(x, A),
# and the product is A @ x; so are A - x, A ** x, A // x and A % x, compiled or not.
# Seen: "2.13.0 A @ x: uncompiled A x, compiled x A; A - x, A ** x, A // x, A % x: as they are written".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import operator

import torch


class Values:
    """No tensor: an operation of torch on it is that on its values."""

    def __init__(self, values):
        self.values = values

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        args = [one.values if isinstance(one, cls) else one for one in args]
        return function(*args, **(kwargs or {}))


A = torch.arange(1.0, 10.0).reshape(3, 3)
x = torch.eye(3) + torch.arange(9.0).reshape(3, 3)


def both(operation):
    """What an operation gives with an object on its left, uncompiled and compiled."""

    def program(x):
        return operation(Values(A), x)

    torch._dynamo.reset()
    return program(x), torch.compile(program, backend="eager", fullgraph=True)(x)


for operation in (operator.sub, operator.pow, operator.floordiv, operator.mod):
    for result in both(operation):
        assert torch.equal(result, operation(A, x)), operation
uncompiled, compiled = both(operator.matmul)
assert torch.equal(uncompiled, A @ x)
assert torch.equal(compiled, x @ A)
assert not torch.equal(A @ x, x @ A)
print(
    f"{torch.__version__} A @ x: uncompiled A x, compiled x A; A - x, A ** x, A // x, A % x: "
    "as they are written"
)
PYTHON
