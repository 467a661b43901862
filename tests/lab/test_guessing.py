"""Learning to guess hidden words."""

import torch

from qkv.lab.drawn import HELD_OUT
from qkv.lab.encoders import ATTENTION, encoder_maker
from qkv.lab.guessing import HIDDEN, HiddenTask
from qkv.lab.training import trained
from qkv.tasks.tokens import PADDING, Tokens

TEXTS = [f"the {a} dog ate the {b} bone of the {a} cat" for a in ("old", "big") for b in "xyz"]
HELD = ["a cat sat"]


def task(**changes):
    budget = {"steps": 150, "sequences": 16, "row": 8} | changes
    tokens = Tokens.train("pieces", TEXTS + HELD, 300, lowercase=True)
    make = encoder_maker(ATTENTION, 16, layers=1, heads=2)
    return HiddenTask(tokens, TEXTS, HELD, lambda: make(16), budget, 0)


def test_what_is_asked_is_hidden_changed_or_left():
    made = task(sequences=400)
    batch = made.examples(3)
    shown, lengths, asked = batch.inputs
    assert torch.equal(shown, made.examples(3).inputs[0])
    real = torch.arange(shown.shape[1]) < lengths.unsqueeze(1)
    assert (asked <= real).all()
    assert 0.12 < float(asked.sum() / real.sum()) < 0.18
    assert ((shown == HIDDEN) <= asked).all()
    assert 0.7 < float((shown == HIDDEN)[asked].float().mean()) < 0.9
    left = float((shown[asked] == batch.classes).float().mean())
    assert 0.03 < left < 0.17
    assert (shown[real] != PADDING).all()
    assert lengths.max() <= 8


def test_what_is_validated_on_is_not_trained_on():
    made = task()
    (held,) = made.tokens.encode(HELD)
    assert all(len(one) <= 8 for one in made.train)
    assert {tuple(row) for row in made.held} == {tuple(held[:8]), tuple(held[8:])} - {()}
    tokens, _, asked = made.examples(HELD_OUT).inputs
    assert {int(token) for token in tokens[~asked]} <= {*held, PADDING}


def test_it_learns_what_the_neighbours_tell(tmp_path, one_thread):
    made = task()
    figures = trained(made, tmp_path, epochs=1, seed=0, rate=0.01)
    model = made.model().eval()
    model.load_state_dict(made.weights)
    shown, lengths, asked = made.examples(7).inputs
    right = model(shown, lengths, asked).argmax(-1) == made.examples(7).classes
    assert float(right.float().mean()) > 0.4
    assert figures[-1]["accuracy"] >= 0
    logits = model(shown, lengths, asked)
    states = model.output(model.read(shown, lengths)[asked])
    torch.testing.assert_close(logits, states @ model.embedding.weight.T)
