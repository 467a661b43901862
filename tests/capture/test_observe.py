"""The context: what it takes, and that nothing of it is left behind."""

from __future__ import annotations

import contextlib
import copy
import gc
import subprocess
import sys
import types
from math import isnan

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

import qkv
from qkv.capture import patches
from qkv.capture.observe import _larger

ORIGINAL = (F.scaled_dot_product_attention,)  # not by a name that would be replaced too
X = torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(0))


class Plain(nn.Module):
    """One call of torch's function, with options."""

    def __init__(self, function=None, **options) -> None:
        super().__init__()
        self.function, self.options = function, options

    def forward(self, query, key=None, value=None):
        """Attention."""
        key = query if key is None else key
        attend = self.function or F.scaled_dot_product_attention
        return attend(query, key, key if value is None else value, **self.options)


OPTIONS = {
    "plain": {},
    "causal": {"is_causal": True},
    "scale": {"scale": 0.3},
    "bool": {"attn_mask": torch.ones(6, 6).tril().bool()},
    "float": {"attn_mask": torch.randn(2, 1, 6, 6)},
    "half hidden": {
        "attn_mask": torch.randn(4, 6, 6).masked_fill(torch.ones(6, 6).triu(1).bool(), -torch.inf)
    },
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_call_of_the_function(name) -> None:
    model = Plain(**OPTIONS[name])
    alone = model(X)
    with qkv.observe(model) as capture:
        output = model(X)
    (call,) = capture.calls
    assert torch.equal(output, alone)
    assert_close(call.matrix @ X, alone)
    assert (call.module, call.kind, call.step, call.steps) == ("", "self", 0, 1)
    assert call.residual is not None
    assert call.residual < 1e-6
    assert not capture.missed


def test_grouped_and_broadcast_heads() -> None:
    for model in (Plain(enable_gqa=True), Plain()):
        key = X[:, :2] if model.options else X[:, :1]
        with qkv.observe(model) as capture:
            output = model(X, key)
        assert_close(capture.calls[0].matrix @ key, output)
        assert capture.calls[0].residual < 1e-6


def test_other_lengths_and_alignments() -> None:
    """torch's own causal is aligned to the start; its bias can be to the end."""
    from torch.nn.attention.bias import causal_lower_right, causal_upper_left

    for options in (
        {"is_causal": True},
        {"attn_mask": causal_lower_right(4, 6)},
        {"attn_mask": causal_upper_left(4, 6)},
    ):
        model = Plain(**options)
        with qkv.observe(model) as capture:
            output = model(X[..., 2:, :], X)
        matrix = capture.calls[0].matrix
        assert_close(matrix @ X[..., : matrix.shape[-1], :], output)
    with qkv.observe(Plain()) as capture:
        pass
    assert str(capture) == "no attention call was recorded"


def test_a_residual_tells_of_another_matrix(monkeypatch) -> None:
    """It is not small by itself."""
    from qkv.capture.sources import torch_functions

    wrong = torch_functions._arrival

    def with_another_scale(given):
        return wrong({**given, "scale": 1.0})

    monkeypatch.setattr(torch_functions, "_arrival", with_another_scale)
    model = Plain()
    with qkv.observe(model) as capture:
        model(X)
    assert capture.calls[0].residual > 1e-2


def test_what_is_kept_is_the_callers_no_more() -> None:
    query, key = X.clone(), X.clone()
    model = Plain()
    with qkv.observe(model) as capture:
        model(query, key, X)
    right = capture.calls[0].matrix.dense()
    query.zero_()
    key.zero_()
    capture.calls[0].matrix.dense()
    assert torch.equal(capture.calls[0].matrix.dense(), right)
    assert not capture.calls[0].matrix.query.requires_grad


class Slope(nn.Module):
    """A callable for each stage, with a parameter and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.5))
        self.register_buffer("more", torch.tensor(1.5))

    def forward(self, *given):
        *tensors, last = given
        if len(tensors) == 2:  # a score
            return (tensors[0] @ tensors[1].mT) * self.slope + self.more
        if not tensors:  # a mask
            return (last.row - last.col).abs() < 2 * self.slope + self.more
        if isinstance(last, torch.Tensor):  # a normalizer
            return (tensors[0] * self.slope * self.more).softmax(-1)
        return tensors[0] - self.slope * (last.row - last.col).abs() + self.more


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("stage", ["score", "bias", "mask", "normalizer"])
def test_what_a_callable_captures_is_the_models_no_more(stage, mode) -> None:
    torch.manual_seed(0)
    layer = qkv.nn.MultiHeadAttention(8, 2, **{stage: Slope()})
    x = torch.randn(2, 5, 8)
    with mode(), qkv.observe(layer) as capture:
        layer(x)
    assert capture.missed == []
    assert capture.calls[0].residual == pytest.approx(0, abs=1e-6)
    before = capture.calls[0].matrix.dense()
    assert_close(before, layer.matrix(x).dense().detach())
    assert not before.requires_grad
    with torch.no_grad():
        for tensor in (*layer.parameters(), *layer.buffers()):
            tensor.add_(1.0)
    assert torch.equal(capture.calls[0].matrix.dense(), before)
    assert torch.equal(copy.deepcopy(capture).calls[0].matrix.dense(), before)
    assert not torch.allclose(layer.matrix(x).dense(), before)


class Hidden(torch.autograd.Function):
    """Torch does not see what it does with the factor."""

    @staticmethod
    def forward(ctx, x, factor):
        return x * float(factor)

    @staticmethod
    def backward(ctx, *gradients):
        return gradients[0], gradients[0].sum()


FACTOR = nn.Parameter(torch.tensor(0.5))


@pytest.mark.parametrize(
    "bias",
    [
        lambda scores, cells: Hidden.apply(scores, FACTOR),
        lambda scores, cells: scores * FACTOR if scores.shape[-1] > 1 else scores,
    ],
    ids=["hidden", "on some tiles"],
)
def test_a_callable_that_cannot_be_looked_through_is_missed(bias) -> None:
    layer = qkv.nn.MultiHeadAttention(8, 2, bias=bias)
    with torch.no_grad(), qkv.observe(layer) as capture:
        layer(torch.randn(2, 5, 8))
    assert not capture.calls
    assert [(missed.function, missed.count) for missed in capture.missed] == [("qkv.attention", 1)]
    assert "a captured tensor of shape []" in capture.missed[0].reason


def test_a_callable_that_draws_numbers_leaves_the_models_alone() -> None:
    def some(scores, cells):
        return nn.functional.dropout(scores, 0.5)

    layer, x = qkv.nn.MultiHeadAttention(8, 2, bias=some), torch.randn(2, 5, 8)
    found = []
    for watch in (contextlib.nullcontext, lambda: qkv.observe(layer)):
        torch.manual_seed(3)
        with torch.no_grad(), watch():
            found.append(torch.stack([layer(x), layer(x), torch.rand(2, 5, 8)]))
    assert torch.equal(*found)


def test_steps_with_a_normalizer_that_is_a_callable_are_one_call() -> None:
    slope = Slope()
    layer = qkv.nn.MultiHeadAttention(8, 2, mask=qkv.Causal(), normalizer=slope)
    x, cache = torch.randn(2, 5, 8), qkv.nn.KeyValueCache()
    with torch.no_grad(), qkv.observe(layer) as capture:
        for part in x[:, :4].split(2, dim=1):
            layer(part, cache=cache)
        slope.slope.add_(1.0)
        layer(x[:, 4:], cache=cache)
    assert [call.steps for call in capture.calls] == [2, 1]
    slope.slope.data.sub_(1.0)
    assert_close(capture.calls[0].matrix.dense(), layer.matrix(x[:, :4]).dense().detach())


def test_training_goes_on_as_before() -> None:
    """Gradients are the same bits, and so are the numbers that dropout draws."""
    model = Plain(dropout_p=0.3)

    def step():
        torch.manual_seed(3)
        x = X.clone().requires_grad_()
        output = model(x)
        output.square().sum().backward()
        return output.detach(), x.grad, torch.rand(3)

    alone = step()
    with qkv.observe(model) as capture:
        observed = step()
    assert all(torch.equal(a, b) for a, b in zip(alone, observed, strict=True))
    assert len(capture.calls) == 1
    assert capture.calls[0].residual is None
    assert_close(capture.calls[0].matrix.dense(), qkv.attention(X, X).dense())


def test_names_that_others_took_are_replaced_and_put_back(monkeypatch) -> None:
    before = types.ModuleType("took_it_before")
    before.attend = ORIGINAL[0]
    monkeypatch.setitem(sys.modules, "took_it_before", before)
    later = types.ModuleType("takes_it_later")
    model = Plain(lambda *args, **kwargs: before.attend(*args, **kwargs))
    with qkv.observe(model) as capture:
        later.attend = F.scaled_dot_product_attention
        monkeypatch.setitem(sys.modules, "takes_it_later", later)
        model(X)
        assert before.attend is not ORIGINAL[0]
    assert len(capture.calls) == 1
    assert before.attend is ORIGINAL[0]
    assert later.attend is ORIGINAL[0]
    assert F.scaled_dot_product_attention is ORIGINAL[0]
    assert torch._C._nn.scaled_dot_product_attention is ORIGINAL[0]


def test_nothing_is_left_behind_by_an_exception() -> None:
    softmax = vars(torch.Tensor).get("softmax")
    with pytest.raises(KeyError, match="of the model"), qkv.observe(Plain()):
        raise KeyError("of the model")
    assert F.scaled_dot_product_attention is ORIGINAL[0]
    assert vars(torch.Tensor).get("softmax") is softmax
    assert not patches._observers
    assert not patches._replaced._put


def test_contexts_inside_each_other() -> None:
    """Each sees its own model; what is put in place stays until the last leaves."""
    one, other = Plain(), Plain()
    with qkv.observe(one) as first:
        with qkv.observe(nn.ModuleDict({"own": other})) as second, qkv.observe(one) as third:
            one(X)
            other(X)
        one(X)
    assert [len(c.calls) for c in (first, second, third)] == [2, 1, 1]
    assert second.calls[0].module == "own"
    assert [call.step for call in first.calls] == [0, 1]


def test_contexts_that_cross_leave_nothing_behind() -> None:
    """As those of two threads may."""
    from torch._dynamo import eval_frame

    before = eval_frame._stance
    one, other = qkv.observe(Plain()), qkv.observe(Plain())
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert eval_frame._stance.stance == "force_eager"
    other.__exit__(None, None, None)
    assert eval_frame._stance == before
    assert not patches._replaced._put


def test_one_that_cannot_be_begun_does_not_end_the_others(monkeypatch) -> None:
    model = Plain()
    with qkv.observe(model) as capture:
        with monkeypatch.context() as patch:
            patch.setattr(patches._replaced, "place", lambda patches: 1 / 0)
            with pytest.raises(ZeroDivisionError), qkv.observe(model):
                pass
        model(X)
    assert len(capture.calls) == 1


def test_calls_of_other_threads() -> None:
    from threading import Thread

    model, outside = Plain(), Plain()
    with qkv.observe(model) as capture:
        threads = [Thread(target=m, args=(X,)) for m in (model, outside, model)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(capture.calls) == 2


def test_where() -> None:
    model = nn.ModuleDict({"a": nn.ModuleDict({"self": Plain()}), "ab": Plain(), "b": Plain()})

    def modules(where):
        with qkv.observe(model, where=where) as capture:
            for part in (model["a"]["self"], model["ab"], model["b"]):
                part(X)
        return [call.module for call in capture.calls]

    assert modules("a") == ["a.self"]
    assert modules("a*") == ["a.self", "ab"]
    assert modules("self") == ["a.self"]
    assert modules(["b", "ab"]) == ["ab", "b"]
    assert modules(None) == ["a.self", "ab", "b"]


def test_a_module_in_several_places_is_known_by_each() -> None:
    model, layer = nn.Module(), nn.ModuleDict({"attn": Plain()})
    model.first, model.second, model.other = layer, layer, Plain()
    model.deep = nn.ModuleList([nn.ModuleDict({"again": layer})])

    def modules(where):
        with qkv.observe(model, where=where) as capture:
            for part in (model.first["attn"], model.other, model.second["attn"]):
                part(X)
        return [call.module for call in capture.calls]

    assert modules(None) == ["first.attn", "other", "first.attn"]
    assert modules("first") == ["first.attn"] * 2
    assert modules("second") == ["second.attn"] * 2
    assert modules("second.attn") == ["second.attn"] * 2
    assert modules("deep.*.again") == ["deep.0.again.attn"] * 2
    assert modules("attn") == ["first.attn"] * 2
    assert modules(["deep", "second"]) == ["second.attn"] * 2
    assert modules(["other", "second"]) == ["second.attn", "other", "second.attn"]
    with pytest.raises(ValueError, match="where='third' matches no module"):
        modules("third")


def test_a_module_that_is_in_itself_has_the_paths_that_go_around_once() -> None:
    model = nn.Module()
    model.inner = Plain()
    model.inner.whole = model
    with qkv.observe(model, where="inner") as capture:
        model.inner(X)
    assert [call.module for call in capture.calls] == ["inner"]
    with pytest.raises(ValueError, match=r"where='inner\.whole\.inner' matches no module"):
        qkv.observe(model, where="inner.whole.inner").__enter__()


def test_modules_that_hold_each_other_in_many_ways_are_gone_through_in_time() -> None:
    model = nn.ModuleDict({str(n): Plain() for n in range(12)})
    for one in model.values():
        one.others = nn.ModuleDict({n: other for n, other in model.items() if other is not one})
    with qkv.observe(model, where="11") as capture:
        model["11"](X)
    assert len(capture.calls) == 1


class Calls(nn.Module):
    """It has an attention module do its work."""

    def __init__(self) -> None:
        super().__init__()
        self.own: nn.Module = Plain()

    def forward(self, x):
        return self.own(x)


def test_a_module_that_is_put_in_later_is_listed_by_its_chosen_path() -> None:
    model = nn.ModuleDict({"a": nn.ModuleDict(), "b": Calls()})
    with qkv.observe(model, where="b") as capture:
        model["b"](X)
        model["a"]["late"] = model["b"].own = Plain()
        model["b"](X)
    assert [call.module for call in capture.calls] == ["b.own", "b.own"]


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"model": 3}, TypeError, "observe: model must be a torch.nn.Module; got int"),
        ({"where": "c"}, ValueError, "observe: where='c' matches no module of the model"),
        ({"where": ["", "c"]}, ValueError, "observe: where='c' matches no module of the model"),
        ({"where": 3}, TypeError, "observe: where must be a pattern"),
        ({"heads": []}, ValueError, "observe: heads must be"),
        ({"heads": [-1]}, ValueError, "observe: heads must be"),
        ({"keep": "half"}, TypeError, "observe: keep must be torch.float16, .* got 'half'"),
        ({"keep": torch.int8}, TypeError, "observe: keep must be torch.float16"),
        ({"keep": torch.float8_e4m3fn}, TypeError, "observe: keep must be torch.float16"),
        ({"each": 3}, TypeError, "observe: each must be callable; got int"),
    ],
)
def test_mistakes(options, kind, text) -> None:
    with pytest.raises(kind, match=text), qkv.observe(**{"model": Plain(), **options}):
        pass
    assert not patches._observers


@pytest.mark.parametrize("heads", [[2], [1, 3], [0, 1, 2], [3, 1], [2, 2], [0, 1, 3]])
def test_chosen_heads_are_those_of_the_whole(heads) -> None:
    model = Plain()
    with qkv.observe(model) as whole, qkv.observe(model, heads=heads) as part:
        model(X)
    right = whole.calls[0].matrix.dense()[:, heads]
    assert_close(part.calls[0].matrix.dense(), right, rtol=0, atol=0)
    assert part.calls[0].residual < 1e-5


def test_heads_that_a_layer_does_not_have_are_missed() -> None:
    with qkv.observe(Plain(), heads=[5]) as capture:
        model = Plain()
        model(X)
    assert not capture.missed  # another model
    model = Plain()
    with qkv.observe(model, heads=[5]) as capture:
        model(X)
        model(X)
    assert [(m.reason, m.count) for m in capture.missed] == [("head 5 was asked for; it has 4", 2)]
    assert "head 5 was asked for" in str(capture)


def test_hundreds_in_a_row_leave_nothing() -> None:
    model = Plain()

    def many(count):
        for _ in range(count):
            with qkv.observe(model):
                model(X)

    many(20)
    gc.collect()
    before = len(gc.get_objects())
    many(300)
    gc.collect()
    assert len(gc.get_objects()) < before + 60
    assert F.scaled_dot_product_attention is ORIGINAL[0]


def test_it_needs_torch_alone() -> None:
    code = (
        "import sys, qkv; assert 'torch' not in sys.modules; qkv.observe; import torch;"
        "extra = {'transformers', 'numpy.linalg.lapack_lite', 'safetensors', 'matplotlib', 'rich'};"
        "assert not extra & (sys.modules.keys() - {'numpy.linalg.lapack_lite'}), extra"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("one", "other", "larger"),
    [(1.0, 2.0, 2.0), (2.0, 1.0, 2.0), (None, 1.0, None), (0.0, None, None), (None, None, None)],
)
def test_of_calls_that_go_on_the_larger_residual_is_told(one, other, larger) -> None:
    assert _larger(one, other) == larger


@pytest.mark.parametrize("pair", [(1.0, torch.nan), (torch.nan, 1.0)])
def test_a_residual_that_is_no_number_stays(pair) -> None:
    assert isnan(_larger(*pair))
