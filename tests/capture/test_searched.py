"""Sequences that a search writes: rows go on from others and end, and the map follows them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import qkv
from models import IDS, build
from qkv.models import SequenceToSequence, SequenceToSequenceConfig
from qkv.nn import KeyValueCache, MultiHeadAttention
from qkv.tasks.tokens import START

SOURCE = torch.tensor([[3, 4, 5, 2], [6, 2, 0, 0], [9, 8, 2, 0]])
LENGTHS = torch.tensor([4, 2, 3])
BEAM = 3
# Which row each row goes on from; the second sentence ends after two steps, the first after three.
MOVES = [
    [0, 0, 0, 3, 3, 3, 6, 6, 6],
    [1, 0, 1, 8, 6, 8],
    [5, 3, 4],
    [2, 2, 0],
]
# Where the rows of each step lie in the map.
PLACES = [list(range(9)), list(range(9)), [0, 1, 2, 6, 7, 8], [6, 7, 8], [6, 7, 8]]
OPTIONS = {"width": 16, "encoder_layers": 1, "decoder_layers": 2}
MODELS = {
    "attention": {"heads": 2},
    "input feeding": {"encoder": "gru", "decoder": "gru", "feeding": "output"},
    "general": {"encoder": "gru", "decoder": "lstm", "feeding": "upper", "score": "general"},
    "states alone": {"encoder": "gru", "decoder": "gru", "feeding": "none", "score": "dot"},
}


@pytest.fixture(params=MODELS)
def model(request) -> SequenceToSequence:
    torch.manual_seed(5)
    config = SequenceToSequenceConfig(12, 7, **OPTIONS, **MODELS[request.param])
    return SequenceToSequence(config).eval()


def written(model: SequenceToSequence) -> list[list[int]]:
    """Searches along `MOVES`; what was read in each row of the map."""
    torch.manual_seed(1)
    state = model.start(SOURCE, LENGTHS).spread(BEAM)
    read: list[list[int]] = [[] for _ in range(9)]
    tokens = torch.full((9, 1), START)
    for step, places in enumerate(PLACES):
        for place, token in zip(places, tokens.flatten().tolist(), strict=True):
            read[place] = [*read[place], token]
        _, state = model.decode(tokens, state)
        if step == len(MOVES):
            return read
        rows = torch.tensor(MOVES[step])
        before = [read[places[row]] for row in MOVES[step]]
        for place, beginning in zip(PLACES[step + 1], before, strict=True):
            read[place] = beginning
        state = state.reorder(rows)
        tokens = torch.randint(3, 7, (len(rows), 1))
    raise AssertionError


@torch.no_grad()
def test_the_steps_of_a_search_are_one_map(model) -> None:
    with qkv.observe(model, where="decoder") as capture:
        read = written(model)
    assert not capture.missed
    layers = {call.module for call in capture.calls}
    assert len(capture.calls) == len(layers)
    for call in capture.calls:
        assert call.steps == 5
        assert call.residual is not None
        assert call.residual < 1e-5
        assert call.shape[0] == 9
        assert call.shape[-2:] == (5, 5 if call.kind == "self" else 4)
    for place, tokens in enumerate(read):
        sentence = place // BEAM
        with qkv.observe(model, where="decoder") as alone:
            model(SOURCE[sentence, None], LENGTHS[sentence, None], torch.tensor([tokens]))
        for call, right in zip(capture.calls, alone.calls, strict=True):
            expected = right.matrix.dense()[0]
            rows, keys = expected.shape[-2:]
            found = call.matrix.dense()[place]
            assert_close(found[:, :rows, :keys], expected, rtol=0, atol=1e-5)
            assert found[:, rows:].count_nonzero() == 0  # it had ended
            assert found[:, :, keys:].count_nonzero() == 0


@torch.no_grad()
@pytest.mark.parametrize("name", ["en-zh", "en-zh-recurrent"])
@pytest.mark.parametrize("beam", [1, 5])
def test_shipped_translators(name, beam) -> None:
    """One map per layer and kind. What is written greedily is what the map shows."""
    translator = qkv.Translator.load(name)
    texts = ["The children are playing in the garden.", "I would like coffee."]
    alone = translator.translate(texts, beam)
    with qkv.observe(translator.model) as capture:
        seen = translator.translate(texts, beam)
    assert [one.text for one in seen] == [one.text for one in alone]
    assert [one.score for one in seen] == [one.score for one in alone]
    assert not capture.missed
    names = [(call.module, call.kind) for call in capture.calls]
    assert len(names) == (10 if name == "en-zh" else 1)
    assert len(names) == len(set(names))
    cross = [call for call in capture.calls if call.kind == "cross"]
    lengths = [len(one.tokens) for one in seen]
    if beam > 1:
        assert cross[0].shape == (2 * beam, *cross[0].shape[1:2], max(lengths), 9)
        return
    # A batch is translated with its shortest sentence first.
    for row, one in enumerate(sorted(seen, key=lambda found: len(found.source))):
        for call, right in zip(cross, one.look(), strict=True):
            expected = right.dense()[:, : len(one.tokens)]
            found = call.matrix.dense()[row]
            rows, keys = expected.shape[-2:]
            assert_close(found[:, :rows, :keys], expected, rtol=0, atol=1e-4)
            assert found[:, rows:].count_nonzero() == 0


class Followed:
    """What a beam search of transformers reads in each row, told by its cache."""

    def __init__(self, model: torch.nn.Module, monkeypatch) -> None:
        from transformers.cache_utils import EncoderDecoderCache

        self.read: Tensor | None = None
        original = EncoderDecoderCache.reorder_cache

        def reorder(cache, rows) -> None:
            original(cache, rows)
            self.rows = rows  # those of the last step, at which the search ends, are read by none

        def note(module, args, kwargs) -> None:
            new = kwargs["decoder_input_ids"]
            self.read = new if self.read is None else torch.cat([self.read[self.rows], new], 1)

        monkeypatch.setattr(EncoderDecoderCache, "reorder_cache", reorder)
        self.hook = model.register_forward_pre_hook(note, with_kwargs=True)


@pytest.mark.parametrize("options", [{}, {"cache_implementation": "static"}])
def test_beams_of_an_encoder_and_a_decoder(options, monkeypatch) -> None:
    """Queries of cross-attention follow the beams, though its keys are those of all of them."""
    model = build("T5")
    followed = Followed(model, monkeypatch)
    given = {"max_new_tokens": 7, "min_new_tokens": 7, "num_beams": 3, "do_sample": False}
    try:
        with torch.no_grad(), qkv.observe(model) as capture:
            model.generate(IDS, **given, **options)
    finally:
        followed.hook.remove()
    assert followed.read is not None
    assert len({tuple(row) for row in followed.read.tolist()}) > 2
    with torch.no_grad():
        right = build("T5", "eager")(
            IDS.repeat_interleave(3, 0), decoder_input_ids=followed.read, output_attentions=True
        )
    own, cross = capture.calls[2::2], capture.calls[3::2]
    for calls, weights in ((own, right.decoder_attentions), (cross, right.cross_attentions)):
        for call, expected in zip(calls, weights, strict=True):
            assert call.steps == 7
            assert_close(call.matrix.dense(), expected, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("heads", [None, [1], [3, 0]])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kv_heads": 2, "rotary": True},
        {"bias": qkv.ALiBi.geometric(4)},
        {"bias": qkv.RelativeBias(torch.arange(36.0).reshape(4, 9).sin())},
        {"mask": qkv.Causal() & qkv.Window(3, 0)},
        {"score": qkv.Cosine()},
        {"normalizer": qkv.Softmax(sink=torch.tensor([-1.0, 0.0, 1.0, 2.0]))},
    ],
    ids=["plain", "grouped", "ALiBi", "relative", "window", "cosine", "sink"],
)
def test_steps_of_a_layer_with_a_cache(options, heads) -> None:
    torch.manual_seed(0)
    options = {"mask": qkv.Causal(), **options}
    layer = MultiHeadAttention(64, 4, **options).eval()
    x, cache = torch.randn(2, 9, 64), KeyValueCache()
    with qkv.observe(layer, heads=heads) as capture:
        for part in x.split([4, 1, 2, 1, 1], 1):
            layer(part, cache=cache)
    (call,) = capture.calls
    assert call.steps == 5
    assert call.residual < 1e-6
    right = layer.matrix(x).dense()
    expected = right if heads is None else right[:, heads]
    assert_close(call.matrix.dense(), expected, rtol=0, atol=1e-5)
    if heads is not None:
        assert call.matrix.query.shape[1] == len(heads)  # and nothing of others is kept
