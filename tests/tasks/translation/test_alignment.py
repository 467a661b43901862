"""Where the words of a translation looked, for every kind of model, found or given."""

import json

import pytest
import torch

import qkv
from conftest import make_task
from qkv.tasks.translation import Translator
from qkv.testing import assert_close

SENTENCE, TARGET = "We drink tea.", "我们喝茶。"
TRANSFORMER = {
    "encoder": "attention", "decoder": "attention", "decoder_layers": 2, "heads": 2, "feeding": None
}  # fmt: skip


def of(model, task):
    """A translator that is not indifferent, though it has learnt nothing."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 2
    return Translator(model, task.source, task.target, 60)


def transformer():
    task = make_task(**TRANSFORMER)
    return of(task.model(), task)


def recurrent():
    task = make_task(feeding="output")
    return of(task.model(), task)


def upper():
    task = make_task()
    return of(task.model(), task)


@pytest.fixture(params=[transformer, recurrent, upper])
def any_translator(request):
    torch.manual_seed(3)
    return request.param()


def test_given_what_was_found_it_says_what_the_search_said(any_translator):
    [found] = any_translator.translate([SENTENCE])
    given = any_translator.align(f" {SENTENCE}", found.text)
    assert (given.source, given.text) == (f" {SENTENCE}", found.text)
    assert (given.tokens, given.source_tokens) == (found.tokens, found.source_tokens)
    assert given.source_spans == found.source_spans
    assert given.score == pytest.approx(found.score, abs=1e-5)
    assert_close(given.alignment.dense(), found.alignment.dense())
    for one, other in zip(given.matrices, found.matrices, strict=True):
        assert_close(one.dense(), other.dense())


def test_the_alignment_is_one_matrix_of_the_looks_that_wrote_the_tokens(any_translator):
    given = any_translator.align(SENTENCE, TARGET)
    assert given.tokens == (*TARGET, "</s>")
    sizes = len(given.tokens), len(given.source_tokens)
    layers, heads = (2, 2) if len(given.matrices) > 1 else (1, 1)
    assert [m.shape for m in given.matrices] == [(heads, sizes[0] + 1, sizes[1])] * layers
    assert isinstance(given.alignment, qkv.AttentionMatrix)
    assert given.alignment.shape == sizes
    each = torch.stack([matrix.dense() for matrix in given.matrices])
    weights = each.mean((0, 1))[:-1]
    assert_close(given.alignment.dense(), weights)
    assert_close(given.alignment.mass(), weights.sum(0))
    assert_close(given.alignment.entropy(), -torch.special.xlogy(weights, weights).sum(-1))


def test_a_row_is_the_look_before_its_token_and_the_next_one_the_look_after(any_translator):
    """Only what looked after a token was read can know that it was another one."""
    place = 2
    other = f"{TARGET[:place]}睡{TARGET[place + 1 :]}"
    given, changed = (any_translator.align(SENTENCE, text) for text in (TARGET, other))
    for one, two in zip(given.matrices, changed.matrices, strict=True):
        assert_close(two.dense()[:, : place + 1], one.dense()[:, : place + 1])
        assert not torch.allclose(two.dense()[:, place + 1], one.dense()[:, place + 1], atol=1e-4)


def test_with_one_head_the_alignment_explains_the_decoders_own_scores():
    torch.manual_seed(3)
    given = recurrent().align(SENTENCE, TARGET)
    assert type(given.alignment.score) is qkv.Additive
    weights = given.alignment.explain(4).weights
    assert_close(weights, given.matrices[0].dense()[0, 4])


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (" ", TARGET, "source must be a str with words; got ' '"),
        (SENTENCE, "", "target must be a str with words; got ''"),
        (SENTENCE, [TARGET], r"target must be a str with words; got \['"),
    ],
)
def test_there_must_be_something_to_align(translator, source, target, message):
    with pytest.raises(ValueError, match=f"Translator.align: {message}"):
        translator.align(source, target)


@pytest.mark.parametrize("make", [transformer, recurrent])
def test_what_a_folder_gives_back_says_the_same(tmp_path, make):
    made = make()
    made.save(tmp_path)
    # As in a loaded one: by this torch chooses how to multiply, and so the order of a sum.
    made.model.requires_grad_(False)
    assert Translator.load(tmp_path).translate([SENTENCE]) == made.translate([SENTENCE])


@pytest.mark.parametrize("family", [None, "encoder-decoder"])
def test_a_folder_of_another_family_is_refused(tmp_path, family):
    transformer().save(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"family": family}))
    with pytest.raises(ValueError, match=f"family must be 'sequence-to-sequence'; got {family!r}"):
        Translator.load(tmp_path)
