"""Ways in which models run: compiled, checkpointed, in training, in threads, by layers of qkv."""

from __future__ import annotations

import subprocess
import sys
from threading import Thread

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

import qkv
from models import IDS, build, inputs
from qkv.capture.similarity import similarity
from qkv.nn import MultiHeadAttention

X = torch.randn(2, 6, 64, generator=torch.Generator().manual_seed(0))


class Layers(nn.Module):
    """Two layers of torch's function, checkpointed if wanted."""

    def __init__(self, reentrant: bool | None = None) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)
        self.reentrant = reentrant

    def attend(self, x, layer):
        """One of them."""
        split = layer(x).unflatten(-1, (4, 16)).transpose(1, 2)
        return F.scaled_dot_product_attention(split, split, split).transpose(1, 2).flatten(-2)

    def forward(self, x):
        """Both."""
        for layer in (self.first, self.second):
            if self.reentrant is None:
                x = self.attend(x, layer)
            else:
                x = checkpoint(self.attend, x, layer, use_reentrant=self.reentrant)
        return x


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints_are_not_seen_twice(reentrant) -> None:
    """The backward pass calls what was not kept once more; gradients are the same bits."""
    model = Layers(reentrant)

    def step():
        model.zero_grad()
        x = X.clone().requires_grad_()
        model(x).square().sum().backward()
        return [x.grad, *(parameter.grad.clone() for parameter in model.parameters())]

    alone = step()
    with qkv.observe(model) as capture:
        observed = step()
    assert all(torch.equal(a, b) for a, b in zip(alone, observed, strict=True))
    assert [call.step for call in capture.calls] == [0, 1]
    assert not capture.missed


def test_a_checkpointed_model_of_transformers_trains_the_same() -> None:
    model = build("Llama")
    model.train()
    model.activation_checkpointing_enable()
    try:

        def step():
            torch.manual_seed(0)
            model.zero_grad()
            model(**inputs("Llama"), labels=IDS, use_cache=False).loss.backward()
            return [parameter.grad.clone() for parameter in model.parameters()]

        alone = step()
        with qkv.observe(model) as capture:
            observed = step()
    finally:
        model.activation_checkpointing_disable()
        model.eval()
        model.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(alone, observed, strict=True))
    assert [call.module for call in capture.calls] == [
        "model.layers.0.self_attn",
        "model.layers.1.self_attn",
    ]


def test_a_compiled_model_runs_uncompiled_meanwhile() -> None:
    torch.compiler.reset()
    model = Layers()
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        alone = compiled(X)
        with qkv.observe(compiled) as capture:
            output = compiled(X)
        assert torch.equal(output, alone)
        assert [(call.module, call.step) for call in capture.calls] == [("", 0), ("", 1)]
        with qkv.observe(model) as capture:
            compiled(X)
        assert len(capture.calls) == 2
        before = torch._dynamo.utils.counters["frames"]["total"]
        compiled(X)
    assert torch._dynamo.utils.counters["frames"]["total"] == before  # compiled as it was
    assert not capture.missed


