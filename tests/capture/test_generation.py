"""Generation: the steps of a sequence are one map, whatever cache it has."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch.testing import assert_close

import qkv
from models import IDS, build
from qkv.capture.grown import Grown

STEPS = 5
LEFT = torch.ones_like(IDS)
LEFT[1, :5] = 0
RIGHT = LEFT.flip(1)
CASES = {
    "dynamic": {},
    "one sequence": {"one": True},
    "padded": {"real": LEFT},
    "padded on the right": {"real": RIGHT},
    "static": {"cache_implementation": "static"},
    "static, padded": {"real": LEFT, "cache_implementation": "static"},
    "static, padded on the right": {"real": RIGHT, "cache_implementation": "static"},
    "beams": {"num_beams": 3},
    "taken back": {"one": True, "prompt_lookup_num_tokens": 3},
}


def generate(name: str, one: bool = False, real=None, implementation="sdpa", **options):
    """Tokens with and without capture, what was captured, and what was seen of the tokens."""
    model = build(name, implementation)
    real = torch.ones_like(IDS) if real is None else real
    count = 1 if one else 2
    given = {"input_ids": IDS[:count], "attention_mask": real[:count], "pad_token_id": 0}
    given |= {"max_new_tokens": STEPS + 1, "min_new_tokens": STEPS + 1, "do_sample": False}
    alone = model.generate(**given, **options)
    with qkv.observe(model) as capture:
        tokens = model.generate(**given, **options)
    assert torch.equal(tokens, alone)
    assert not capture.missed
    more = max(0, tokens.shape[-1] - real.shape[-1])
    return tokens, capture, torch.cat([real[:count], torch.ones(count, more, dtype=torch.int64)], 1)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["Llama", "Mistral"])
def test_the_steps_are_one_map(name, case) -> None:
    """With a window of 8, caches that forget keys among them."""
    if (name, case) == ("Mistral", "taken back"):
        pytest.skip("its cache forgets keys that it would go back to")
    tokens, capture, real = generate(name, **CASES[case])
    length = tokens.shape[-1] - 1  # the last one is not read again
    assert [call.module for call in capture.calls] == [
        "model.layers.0.self_attn",
        "model.layers.1.self_attn",
    ]
    for call in capture.calls:
        assert call.shape[-2:] == (length, length)
        assert call.steps == STEPS + 1 if case != "taken back" else call.steps <= STEPS + 1
        assert call.matrix.offset == 0
        assert call.residual is not None
        assert call.residual < 1e-5
    if case == "beams":
        return  # which beams were given out is not what was written last
    prompt = IDS.shape[1]
    position = (real.cumsum(1) - 1).clamp(min=0) * real
    # Generation counts on from the prompt's last place, also where that is padding.
    position[:, prompt:] = position[:, prompt - 1 : prompt] + torch.arange(1, STEPS + 2)
    eager = build(name, "eager")
    with torch.no_grad():
        right = eager(tokens, attention_mask=real, position_ids=position, output_attentions=True)
    for call, weights in zip(capture.calls, right.attentions, strict=True):
        seen = real.bool()[:, None, :length, None]
        expected = weights[..., :length, :length] * seen
        assert_close(call.matrix.dense() * seen, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"num_beams": 2}, {"cache_implementation": "static"}])
def test_an_encoder_and_a_decoder(options) -> None:
    """Position biases of the steps join as well; a second run is another sequence."""
    tokens, capture, _ = generate("T5", **options)
    length = tokens.shape[-1] - 1
    shapes = [(call.kind, call.step, call.steps, *call.shape[-2:]) for call in capture.calls]
    decoder = [("self", 0, length, length, length), ("cross", 0, length, length, 16)]
    assert shapes == [("self", 0, 1, 16, 16)] * 2 + decoder * 2
    if options:
        return
    model = build("T5", "eager")
    with torch.no_grad():
        right = model(IDS, decoder_input_ids=tokens[:, :length], output_attentions=True)
    own, cross = capture.calls[2::2], capture.calls[3::2]
    for calls, weights in ((own, right.decoder_attentions), (cross, right.cross_attentions)):
        for call, expected in zip(calls, weights, strict=True):
            assert_close(call.matrix.dense(), expected, rtol=0, atol=1e-5)


def test_sequences_one_after_the_other_are_apart() -> None:
    model = build("T5")
    given = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}
    with qkv.observe(model) as capture:
        model.generate(IDS, **given)
        model.generate(IDS, **given)
        model(IDS, decoder_input_ids=IDS[:, :3])
        model(IDS, decoder_input_ids=IDS[:, :3])
    of_layer = [c for c in capture.calls if c.module == "decoder.block.1.layer.1.EncDecAttention"]
    assert [(call.step, call.steps, call.shape[-2]) for call in of_layer] == [
        (0, 3, 3),
        (3, 3, 3),
        (6, 1, 3),
        (7, 1, 3),
    ]


def test_memory_is_linear_in_what_is_written() -> None:
    model = build("Llama")
    with qkv.observe(model) as capture:
        model.generate(IDS[:1], max_new_tokens=60, min_new_tokens=60, do_sample=False)
    for call in capture.calls:
        matrix = call.matrix
        for tensor in (matrix.query, matrix.key):
            assert tensor.untyped_storage().nbytes() <= 1.5 * tensor.numel() * 4


def test_in_inference_mode_what_is_kept_may_be_used_outside() -> None:
    model = build("Llama")
    with torch.inference_mode(), qkv.observe(model) as capture:
        model.generate(IDS, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    matrix = capture.calls[0].matrix
    value = torch.randn(2, 2, 19, 16, requires_grad=True)
    (matrix @ value).sum().backward()
    assert value.grad is not None


def test_keys_in_a_smaller_dtype_join_as_well() -> None:
    model = build("Llama")
    given = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    with qkv.observe(model, keep=torch.bfloat16) as capture:
        model.generate(IDS, **given)
    with qkv.observe(model) as whole:
        model.generate(IDS, **given)
    for call, exact in zip(capture.calls, whole.calls, strict=True):
        assert call.steps == 4
        assert_close(call.matrix.dense().float(), exact.matrix.dense(), rtol=0, atol=0.03)


def test_a_tensor_that_grows() -> None:
    first = torch.arange(6.0).view(1, 3, 2)
    grown = Grown(first.clone(), -2)
    seen = [grown.now]
    for place in range(50):
        grown.add(torch.full((1, 1, 2), float(place)))
        seen.append(grown.now)
    whole = torch.cat([first, torch.arange(50.0).view(1, 50, 1).expand(1, 50, 2)], 1)
    assert all(torch.equal(part, whole[:, : part.shape[1]]) for part in seen)
    before = grown.now
    grown.cut(4)
    grown.add(torch.full((1, 2, 2), -1.0))
    assert torch.equal(before, whole)
    assert grown.now[0, :, 0].tolist() == [0, 2, 4, 0, -1, -1]


@pytest.mark.parametrize(("name", "beams"), [("Llama", 1), ("T5", 3)])
def test_what_is_written_is_spilled_as_well(name, beams, tmp_path) -> None:
    model = build(name)
    given = {"max_new_tokens": 30, "min_new_tokens": 30, "num_beams": beams, "do_sample": False}
    with qkv.observe(model, spill=tmp_path) as capture:
        model.generate(IDS, **given)
    with qkv.observe(model) as whole:
        model.generate(IDS, **given)
    for call, other in zip(capture.calls, whole.calls, strict=True):
        assert torch.equal(call.matrix.dense(), other.matrix.dense())
    with open("/proc/self/maps") as maps:
        files = [line for line in maps if str(tmp_path) in line]
    assert len(files) >= 4  # query and key of two layers
    assert not list(tmp_path.iterdir())


def test_a_pickle_is_what_was_written_so_far() -> None:
    _, capture, _ = generate("Llama")
    same = pickle.loads(pickle.dumps(capture))
    assert str(same) == str(capture)
    for one, other in zip(same.calls, capture.calls, strict=True):
        assert torch.equal(one.matrix.dense(), other.matrix.dense())
