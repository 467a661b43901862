"""Autograd saves what a derivative is computed from, and nothing else keeps it: checkpoints, hooks
for saved tensors and the end of a backward pass let it go, as they do for torch's own attention."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import disable_saved_tensors_hooks, saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.checkpoint import checkpoint

import qkv
from qkv.impl.structure import structure_of

HEADS, WIDTH = 4, 8
SMALL, LARGE = 12, 300  # queries: computed at once by torch operations, and in blocks
LENGTHS = (SMALL, LARGE)

Watch = Callable[[Tensor], Tensor]  # notes a tensor that is to be let go
Attention = Callable[[Tensor, Tensor, Tensor, Watch], Tensor]


@pytest.fixture(autouse=True, scope="module")
def _what_was_before_is_not_searched() -> Iterator[None]:
    """Each test here has the whole memory searched for what may go."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def said(**options: Any) -> Attention:
    """Attention with options."""
    return lambda query, key, value, watch: qkv.attend(query, key, value, **options)


def with_bias(impl: str, learnt: bool = True) -> Attention:
    """Attention with a dense bias that is made on the way."""

    def attention(query: Tensor, key: Tensor, value: Tensor, watch: Watch) -> Tensor:
        bias = watch(query @ key.mT * 0.5)
        bias = bias if learnt else bias.detach()
        return qkv.attend(query, key, value, bias=bias, impl=impl)

    return attention


def with_mask(impl: str) -> Attention:
    """Attention with a dense mask that is made on the way."""

    def attention(query: Tensor, key: Tensor, value: Tensor, watch: Watch) -> Tensor:
        allowed = watch((query @ key.mT > -1) | torch.eye(query.shape[-2], dtype=torch.bool))
        return qkv.attend(query, key, value, mask=qkv.Dense(allowed), impl=impl)

    return attention


def with_alibi(impl: str) -> Attention:
    """Attention with slopes that want a gradient."""
    slopes = torch.linspace(0.1, 0.4, HEADS, requires_grad=True)

    def attention(query: Tensor, key: Tensor, value: Tensor, watch: Watch) -> Tensor:
        return qkv.attend(query, key, value, bias=qkv.ALiBi(watch(slopes * 2)), impl=impl)

    return attention


def with_callable(query: Tensor, key: Tensor, value: Tensor, watch: Watch) -> Tensor:
    def score(query: Tensor, key: Tensor, cells) -> Tensor:
        return query @ key.mT * FACTOR

    return qkv.attend(query, key, value, score=score)


def with_additive(query: Tensor, key: Tensor, value: Tensor, watch: Watch) -> Tensor:
    return qkv.attend(query, key, value, score=qkv.Additive(watch(FACTOR * torch.ones(WIDTH))))


def entropy(query: Tensor, key: Tensor, value: Tensor, watch: Watch) -> Tensor:
    return qkv.attention(query, key).entropy()


def in_halves(impl: str) -> Attention:
    def attention(query: Tensor, key: Tensor, value: Tensor, watch: Watch) -> Tensor:
        query, key, value = (watch(tensor.to(torch.bfloat16)) for tensor in (query, key, value))
        return qkv.attend(query, key, value, impl=impl).float()

    return attention


def torch_itself(query: Tensor, key: Tensor, value: Tensor, watch: Watch) -> Tensor:
    return torch.nn.functional.scaled_dot_product_attention(query, key, value)


FACTOR = torch.tensor(0.7, requires_grad=True)
NATIVE = qkv.implementations()["native"] is None
CASES: dict[str, Attention] = {
    "torch itself": torch_itself,
    "auto": said(),
    "causal": said(mask=qkv.Causal()),
    "dropout": said(dropout=0.1),
    "torch": said(impl="torch"),
    "torch causal": said(impl="torch", mask=qkv.Causal()),
    "torch padding": said(impl="torch", mask=qkv.Padding(torch.tensor([9]))),
    "torch bias": with_bias("torch", learnt=False),
    "torch mask": with_mask("torch"),
    "tiled": said(impl="tiled"),
    "tiled window": said(impl="tiled", mask=qkv.Window(5, 0)),
    "tiled padding": said(impl="tiled", mask=qkv.Padding(torch.tensor([9]))),
    "tiled bias": with_bias("tiled"),
    "tiled mask": with_mask("tiled"),
    "tiled ALiBi": with_alibi("tiled"),
    "tiled halves": in_halves("tiled"),
    "reference": said(impl="reference"),
    "reference halves": in_halves("reference"),
    "ALiBi": said(bias=qkv.ALiBi.geometric(HEADS)),
    "learnt ALiBi": with_alibi("auto"),
    "bias": with_bias("auto"),
    "mask": with_mask("auto"),
    "callable": with_callable,
    "additive": with_additive,
    "entropy": entropy,
    "entmax": said(normalizer=qkv.Entmax(torch.tensor(1.3))),
}


