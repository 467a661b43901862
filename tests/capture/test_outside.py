"""Other models beside the one that is observed, inside it or in what is asked of its calls."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

import qkv
from models import IDS, build

X = torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(0))


class Attending(nn.Module):
    """One call, of itself or of what it is given or holds."""

    def __init__(self, *parts: nn.Module, registered: bool = False) -> None:
        super().__init__()
        self.held = nn.ModuleList(parts) if registered else [parts]

    def forward(self, x: Tensor, *others: nn.Module) -> Tensor:
        """Attention."""
        parts = self.held if isinstance(self.held, nn.ModuleList) else self.held[0]
        for other in (*parts, *others):
            x = other(x)
        return F.scaled_dot_product_attention(x, x, x)


def seen(capture: Any) -> list[str]:
    return [call.module for call in capture.calls]


def test_a_function_that_is_asked_may_observe_another_model() -> None:
    model, other = Attending(), nn.Sequential(Attending())

    def follow(matrix: Any) -> tuple[list[str], Tensor]:
        entropy = matrix.entropy()  # no call of anyone
        with qkv.observe(other) as inner:
            other(X)
            matrix.mass()
        return [*seen(inner), *(m.reason for m in inner.missed)], entropy

    with qkv.observe(model, each=follow) as capture, qkv.observe(model) as beside:
        model(X)
    (answer,) = capture.answers
    assert answer.value[0] == ["0"]
    assert_close(answer.value[1], beside.calls[0].matrix.entropy())
    assert seen(beside) == [""]


def test_a_model_that_is_given_to_another_is_no_part_of_it() -> None:
    model, other = Attending(), nn.Sequential(Attending())
    with qkv.observe(model) as capture, qkv.observe(other) as own:
        for _ in range(2):
            model(X, other)
    assert [call.step for call in capture.calls] == [0, 1]
    (missed,) = capture.missed
    assert (missed.module, missed.count) == ("", 2)
    assert missed.reason == "Sequential makes it, which is no part of the model"
    assert seen(own) == ["0", "0"]


def test_a_module_that_is_held_in_a_list_is_a_part_of_it() -> None:
    model = nn.Sequential(Attending(nn.Sequential(Attending())))
    with qkv.observe(model) as capture:
        model(X)
    assert seen(capture) == ["0", "0"]
    assert not capture.missed


def test_a_model_that_is_edited_meanwhile_is_looked_at_again() -> None:
    model = Attending(Attending(), registered=True)
    with qkv.observe(model) as capture:
        model(X)
        model.held = nn.ModuleList([Attending(), Attending()])
        model(X)
        del model.held[0]
        model(X)
    assert seen(capture) == ["held.0", "", "held.0", "held.1", "", "held.1", ""]
    assert not capture.missed


def test_modules_that_are_gone_leave_their_places_to_nobody() -> None:
    """Others get the ids of what is collected."""
    model = nn.ModuleList(Attending() for _ in range(50))
    with qkv.observe(model) as capture:
        del model[:]
        for other in [Attending() for _ in range(50)]:
            other(X)
    assert not capture.calls


def test_who_guesses_for_a_model_that_generates_is_no_part_of_it() -> None:
    from copy import deepcopy

    model: Any = build("Llama")
    smaller = deepcopy(model)
    given: dict[str, Any] = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
    with qkv.observe(model) as capture, qkv.observe(smaller) as own:
        tokens = model.generate(IDS[:1], assistant_model=smaller, **given)
    assert seen(capture) == seen(own) == [f"model.layers.{n}.self_attn" for n in range(2)]
    assert {call.shape[-1] for call in capture.calls} == {tokens.shape[1] - 1}
    assert [missed.reason for missed in capture.missed] == [
        "LlamaForCausalLM makes it, which is no part of the model"
    ]


@pytest.mark.parametrize("where", ["layers.0", ["layers.0", "layers.1"]])
def test_chosen_modules_miss_nothing_of_others(where) -> None:
    from copy import deepcopy

    model: Any = build("Llama")
    with qkv.observe(model, where=where) as capture:
        model.generate(IDS[:1], assistant_model=deepcopy(model), max_new_tokens=3)
    assert not capture.missed
