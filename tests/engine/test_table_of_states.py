"""The tables of docs/transforms.md, cell by cell: what they promise is what happens.

Its tables are read: every state x operation x implementation that they list is run, at once and cut
into blocks, and gives the value of a dense formula or the refusal that stands there.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, jvp, linearize, vjp, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import qkv

PAGE = Path(__file__).parents[2] / "docs" / "transforms.md"
CUT = 700  # bytes: several blocks
LENGTH, WIDTH = 4, 3


def table(heading: str) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of the table below a heading of the page."""
    text = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return rows[0], rows[2:]


def inputs(seed: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    draws = (torch.randn(2, LENGTH, WIDTH, generator=generator) for _ in range(3))
    return tuple(draw.double() for draw in draws)


@cache
def layer() -> qkv.nn.MultiHeadAttention:
    torch.manual_seed(5)
    return qkv.nn.MultiHeadAttention(WIDTH, 1, mask=qkv.Causal()).double().requires_grad_(False)


@dataclass(frozen=True)
class Way:
    """How an operation is to be computed."""

    impl: str
    memory: int | None

    def matrix(self, query: Tensor, key: Any, **options: Any) -> qkv.AttentionMatrix:
        options = {"mask": qkv.Causal(), "impl": self.impl, "memory": self.memory} | options
        return qkv.attention(query, key, **options)

    def of_layer(self, x: Tensor, value: Tensor) -> Tensor:
        if self.impl == "auto":
            return layer()(x)
        options = {"impl": self.impl, "memory": self.memory or 2**26}
        return replace(layer().matrix(x), **options) @ value.unsqueeze(-3)


def weights_of(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Weights and masked scores by hand."""
    hidden = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
    scores = (query @ key.mT * WIDTH**-0.5).masked_fill(hidden, -torch.inf)
    return torch.softmax(scores, -1), scores


def entropy(weights: Tensor) -> Tensor:
    return -torch.where(weights > 0, weights * torch.where(weights > 0, weights, 1).log(), 0).sum(
        -1
    )


def rolled_out(weights: Tensor) -> Tensor:
    mixed = 0.5 * torch.eye(LENGTH, dtype=weights.dtype) + 0.5 * weights.mean(-3)
    return (mixed @ mixed)[1:3]


@cache
def kept() -> Tensor:
    """Which weights dropout keeps, divided by how likely that is: the contract's numbers."""
    same = torch.zeros(2, LENGTH, WIDTH, dtype=torch.float64)
    return (
        qkv.attention(same, same, impl="reference").dropout(0.4, seed=3).dense() != 0
    ).double() / 0.6


def cosine(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    directed = (t / t.square().sum(-1, keepdim=True).sqrt() for t in (query, key))
    left, right = directed
    return weights_of(left * 2 * WIDTH**0.5, right)[0] @ value


def layer_by_hand(query: Tensor, value: Tensor, whole: bool) -> Tensor:
    own = layer()
    ask, asked, given = (p(query) for p in (own.query, own.key, own.value))
    weights = weights_of(ask, asked)[0]
    return own.output(weights @ given) if whole else (weights @ value).unsqueeze(-3)


def explained(way: Way, query: Tensor, key: Tensor) -> Tensor:
    found = way.matrix(query, key).explain(2, at=(1,))
    return torch.cat([found.weights, found.scaled])


def measured(way: Way, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    parts = way.matrix(query, key).measure(qkv.Product(value), qkv.Mass())
    return torch.cat([part.flatten() for part in parts])


Function = Callable[..., Tensor]
# What each operation of the page is: by the engine, and by hand.
OPERATIONS: dict[str, tuple[Callable[[Way], Function], Callable[[Way], Function]]] = {
    "`A @ v`": (
        lambda way: lambda q, k, v: way.matrix(q, k) @ v,
        lambda way: lambda q, k, v: weights_of(q, k)[0] @ v,
    ),
    "`A.mT @ x`": (
        lambda way: lambda q, k, v: way.matrix(q, k).mT @ v,
        lambda way: lambda q, k, v: weights_of(q, k)[0].mT @ v,
    ),
    "`A[..., rows, cols]`": (
        lambda way: lambda q, k, v: way.matrix(q, k)[..., 1:4, [0, 2]],
        lambda way: lambda q, k, v: weights_of(q, k)[0][..., 1:4, [0, 2]],
    ),
    "`A.dense()`": (
        lambda way: lambda q, k, v: way.matrix(q, k).dense(),
        lambda way: lambda q, k, v: weights_of(q, k)[0],
    ),
    "`A.top(k).weights`": (
        lambda way: lambda q, k, v: way.matrix(q, k).top(2).weights,
        lambda way: lambda q, k, v: weights_of(q, k)[0].topk(2).values,
    ),
    "`A.entropy()`": (
        lambda way: lambda q, k, v: way.matrix(q, k).entropy(),
        lambda way: lambda q, k, v: entropy(weights_of(q, k)[0]),
    ),
    "`A.mass()`": (
        lambda way: lambda q, k, v: way.matrix(q, k).mass(),
        lambda way: lambda q, k, v: weights_of(q, k)[0].sum(-2),
    ),
    "`A.distance()`": (
        lambda way: lambda q, k, v: way.matrix(q, k).distance(),
        lambda way: (
            lambda q, k, v: (
                weights_of(q, k)[0] * (torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)).abs()
            ).sum(-1)
        ),
    ),
    "`A.diagonals(offsets)`": (
        lambda way: lambda q, k, v: way.matrix(q, k).diagonals([-1, 0]),
        lambda way: (
            lambda q, k, v: torch.stack(
                [
                    torch.nn.functional.pad(weights_of(q, k)[0].diagonal(-1, -2, -1), (1, 0)),
                    weights_of(q, k)[0].diagonal(0, -2, -1),
                ],
                -1,
            )
        ),
    ),
    "`A.support()`": (
        lambda way: lambda q, k, v: way.matrix(q, k).support(),
        lambda way: lambda q, k, v: (weights_of(q, k)[0] > 0).sum(-1),
    ),
    '`A.pool(r, c, "mean")`': (
        lambda way: lambda q, k, v: way.matrix(q, k).pool(2, 2, "mean"),
        lambda way: (
            lambda q, k, v: (
                weights_of(q, k)[0].unflatten(-1, (2, 2)).mean(-1).unflatten(-2, (2, 2)).mean(-2)
            )
        ),
    ),
    "`A.pool(r, c)`": (
        lambda way: lambda q, k, v: way.matrix(q, k).pool(2, 2),
        lambda way: (
            lambda q, k, v: (
                weights_of(q, k)[0].unflatten(-1, (2, 2)).amax(-1).unflatten(-2, (2, 2)).amax(-2)
            )
        ),
    ),
    "`A.logsumexp()`": (
        lambda way: lambda q, k, v: way.matrix(q, k).logsumexp(),
        lambda way: lambda q, k, v: weights_of(q, k)[1].logsumexp(-1),
    ),
    "`A.measure(...)`": (
        lambda way: lambda q, k, v: measured(way, q, k, v),
        lambda way: (
            lambda q, k, v: torch.cat(
                [(weights_of(q, k)[0] @ v).flatten(), weights_of(q, k)[0].sum(-2).flatten()]
            )
        ),
    ),
    "`A.explain(row)`": (
        lambda way: lambda q, k, v: explained(way, q, k),
        lambda way: (
            lambda q, k, v: torch.cat([weights_of(q, k)[0][1, 2], (q @ k.mT * WIDTH**-0.5)[1, 2]])
        ),
    ),
    "`qkv.rollout`": (
        lambda way: lambda q, k, v: qkv.rollout([way.matrix(q, k)] * 2, slice(1, 3)),
        lambda way: lambda q, k, v: rolled_out(weights_of(q, k)[0]),
    ),
    "`A.dropout(p, seed) @ v`": (
        lambda way: lambda q, k, v: way.matrix(q, k).dropout(0.4, seed=3) @ v,
        lambda way: lambda q, k, v: (weights_of(q, k)[0] * kept()) @ v,
    ),
    "`A[b, h] @ v`": (
        lambda way: lambda q, k, v: way.matrix(q, k)[1] @ v[1],
        lambda way: lambda q, k, v: weights_of(q, k)[0][1] @ v[1],
    ),
    "prepared keys": (
        lambda way: lambda q, k, v: way.matrix(q, qkv.prepare(k, qkv.Cosine(2.0))) @ v,
        lambda way: cosine,
    ),
    "a layer of `qkv.nn`": (
        lambda way: lambda q, k, v: way.of_layer(q, v),
        lambda way: lambda q, k, v: layer_by_hand(q, v, whole=way.impl == "auto"),
    ),
}


def loss(function: Function) -> Function:
    """A number whose derivatives are not constant."""

    def total(*points: Tensor) -> Tensor:
        output = function(*points)
        weight = torch.linspace(0.5, 1.5, output.numel(), dtype=output.dtype)
        return (output.sin() * weight.view_as(output)).sum()

    return total


def wanted(seed: int) -> list[Tensor]:
    return [tensor.requires_grad_() for tensor in inputs(seed)]


def gradients(output: Tensor, points: list[Tensor], **options: Any) -> tuple[Tensor, ...]:
    options = {"allow_unused": True, "materialize_grads": True} | options
    return torch.autograd.grad(output, points, **options)


def backward(function: Function) -> tuple[Tensor, ...]:
    points = wanted(0)
    return gradients(loss(function)(*points), points)


def double_backward(function: Function) -> tuple[Tensor, ...]:
    points = wanted(0)
    first = gradients(loss(function)(*points), points, create_graph=True)
    return gradients(sum(g.square().sum() for g in first), points)


def batched_gradients(function: Function) -> tuple[Tensor, ...]:
    points = wanted(0)
    output = function(*points)
    seeds = torch.stack([output.detach() * 0 + 1, output.detach().cos()])
    return torch.autograd.grad(
        output, points, seeds, is_grads_batched=True, allow_unused=True, materialize_grads=True
    )


def of_query(function: Function) -> tuple[Function, Tensor]:
    """The function of the query alone, which is enough for large derivatives."""
    query, *others = inputs(0)
    return lambda point: function(point, *others), query


def jacobian(function: Function, **options: Any) -> Tensor:
    return torch.autograd.functional.jacobian(*of_query(function), vectorize=True, **options)


def dual(function: Function) -> Tensor:
    with forward_ad.dual_level():
        pairs = zip(inputs(0), inputs(1), strict=True)
        return forward_ad.unpack_dual(function(*(forward_ad.make_dual(*p) for p in pairs))).tangent


def checkpointed(function: Function) -> tuple[Tensor, ...]:
    found: tuple[Tensor, ...] = ()
    for reentrant in (False, True):
        points = wanted(0)
        output = checkpoint(loss(function), *points, use_reentrant=reentrant)
        output.backward()
        found += tuple(torch.zeros_like(p) if p.grad is None else p.grad for p in points)
    return found


def beside_forward_mode(function: Function) -> Tensor:
    """In a thread, while another is in forward mode; the bits of a call by itself."""
    with forward_ad.dual_level():
        found = in_a_thread(lambda: function(*inputs(0)))
    assert torch.equal(found, function(*inputs(0)))
    return found


def in_a_thread(function: Callable[[], Any]) -> Any:
    results: list[Any] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(function())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


class Recorder(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def under(mode: Callable[[], Any]) -> Callable[[Function], Tensor]:
    def run(function: Function) -> Tensor:
        given = inputs(0)
        with mode():
            return function(*given)

    return run


def of_others(function: Function) -> Tensor:
    """What a program is to give that was traced with other numbers."""
    return function(*inputs(1))


def jit_traced(function: Function) -> Tensor:
    return by_jit(function, *inputs(0))(*inputs(1))


def by_jit(function: Function, *given: Tensor) -> Function:
    """The program, without torch's own warnings: of sizes that Python asks for, and of its age."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.filterwarnings("ignore", ".*torch.jit.trace", DeprecationWarning)
        return torch.jit.trace(function, given, check_trace=False)


def by_make_fx(mode: str, **options: Any) -> Callable[[Function], Tensor]:
    return lambda function: make_fx(function, tracing_mode=mode, **options)(*inputs(0))(*inputs(1))


def compiled(function: Function) -> Tensor:
    torch.compiler.reset()
    program = torch.compile(function, fullgraph=True, backend="aot_eager")
    program(*inputs(0))
    return program(*inputs(1))


class Exported(torch.nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return self.function(query, key, value)


def exported(function: Function) -> Tensor:
    return torch.export.export(Exported(function), inputs(0)).module()(*inputs(1))


def stacked() -> tuple[Tensor, ...]:
    return tuple(torch.stack(pair) for pair in zip(inputs(0), inputs(1), strict=True))


Apply = Callable[[Function], Any]
COMPILED, EXPORTED = "`torch.compile(fullgraph=True)`", "`torch.export`"
# What each state of the page is; for those that make a program, what it is to give.
VALUES: dict[str, Apply | tuple[Apply, Apply]] = {
    "eager": lambda f: f(*inputs(0)),
    "`torch.no_grad`": under(torch.no_grad),
    "`torch.inference_mode`": under(torch.inference_mode),
    "`torch.autocast`, which leaves float64 as it is": under(
        lambda: torch.autocast("cpu", torch.bfloat16)
    ),
    "another thread": lambda f: in_a_thread(lambda: f(*inputs(0))),
    "`torch.func.vmap`": lambda f: vmap(f)(*stacked()),
    "another thread in forward mode": (beside_forward_mode, lambda f: f(*inputs(0))),
    "a default device that is not the tensors'": (
        under(lambda: torch.device("meta")),
        lambda f: f(*inputs(0)),
    ),
    "a dispatch mode, such as `FlopCounterMode`": under(lambda: FlopCounterMode(display=False)),
    "a function mode": under(Recorder),
    "`torch.jit.trace`": (jit_traced, of_others),
    '`make_fx(tracing_mode="real")`': (by_make_fx("real"), of_others),
    '`make_fx(tracing_mode="fake")`': (by_make_fx("fake"), of_others),
    '`make_fx(tracing_mode="symbolic")`': (by_make_fx("symbolic"), of_others),
    "`make_fx(pre_dispatch=True)`": (by_make_fx("real", pre_dispatch=True), of_others),
    COMPILED: (compiled, of_others),
    EXPORTED: (exported, of_others),
}
DERIVATIVES: dict[str, Apply | tuple[Apply, Apply]] = {
    "backward": backward,
    "backward in another thread": lambda f: in_a_thread(lambda: backward(f)),
    "double backward": double_backward,
    "`is_grads_batched=True`": batched_gradients,
    "`autograd.functional.jacobian(vectorize=True)`": jacobian,
    "the same in forward mode": lambda f: jacobian(f, strategy="forward-mode"),
    "`autograd.functional.hessian(vectorize=True)`": lambda f: torch.autograd.functional.hessian(
        *of_query(loss(f)), vectorize=True
    ),
    "`torch.func.grad`": lambda f: grad(loss(f), argnums=(0, 1, 2))(*inputs(0)),
    "`torch.func.vjp`": lambda f: vjp(loss(f), *inputs(0))[1](torch.tensor(1.5).double()),
    "`torch.func.jvp`": lambda f: jvp(f, inputs(0), inputs(1)),
    "`torch.func.linearize`": lambda f: linearize(f, *inputs(0))[1](*inputs(1)),
    "`vmap` of `grad`": lambda f: vmap(grad(loss(f), argnums=(0, 1, 2)))(*stacked()),
    "`torch.func.jacrev`": lambda f: jacrev(f, argnums=(0, 1))(*inputs(0)),
    "`torch.func.jacfwd`": lambda f: jacfwd(f, argnums=(0, 1))(*inputs(0)),
    "`torch.func.hessian`": lambda f: hessian(loss(f))(*inputs(0)),
    "`forward_ad.dual_level`": dual,
    "`torch.utils.checkpoint`, both kinds": checkpointed,
}


STATES = VALUES | DERIVATIVES
# The compiler hands errors on as one of its own, with their text.
REFUSED = (qkv.UnsupportedError, torch._dynamo.exc.Unsupported)
REGIMES = {"at once": None, "blocks": CUT}


def assert_same(found: Any, right: Any) -> None:
    if isinstance(found, Tensor):
        torch.testing.assert_close(found, right, rtol=1e-9, atol=1e-10)
        return
    assert len(found) == len(right) > 0
    for one, other in zip(found, right, strict=True):
        assert_same(one, other)


STATE_HEAD, STATE_ROWS = table("States")
OPERATION_ROWS = {row[0]: row for row in table("Operations")[1]}
REFUSALS = {row[0]: row[1] for row in table("Refusals")[1]}
CELLS = [
    pytest.param(row[0], impl, row[column], id=f"{row[0]} by {impl}")
    for row in STATE_ROWS
    for column, impl in enumerate(STATE_HEAD)
    if column
]
# Tracing takes long: named implementations show there what they do by these alone.
SHORT = ("`A @ v`", "`A.entropy()`")
NO_PARAMETERS = ("fake", "symbolic")  # of a layer may be in such a program, says torch


def test_the_page_lists_what_there_is() -> None:
    assert {row[0] for row in STATE_ROWS} == set(STATES)
    assert set(OPERATION_ROWS) == set(OPERATIONS)
    assert STATE_HEAD[1:] == list(qkv_names())
    assert {row[c] for row in STATE_ROWS for c in range(1, 6)} == {"yes", *REFUSALS}


def qkv_names() -> tuple[str, ...]:
    return ("auto", *qkv.implementations())


def is_tracing(state: str) -> bool:
    return "make_fx" in state or "jit" in state or state in (COMPILED, EXPORTED)


def operations_of(state: str, impl: str) -> list[str]:
    names = list(OPERATIONS)
    if state in (COMPILED, EXPORTED) or (is_tracing(state) and impl != "auto"):
        names = list(SHORT)
    if any(f'"{mode}"' in state for mode in NO_PARAMETERS):
        names = [name for name in names if "layer" not in name]
    if impl == "torch":
        names = [name for name in names if OPERATION_ROWS[name][2] == "yes"]
    return names


# Torch's own, of every program that linearize makes.
@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning")
@pytest.mark.parametrize(("state", "impl", "cell"), CELLS)
def test_what_the_table_says_is_what_happens(state: str, impl: str, cell: str) -> None:
    layer(), kept()  # made once, in no state at all
    apply, right = of_state(state)
    for memory in (None, CUT) if impl in ("auto", "tiled") else (None,):
        if is_tracing(state) and impl == "auto" and memory is None:
            continue  # blocks are the harder case
        way = Way(impl, memory)
        for name in operations_of(state, impl):
            ours, theirs = (make(way) for make in OPERATIONS[name])
            if state in DERIVATIVES and OPERATION_ROWS[name][1] == "no":
                if cell == "yes":
                    assert not ours(*wanted(0)).requires_grad, name
            elif cell == "yes":
                assert_same(apply(ours), right(theirs))
            elif impl != "auto" and "layer" not in name:
                with pytest.raises(REFUSED, match=refusal(impl, cell)):
                    apply(ours)


def of_state(state: str) -> tuple[Apply, Apply]:
    how = STATES[state]
    return how if isinstance(how, tuple) else (how, how)


def refusal(impl: str, cell: str) -> str:
    transformed = cell == "no: transformed" and impl == "native"
    reason = "transforms may ask for" if transformed else REFUSALS[cell]
    absent = qkv.implementations().get(impl)  # told where nothing else stands in the way
    return reason if absent is None else f"{reason}|{re.escape(absent)}"


@pytest.mark.parametrize("name", [n for n, row in OPERATION_ROWS.items() if row[2] == "no"])
def test_what_the_fused_kernels_do_not_know_is_refused(name: str) -> None:
    with pytest.raises(qkv.UnsupportedError, match=r"its (fused kernels|dropout)"):
        OPERATIONS[name][0](Way("torch", None))(*inputs(0))


@pytest.mark.parametrize("trace", ["jit", "real", "symbolic"])
@pytest.mark.parametrize("memory", REGIMES.values(), ids=REGIMES)
def test_a_traced_program_follows_lengths(trace: str, memory: int | None) -> None:
    """Which keys a block can see depends on numbers that are given to the program."""

    def attended(query: Tensor, key: Tensor, value: Tensor, lengths: Tensor) -> Tensor:
        mask = qkv.Padding(lengths) & qkv.Causal()
        return qkv.attention(query, key, mask=mask, memory=memory) @ value

    given, other = torch.tensor([1, 2]), torch.tensor([4, 0])
    if trace == "jit":
        program = by_jit(attended, *inputs(0), given)
    else:
        program = make_fx(attended, tracing_mode=trace)(*inputs(0), given)
    assert_same(program(*inputs(1), other), attended(*inputs(1), other))


def test_compiling_beside_another_thread_in_forward_mode_is_refused() -> None:
    def product(*given: Tensor) -> Tensor:
        return Way("auto", None).matrix(*given[:2]) @ given[2]

    with (
        forward_ad.dual_level(),
        pytest.raises(REFUSED, match="forward-mode AD cannot be traced"),
    ):
        in_a_thread(lambda: compiled(product))