def test_what_is_compiled_while_it_is_observed_is_missed() -> None:
    """Where the compiler is first loaded then; before that it costs nothing."""
    code = """
import sys, torch, qkv
from torch import nn
import torch.nn.functional as F
class Model(nn.Module):
    def forward(self, x):
        return F.scaled_dot_product_attention(x, x, x)
model, x = Model(), torch.randn(1, 2, 3, 4)
with qkv.observe(model) as capture:
    assert "torch._dynamo" not in sys.modules
    torch.compile(model, backend="eager")(x)
assert [m.function for m in capture.missed] == ["torch.compile"], str(capture)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_is_missed() -> None:
    class Attends(nn.Module):
        def forward(self, x):
            """Attention."""
            return F.scaled_dot_product_attention(x, x, x)

    model = nn.Sequential(torch.jit.trace(Attends(), X), nn.Linear(64, 64))
    with qkv.observe(model) as capture:
        model(X)
    (missed,) = capture.missed
    assert (missed.module, missed.function) == ("0", "scaled_dot_product_attention")
    assert "TorchScript" in missed.reason


class OwnAttention(nn.Module):
    """Attention by exponentials and sums."""

    def forward(self, x):
        """Attention."""
        weights = (x @ x.mT).exp()
        return weights / weights.sum(-1, keepdim=True) @ x


def test_attention_of_an_unknown_way_is_missed() -> None:
    forward = OwnAttention.forward
    model = nn.ModuleDict({"a": OwnAttention(), "b": OwnAttention(), "c": Layers()})
    with qkv.observe(model) as capture:
        model["a"](X / 8)
        model["c"](X)
    assert [(m.module, m.count) for m in capture.missed] == [("a", 1)]
    assert "in a way of its own" in str(capture)
    assert OwnAttention.forward is forward
    with qkv.observe(model, where="c") as capture:
        model["a"](X / 8)
    assert not capture.missed


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_a_transform_is_missed() -> None:
    """Under vmap there are no numbers of one call."""
    model = Layers()
    with qkv.observe(model) as capture:
        torch.func.vmap(model, in_dims=0)(X[:, None])
    assert not capture.calls
    assert sum(missed.count for missed in capture.missed) == 2


def test_generation_in_another_thread() -> None:
    model, found = build("Llama"), []
    given = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    alone = model.generate(IDS, **given)
    with qkv.observe(model) as capture:
        thread = Thread(target=lambda: found.append(model.generate(IDS, **given)))
        thread.start()
        thread.join()
    assert torch.equal(found[0], alone)
    assert [call.steps for call in capture.calls] == [4, 4]


def test_layers_of_qkv() -> None:
    torch.manual_seed(0)
    layer = MultiHeadAttention(64, 4, kv_heads=2, mask=qkv.Causal() & qkv.Window(2, 0)).eval()
    with qkv.observe(layer, heads=[1, 3]) as capture:
        layer(X)
        layer.matrix(X).entropy()
    with torch.no_grad():
        alone = layer(X)
        with qkv.observe(layer) as whole:
            output = layer(X)
        right = layer.matrix(X).dense()
    assert torch.equal(output, alone)
    (call,) = whole.calls  # statistics are no attention calls
    assert (call.function, call.kind) == ("qkv.attention", "self")
    assert call.residual < 1e-6
    assert_close(call.matrix.dense(), right)
    assert_close(capture.calls[0].matrix.dense(), right[:, [1, 3]])
    plain = MultiHeadAttention(64, 4)
    with torch.no_grad(), qkv.observe(plain) as capture:
        plain(X)
        plain(X, X[:, :3])
    assert [(call.kind, *call.shape[-2:]) for call in capture.calls] == [
        ("self", 6, 6),
        ("cross", 6, 3),
    ]
    assert_close(capture.calls[0].matrix.dense(), plain.matrix(X).dense().detach())


def test_dropout_of_qkv_is_left_out_of_the_record() -> None:
    layer = MultiHeadAttention(64, 4, dropout=0.5).train()
    torch.manual_seed(1)
    alone = layer(X)
    torch.manual_seed(1)
    with qkv.observe(layer) as capture:
        output = layer(X)
    assert torch.equal(output, alone)
    (call,) = capture.calls
    assert call.matrix.dropped is None
    assert call.residual is None
    assert_close(call.matrix.dense().sum(-1), torch.ones(2, 4, 6))


@pytest.mark.parametrize("name", ["Llama", "Mistral", "T5"])
def test_the_drop_in_is_seen_as_any_other(name) -> None:
    import qkv.integrations.transformers

    qkv.integrations.transformers.register()
    model, given = build(name), inputs(name)
    with torch.no_grad(), qkv.observe(model) as right:
        model(**given)
    model.set_attn_implementation("qkv")
    try:
        with torch.no_grad():
            alone = model(**given)[0]
            with qkv.observe(model) as capture:
                output = model(**given)[0]
            with qkv.observe(model) as written:
                options = {"min_new_tokens": 4, "max_new_tokens": 4, "do_sample": False}
                model.generate(IDS, **options, cache_implementation="static")
    finally:
        model.set_attn_implementation("sdpa")
    assert torch.equal(output, alone)
    for call, expected in zip(capture.calls, right.calls, strict=True):
        assert call.function == "transformers: qkv"
        assert_close(call.matrix.dense(), expected.matrix.dense(), rtol=0, atol=1e-5)
    assert max(call.steps for call in written.calls) == 4


def test_autocast() -> None:
    model = Layers()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        alone = model(X)
        with qkv.observe(model) as capture:
            output = model(X)
    assert torch.equal(output, alone)
    assert not capture.missed
    assert {call.matrix.dtype for call in capture.calls} == {torch.bfloat16}
    assert all(call.residual < 0.02 for call in capture.calls)


def test_a_default_device(tmp_path) -> None:
    """What is asked for on the side of files and pictures is on the CPU, whatever the default."""
    model = MultiHeadAttention(64, 4)
    with torch.device("meta"):
        with qkv.observe(model, spill=tmp_path / "spilled") as capture:
            model(X)
        assert not capture.missed
        capture.save(tmp_path / "saved")
        loaded = qkv.load_capture(tmp_path / "saved")
        maps = similarity(loaded).matrix
    assert_close(loaded.calls[0].matrix.dense(), capture.calls[0].matrix.dense())
    assert_close(maps, similarity(capture).matrix)