class Watched:
    """A function of one tensor that makes query, key and value of it; all that is made on the way
    to attention is watched."""

    def __init__(self, attention: Attention) -> None:
        self.attention, self.made = attention, []

    def watch(self, tensor: Tensor) -> Tensor:
        self.made.append(StorageWeakRef(tensor.untyped_storage()))
        return tensor

    def __call__(self, x: Tensor) -> Tensor:
        torch.manual_seed(0)
        query, key, value = (self.watch(x * factor) for factor in (1.0, 0.5, 2.0))
        return self.attention(query, key, value, self.watch)

    @property
    def alive(self) -> int:
        """How much of it is still in memory."""
        gc.collect()
        return sum(not memory.expired() for memory in self.made)


def source(length: int) -> Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randn(1, HEADS, length, WIDTH, generator=generator).requires_grad_()


def gradient_of(output: Tensor, x: Tensor, **options: Any) -> Tensor:
    return torch.autograd.grad(output.sin().sum(), x, **options)[0]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", CASES)
def test_a_checkpoint_lets_go_and_computes_anew(name: str, length: int) -> None:
    x = source(length)
    right = gradient_of(Watched(CASES[name])(x), x)
    function = Watched(CASES[name])
    output = checkpoint(function, x, use_reentrant=False)
    assert function.alive == 0
    assert torch.equal(gradient_of(output, x), right)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", CASES)
def test_a_backward_pass_lets_go(name: str, length: int) -> None:
    x, function = source(length), Watched(CASES[name])
    output = function(x)
    loss = output.sin().sum()
    del output
    loss.backward()
    assert function.alive == 0


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", CASES)
def test_hooks_may_keep_all_elsewhere(name: str, length: int) -> None:
    x, function = source(length), Watched(CASES[name])
    right = gradient_of(Watched(CASES[name])(x), x)
    with saved_tensors_hooks(torch.clone, torch.clone):
        output = function(x)
    assert function.alive == 0
    assert torch.equal(gradient_of(output, x), right)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", CASES)
def test_a_graph_that_is_retained_gives_the_same_twice(name: str, length: int) -> None:
    x = source(length)
    output = Watched(CASES[name])(x)
    first = gradient_of(output, x, retain_graph=True)
    assert torch.equal(gradient_of(output, x, retain_graph=True), first)


SECOND = sorted(CASES.keys() - {"torch itself", "entmax", "reference halves", "tiled halves"})


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives_of_what_was_let_go(name: str, length: int) -> None:
    def second(output: Tensor) -> Tensor:
        return gradient_of(gradient_of(output, x, create_graph=True), x)

    x = source(length)
    right = second(Watched(CASES[name])(x))
    with saved_tensors_hooks(torch.clone, torch.clone):
        output = Watched(CASES[name])(x)
    torch.testing.assert_close(second(output), right)
    output = checkpoint(Watched(CASES[name]), x, use_reentrant=False)
    torch.testing.assert_close(second(output), right)


@pytest.mark.parametrize("name", ["auto", "torch", "ALiBi", "tiled"])
def test_a_graph_goes_without_a_search_for_circles(name: str) -> None:
    x = source(LARGE)
    output = Watched(CASES[name])(x)
    found = kept_by(output)
    gc.disable()
    try:
        del output
        assert found() is None
    finally:
        gc.enable()


def kept_by(output: Tensor) -> weakref.ref[Any]:
    """What a node of ours holds beside saved tensors."""
    node: Any = output.grad_fn
    while not hasattr(node, "kernel") and not hasattr(node, "blocks"):
        node = node.next_functions[0][0]
    return weakref.ref(node.kernel if hasattr(node, "kernel") else node.blocks)


def test_where_hooks_are_disabled_another_implementation_serves() -> None:
    """Torch's graph is kept by such hooks."""
    x = source(SMALL)
    with disable_saved_tensors_hooks("none here"):
        output = qkv.attend(x, x, x, mask=qkv.Causal())
        gradient_of(output, x)
        torch.testing.assert_close(qkv.attend(x.detach(), x, x, impl="tiled"), torch_of(x))
        with pytest.raises(qkv.UnsupportedError, match="hooks for saved tensors"):
            qkv.attend(x, x, x, impl="torch")
        with torch.no_grad():
            torch.testing.assert_close(qkv.attend(x, x, x, impl="torch"), torch_of(x))


def torch_of(x: Tensor) -> Tensor:
    return torch.nn.functional.scaled_dot_product_attention(x, x, x)


def test_a_structure_has_stand_ins_that_nobody_takes_for_numbers() -> None:
    query, key = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    slopes, sink = torch.ones(2), torch.zeros(2)
    matrix = qkv.attention(
        query, key, bias=[qkv.ALiBi(slopes), qkv.SoftCap(3.0)], normalizer=qkv.Softmax(sink)
    )
    bare = structure_of(matrix, (query, key, slopes.reshape(2, 1)))
    (before, _), (alibi, cap), softmax = matrix.bias, bare.bias, bare.normalizer
    assert isinstance(before, qkv.ALiBi)
    assert isinstance(alibi, qkv.ALiBi)
    assert isinstance(softmax, qkv.Softmax)
    assert alibi.slopes.shape == slopes.shape
    assert bool(alibi.slopes.isnan().all())
    assert bool(bare.query.isnan().all())
    assert cap is matrix.bias[1]
    assert softmax.sink is sink, "the row does not have it"
    assert before.slopes is slopes, "the matrix is as it was"
