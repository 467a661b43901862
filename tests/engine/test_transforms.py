"""Every transform, by value: against a dense formula in float64 that torch transforms itself.

Each case runs twice: at once (plain operations) and cut into blocks (a small `memory`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.utils.checkpoint import checkpoint

import qkv

HEADS, KEY_HEADS, LENGTH, WIDTH = 2, 1, 5, 3
CUT = 1200  # bytes: far less than the matrix takes, so it is cut into several blocks
REGIMES = {"at once": None, "blocks": CUT}


def matrix(query: Tensor, key: Tensor, factor: Tensor, memory: int | None, kind: str):
    """The matrix under test."""
    options = {"mask": qkv.Causal(), "memory": memory}
    if kind == "callable":
        options["score"] = lambda q, k, cells: (q * factor) @ k.mT + 0.1 * cells.col
    elif kind == "additive":
        options["score"] = qkv.Additive(factor)
    elif kind == "sparsemax":
        options["normalizer"] = qkv.Sparsemax()
    return qkv.attention(query, key, **options)


def dense(query: Tensor, key: Tensor, factor: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Weights and masked scores, by hand."""
    key = key.repeat_interleave(HEADS // KEY_HEADS, -3)
    if kind == "callable":
        col = torch.arange(key.shape[-2])
        scores = (query * factor) @ key.mT + 0.1 * col
    elif kind == "additive":
        scores = torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3)) @ factor
    else:
        scores = query @ key.mT * WIDTH**-0.5
    hidden = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool).triu(1)
    scores = scores.masked_fill(hidden, -torch.inf)
    if kind != "sparsemax":
        return torch.softmax(scores, -1), scores
    ordered = scores.sort(-1, descending=True).values
    sums = torch.where(ordered == -torch.inf, 0, ordered).cumsum(-1)
    rank = torch.arange(1, scores.shape[-1] + 1)
    size = (1 + rank * ordered > sums).sum(-1, keepdim=True)
    threshold = (sums.gather(-1, size - 1) - 1) / size
    return torch.relu(scores - threshold), scores


OPERATIONS: dict[str, tuple[Callable, Callable]] = {
    "A @ v": (lambda a, v: a @ v, lambda w, s, v: w @ v),
    "A.mT @ x": (lambda a, v: a.mT @ v, lambda w, s, v: w.mT @ v),
    "logsumexp": (lambda a, v: a.logsumexp(), lambda w, s, v: s.logsumexp(-1)),
    "callable": (lambda a, v: a @ v, lambda w, s, v: w @ v),
    "additive": (lambda a, v: a @ v, lambda w, s, v: w @ v),
    "sparsemax": (lambda a, v: a @ v, lambda w, s, v: w @ v),
}


