"""The additive score, which nobody else fuses."""

from __future__ import annotations

from functools import partial
from typing import Any

import qkv
from qkv.bench.peers import formulas
from qkv.bench.work import HEADS, Case, Contender, Inputs, Target, Work, inputs

_WIDTH = 64


def _cases(length: int) -> list[Case]:
    cases = []
    for backward, compiled, reformulated in ((False, 15.0, 1.8), (True, 30.0, 15.0)):
        shape = 1, HEADS, length, _WIDTH
        cases.append(
            Case(
                f"{'forward + backward' if backward else 'forward'}, L {length}",
                partial(inputs, shape, backward=backward, parameters=_WIDTH),
                _options,
                _peers,
                (
                    Target(formulas.COMPILED, compiled),
                    Target(formulas.REFORMULATED, reformulated),
                ),
            )
        )
    return cases


def _options(inputs: Inputs) -> dict[str, Any]:
    return {"score": qkv.Additive(inputs.parameters[0])}


def _peers(inputs: Inputs) -> list[Contender]:
    length = inputs.query.shape[-2]
    backward = inputs.cotangent is not None
    # The compiler may or may not keep a number for each pair and each feature for the backward.
    needs = 4 * HEADS * length**2 * (_WIDTH if backward else 4)
    return [
        formulas.compiled(inputs, formulas.additive_attention, needs=needs),
        formulas.compiled(
            inputs, formulas.reformulated_additive, formulas.REFORMULATED, needs=needs
        ),
    ]


WORK = Work("additive", "additive score, D 64", _cases, (512, 2048), (512,))
