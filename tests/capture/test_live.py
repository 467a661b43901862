"""What is asked of each call while a model runs."""

from __future__ import annotations

import inspect

import pytest
import torch
from heads_made import of_scores

import qkv
from qkv.capture.live import argmax, mass_on


def test_argmax_is_the_key_of_most_weight() -> None:
    matrix = of_scores(torch.randn(2, 3, 4, 9), mask=qkv.Causal(), query_offset=5)
    assert torch.equal(argmax(matrix), matrix.dense().argmax(-1))


@pytest.mark.parametrize(
    ("span", "keys"),
    [
        ((2, 5), [2, 3, 4]),
        ((-3, None), [6, 7, 8]),
        ((None, 2), [0, 1]),
        ((7, 99), [7, 8]),
        (slice(0, None, 4), [0, 4, 8]),
        (range(1, 3), [1, 2]),
        ([0, -1], [0, 8]),
        (torch.tensor([5]), [5]),
        ((4, 4), []),
    ],
)
def test_mass_on_is_the_weight_on_the_keys(span, keys) -> None:
    matrix = of_scores(torch.randn(2, 3, 4, 9), mask=qkv.Causal(), query_offset=5)
    expected = matrix.dense()[..., keys].sum(-1)
    torch.testing.assert_close(mass_on(span)(matrix), expected)


def test_mass_on_without_heads() -> None:
    matrix = of_scores(torch.randn(4, 9))
    torch.testing.assert_close(mass_on((0, 3))(matrix), matrix.dense()[:, :3].sum(-1))


def test_answers_to_each_call_are_kept() -> None:
    attend = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.randn(1, 5, 8)
    with torch.no_grad(), qkv.observe(attend) as whole:
        attend(x, x, x)
    (matrix,) = (call.matrix for call in whole.calls)
    for each, expected in (
        (qkv.observe.argmax, matrix.dense().argmax(-1)),
        (qkv.observe.mass_on((1, 3)), matrix.dense()[..., 1:3].sum(-1)),
        (lambda matrix: None, None),
    ):
        with torch.no_grad(), qkv.observe(attend, each=each) as capture:
            attend(x, x, x)
        assert not capture.calls
        if expected is None:
            assert not capture.answers
        else:
            torch.testing.assert_close(capture.answers[0].value, expected)
            assert capture.answers[0].module == whole.calls[0].module


def test_word_times_of_whisper_while_it_generates() -> None:
    """From the heads that are asked for, without leaving the fast path, as transformers finds them
    from all weights of the slow one."""
    transformers = pytest.importorskip("transformers")
    config = transformers.WhisperConfig(
        vocab_size=99, d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=32, decoder_ffn_dim=32, max_source_positions=50,
        max_target_positions=40, num_mel_bins=8, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        decoder_start_token_id=3, suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.WhisperForConditionalGeneration(config).eval()
    features, prompt = torch.randn(1, 8, 100), torch.tensor([[3]])
    path = qkv.observe.monotonic_path(heads=[(0, 1), (1, 2)], layers=2, skip=1)
    where = [f"model.decoder.layers.{layer}.encoder_attn" for layer in (0, 1)]

    def written(**options):
        return transformers.GenerationMixin.generate(
            model, input_features=features, decoder_input_ids=prompt, max_new_tokens=12,
            min_new_tokens=12, do_sample=False, return_dict_in_generate=True, **options,
        )  # fmt: skip

    with torch.no_grad(), qkv.observe(model, where=where, each=path):
        tokens = written().sequences
    model.set_attn_implementation("eager")
    with torch.no_grad():
        slow = written(output_attentions=True)
    assert torch.equal(slow.sequences, tokens)
    times = model._extract_token_timestamps(slow, [(0, 1), (1, 2)], num_input_ids=1)[0]
    assert path.map().shape == (1, 11, 50)
    torch.testing.assert_close((path.starts() * 0.02).float(), times[1:12])


def test_what_is_no_span() -> None:
    for span, got in (((1, 2, 3), "(1, 2, 3)"), ((0, 0.5), "(0, 0.5)")):
        with pytest.raises(TypeError) as raised:
            mass_on(span)
        assert str(raised.value).endswith(f"must be a pair (start, stop) of integers; got {got}")
    with pytest.raises(TypeError, match="a slice, a range or indices; got str"):
        mass_on("text")
    with pytest.raises(IndexError, match=r"keys must be in \[-9, 9\)"):
        mass_on([9])(of_scores(torch.randn(4, 9)))


def test_observe_says_what_it_takes() -> None:
    assert [*inspect.signature(qkv.observe).parameters][:3] == ["model", "where", "heads"]
    assert inspect.getdoc(qkv.observe).startswith("Records query, key")
    assert qkv.observe.__name__ == "observe"