@dataclass(frozen=True)
class Case:
    operation: str
    memory: int | None

    @property
    def kind(self) -> str:
        return self.operation if self.operation in ("callable", "additive", "sparsemax") else "dot"

    def engine(self, query: Tensor, key: Tensor, value: Tensor, factor: Tensor) -> Tensor:
        a = matrix(query, key, factor, self.memory, self.kind)
        return OPERATIONS[self.operation][0](a, value)

    def oracle(self, query: Tensor, key: Tensor, value: Tensor, factor: Tensor) -> Tensor:
        weights, scores = dense(query, key, factor, self.kind)
        value = value.repeat_interleave(HEADS // value.shape[-3], -3)
        return OPERATIONS[self.operation][1](weights, scores, value)

    def inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        rows = (LENGTH, WIDTH)
        return draw(HEADS, *rows), draw(KEY_HEADS, *rows), draw(KEY_HEADS, *rows), draw(WIDTH)


CASES = [
    pytest.param(Case(operation, memory), id=f"{operation}, {regime}")
    for operation in OPERATIONS
    for regime, memory in REGIMES.items()
]
every_case = pytest.mark.parametrize("case", CASES)


def used(case: Case) -> tuple[int, ...]:
    """Which of the inputs the operation depends on."""
    value = () if case.operation == "logsumexp" else (2,)
    factor = (3,) if case.kind in ("callable", "additive") else ()
    return (0, 1, *value, *factor)


def scalar(function: Callable, weight: Tensor | None = None) -> Callable:
    """A loss whose derivatives are not constant."""

    def loss(*inputs: Tensor) -> Tensor:
        output = function(*inputs)
        return (output.sin() * torch.linspace(0.5, 1.5, output.numel()).view_as(output)).sum()

    return loss


def check(found, expected) -> None:
    found = found if isinstance(found, tuple) else (found,)
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        if isinstance(ours, tuple):
            check(ours, theirs)
        else:
            assert ours.shape == theirs.shape
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@every_case
def test_forward(case: Case) -> None:
    check(case.engine(*case.inputs()), case.oracle(*case.inputs()))


@every_case
def test_backward(case: Case) -> None:
    def gradients(function: Callable) -> tuple[Tensor, ...]:
        inputs = [t.requires_grad_() for t in case.inputs()]
        return torch.autograd.grad(scalar(function)(*inputs), [inputs[i] for i in used(case)])

    check(gradients(case.engine), gradients(case.oracle))


@every_case
def test_double_backward(case: Case) -> None:
    def second(function: Callable) -> tuple[Tensor, ...]:
        inputs = [t.requires_grad_() for t in case.inputs()]
        points = [inputs[i] for i in used(case)]
        first = torch.autograd.grad(scalar(function)(*inputs), points, create_graph=True)
        penalty = sum((g.square().sum() for g in first), torch.zeros((), dtype=torch.float64))
        return torch.autograd.grad(penalty, points)

    check(second(case.engine), second(case.oracle))


@every_case
def test_numerical_gradients(case: Case) -> None:
    """Against finite differences, which share no formula with anything here."""
    inputs = tuple(t.requires_grad_(i in used(case)) for i, t in enumerate(case.inputs()))
    gradcheck(case.engine, inputs, check_forward_ad=True, check_batched_grad=False)


@pytest.mark.parametrize("memory", REGIMES.values(), ids=REGIMES)
def test_numerical_second_gradients(memory: int | None) -> None:
    case = Case("A @ v", memory)
    inputs = tuple(t.requires_grad_(i in used(case)) for i, t in enumerate(case.inputs()))
    gradgradcheck(case.engine, inputs)


@every_case
def test_func_grad(case: Case) -> None:
    def gradients(function: Callable) -> tuple[Tensor, ...]:
        return grad(scalar(function), argnums=used(case))(*case.inputs())

    check(gradients(case.engine), gradients(case.oracle))


@every_case
def test_func_grad_of_grad(case: Case) -> None:
    def second(function: Callable) -> tuple[Tensor, ...]:
        def norm(*inputs: Tensor) -> Tensor:
            first = grad(scalar(function), argnums=used(case))(*inputs)
            return sum((g.square().sum() for g in first), torch.zeros((), dtype=torch.float64))

        return grad(norm, argnums=used(case))(*case.inputs())

    check(second(case.engine), second(case.oracle))


def batched_inputs(case: Case) -> tuple[Tensor, ...]:
    draws = [case.inputs(seed) for seed in range(3)]
    return tuple(torch.stack(tensors) for tensors in zip(*draws, strict=True))


@every_case
def test_vmap(case: Case) -> None:
    inputs = batched_inputs(case)
    check(vmap(case.engine)(*inputs), vmap(case.oracle)(*inputs))


@every_case
def test_vmap_over_some_inputs(case: Case) -> None:
    query, key, value, factor = batched_inputs(case)
    query = query.movedim(0, 2)

    def mapped(function: Callable) -> Tensor:
        return vmap(function, in_dims=(2, None, None, 0))(query, key[0], value[0], factor)

    check(mapped(case.engine), mapped(case.oracle))


@pytest.mark.parametrize("memory", REGIMES.values(), ids=REGIMES)
def test_vmap_over_positions_and_lengths(memory: int | None) -> None:
    """Numbers that decide which keys a block can see, hidden from it by the transform."""
    query, key, value, _ = batched_inputs(Case("A @ v", None))
    offsets, lengths = (
        torch.tensor([[0, 1], [2, 3], [1, 4]]),
        torch.tensor([[5, 1], [3, 0], [2, 5]]),
    )

    def attended(*inputs: Tensor) -> Tensor:
        query, key, value, offset, length = inputs
        mask = qkv.Causal() & qkv.Padding(length)
        return qkv.attention(query, key, mask=mask, query_offset=offset, memory=memory) @ value

    inputs = (query, key, value, offsets, lengths)
    check(
        vmap(attended)(*inputs), torch.stack([attended(*one) for one in zip(*inputs, strict=True)])
    )


@every_case
def test_vmap_of_grad(case: Case) -> None:
    def per_sample(function: Callable) -> tuple[Tensor, ...]:
        return vmap(grad(scalar(function), argnums=used(case)))(*batched_inputs(case))

    check(per_sample(case.engine), per_sample(case.oracle))


@every_case
def test_jvp(case: Case) -> None:
    def pushed(function: Callable) -> tuple[Tensor, ...]:
        return jvp(function, case.inputs(0), case.inputs(1))

    check(pushed(case.engine), pushed(case.oracle))


@every_case
def test_dual_numbers(case: Case) -> None:
    def tangent(function: Callable) -> Tensor:
        with forward_ad.dual_level():
            pairs = zip(case.inputs(0), case.inputs(1), strict=True)
            duals = [forward_ad.make_dual(*pair) for pair in pairs]
            return forward_ad.unpack_dual(function(*duals)).tangent

    check(tangent(case.engine), tangent(case.oracle))


@every_case
def test_vjp(case: Case) -> None:
    def pulled(function: Callable) -> tuple[Tensor, ...]:
        output, pull = vjp(function, *case.inputs())
        gradients = pull(output.cos())
        return tuple(gradients[i] for i in used(case))

    check(pulled(case.engine), pulled(case.oracle))


@every_case
@pytest.mark.parametrize("transform", [jacrev, jacfwd])
def test_jacobian(case: Case, transform: Callable) -> None:
    def jacobian(function: Callable) -> tuple[Tensor, ...]:
        return transform(function, argnums=used(case))(*case.inputs())

    check(jacobian(case.engine), jacobian(case.oracle))


@every_case
def test_hessian(case: Case) -> None:
    def second(function: Callable) -> tuple:
        return hessian(scalar(function), argnums=used(case))(*case.inputs())

    check(second(case.engine), second(case.oracle))


@every_case
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoint(case: Case, reentrant: bool) -> None:
    def gradients(function: Callable) -> tuple[Tensor, ...]:
        inputs = [t.requires_grad_() for t in case.inputs()]
        output = checkpoint(function, *inputs, use_reentrant=reentrant)
        points = [inputs[i] for i in used(case)]
        output.cos().sum().backward()
        return tuple(point.grad for point in points)

    check(gradients(case.engine), gradients(case.oracle))


@every_case
def test_autocast(case: Case) -> None:
    """Products come out in the autocast dtype, as from torch's own kernels, statistics in float32;
    inside, sums are accumulated in float32."""
    inputs = [t.float().requires_grad_() for t in case.inputs()]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = case.engine(*inputs)
    assert output.dtype == (torch.float32 if case.operation == "logsumexp" else torch.bfloat16)
    rounded = [t.detach().bfloat16().double() for t in inputs[:3]]
    expected = case.oracle(*rounded, inputs[3].detach().double())
    torch.testing.assert_close(output.double(), expected, rtol=8e-3, atol=8e-3)
    output.float().sum().backward()
    assert all(inputs[i].grad is not None for i in used(case))
    assert all(inputs[i].grad.dtype == torch.float32 for i in used(case))


@every_case
def test_compile(case: Case) -> None:
    """`torch.compile(fullgraph=True)` of the operation itself, with its backward."""
    torch._dynamo.reset()
    compiled = torch.compile(case.engine, fullgraph=True, backend="aot_eager")

    def results(function: Callable) -> tuple[Tensor, ...]:
        inputs = [t.requires_grad_() for t in case.inputs()]
        output = function(*inputs)
        points = [inputs[i] for i in used(case)]
        loss = scalar(lambda *_: output)()
        return output.detach(), *torch.autograd.grad(loss, points)

    check(results(compiled), results(case.oracle))


@pytest.mark.parametrize("options", [{}, {"mask": qkv.Causal()}], ids=["plain", "causal"])
def test_compile_of_the_shorter_way(options: dict) -> None:
    """`attend` asks whether it may leave the matrix out, which a compiler cannot follow."""
    torch._dynamo.reset()

    def function(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return qkv.attend(query, key, value, **options)

    inputs = [tensor.float() for tensor in Case("A @ v", None).inputs()[:3]]
    check(torch.compile(function, fullgraph=True, backend="aot_eager")(*inputs), function(*inputs))


def test_compile_of_a_scale_that_is_an_argument() -> None:
    torch._dynamo.reset()

    def function(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        return qkv.attend(query, key, value, score=qkv.Dot(scale))

    program = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    inputs = Case("A @ v", None).inputs()[:3]
    for scale in (0.25, 0.5):
        check(program(*inputs, scale), function(*inputs, scale))


class Module(torch.nn.Module):
    """An operation as a module with a parameter, for export."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case
        self.factor = torch.nn.Parameter(case.inputs()[3])

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return self.case.engine(query, key, value, self.factor)


@every_case
def test_export(case: Case) -> None:
    exported_right(case, strict=False)


@pytest.mark.parametrize("memory", REGIMES.values(), ids=REGIMES)
@pytest.mark.parametrize("operation", ["A @ v", "A.mT @ x", "sparsemax"])
def test_strict_export(operation: str, memory: int | None) -> None:
    """By the compiler, which has calls of its own for products."""
    torch._dynamo.reset()
    exported_right(Case(operation, memory), strict=True)


def exported_right(case: Case, strict: bool) -> None:
    query, key, value, factor = case.inputs()
    program = torch.export.export(Module(case), (query, key, value), strict=strict)
    others = case.inputs(1)[:3]
    check(program.module()(*others).detach(), case.oracle(*others, factor))


def compiled_loss(memory: int | None) -> Callable:
    return scalar(Case("A @ v", memory).engine)


@pytest.mark.parametrize("transform", [grad, lambda f: vmap(f, in_dims=(0, 0, 0, None))])
def test_transform_inside_compile(transform: Callable) -> None:
    torch._dynamo.reset()
    inputs = batched_inputs(Case("A @ v", None))
    inputs = (*inputs[:3], inputs[3][0]) if transform is not grad else tuple(t[0] for t in inputs)
    function = transform(compiled_loss(None))
    check(torch.compile(function, fullgraph=True, backend="aot_eager")(*inputs), function(*inputs))


@pytest.mark.parametrize("memory", REGIMES.values(), ids=REGIMES)
def test_forward_mode_inside_compile_is_refused(memory: int | None) -> None:
    """Its tangents would silently be zero."""
    torch._dynamo.reset()
    case = Case("A @ v", memory)

    def tangent(*inputs: Tensor) -> Tensor:
        return jvp(case.engine, inputs, inputs)[1]

    with pytest.raises(torch._dynamo.exc.Unsupported, match="forward-mode AD cannot be traced"):
        torch.compile(tangent, fullgraph=True, backend="aot_eager")(*case.inputs())


def test_transform_of_blocks_inside_compile_is_refused() -> None:
    torch._dynamo.reset()
    case = Case("additive", CUT)
    with pytest.raises(torch._dynamo.exc.Unsupported, match="cut into blocks"):
        torch.compile(grad(scalar(case.engine)), fullgraph=True)(*case.inputs())


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_inductor() -> None:
    """The compiler's own code generator, once."""
    torch._dynamo.reset()
    case = Case("additive", None)
    compiled = torch.compile(case.engine, fullgraph=True)
    check(compiled(*case.inputs()), case.oracle(*case.inputs()))
