"""Plain softmax attention, full and causal, forward and with gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

import qkv
from qkv.bench.limits import Limit
from qkv.bench.peers import flex, formulas, onnx_attention, openvino_attention, sdpa
from qkv.bench.work import HEADS, Case, Contender, Inputs, Target, Work, inputs, operations

_DENSE_NEEDS = 4 * 4  # bytes for each cell: a few matrices of float32


def _forward(length: int, dtype: torch.dtype) -> list[Case]:
    float32 = dtype == torch.float32
    widths = (64, 128) if float32 else (64,)
    cases = []
    for width in widths:
        for causal in (False, True):
            factor = (1.5 if causal else 1.3) if float32 else (2.6 if causal else 2.3)
            if float32 and causal and length == 512:
                factor = 2.2
            targets = [Target(sdpa.NAME, factor)]
            if float32:
                others = openvino_attention.NAME, onnx_attention.NAME
                targets += [Target(name, 1.0) for name in others]
            if float32 and not causal and length >= 2048:
                targets.append(Target(Limit.FLOAT32, 0.85))
            cases.append(_case(length, width, dtype, causal, False, targets))
    return cases


def _backward(length: int, dtype: torch.dtype) -> list[Case]:
    cases = []
    for causal in (False, True):
        if dtype == torch.float32:
            factor = 1.55 if causal else 1.35
            targets = [Target(sdpa.NAME, factor), Target(Limit.FLOAT32, 0.8)]
        else:
            targets = [Target(sdpa.NAME, 2.0)]
        cases.append(_case(length, 64, dtype, causal, True, targets))
    return cases


def _case(
    length: int,
    width: int,
    dtype: torch.dtype,
    causal: bool,
    backward: bool,
    targets: list[Target],
) -> Case:
    pairs = HEADS * (length * (length + 1) // 2 if causal else length**2)
    return Case(
        f"{'causal' if causal else 'full'}, D {width}, L {length}",
        partial(inputs, (1, HEADS, length, width), dtype=dtype, backward=backward),
        partial(_options, causal),
        partial(_peers, causal),
        tuple(targets),
        operations(pairs, width, backward),
        Limit.FLOAT32 if dtype == torch.float32 else Limit.BFLOAT16,
    )


def _options(causal: bool, inputs: Inputs) -> dict[str, Any]:
    return {"mask": qkv.Causal()} if causal else {}


def _peers(causal: bool, inputs: Inputs) -> list[Contender]:
    contenders = [sdpa.sdpa(inputs, causal)]
    if inputs.query.dtype != torch.float32:
        return contenders
    needs = _DENSE_NEEDS * HEADS * inputs.query.shape[-2] ** 2
    formula = formulas.causal_attention if causal else formulas.softmax_attention
    contenders.append(formulas.compiled(inputs, formula, needs=needs))
    if inputs.cotangent is None:
        contenders.append(flex.flex(inputs, visible=_before if causal else None))
        contenders.append(openvino_attention.openvino(inputs, causal))
        contenders.append(onnx_attention.onnx_runtime(inputs, causal))
    return contenders


def _before(batch: Any, head: Any, row: Any, col: Any) -> Any:
    return col <= row


_FLOAT32, _BFLOAT16 = torch.float32, torch.bfloat16
_ALL = (512, 2048, 8192)

WORKS = (
    Work("forward", "forward, float32", partial(_forward, dtype=_FLOAT32), _ALL, (2048,)),
    Work(
        "backward", "forward + backward, float32", partial(_backward, dtype=_FLOAT32), _ALL, (1024,)
    ),
    Work(
        "forward-bf16", "forward, bfloat16", partial(_forward, dtype=_BFLOAT16),
        (2048, 8192), (1024,),
    ),
    Work(
        "backward-bf16", "forward + backward, bfloat16", partial(_backward, dtype=_BFLOAT16),
        (2048, 8192), (512,),
    ),
)  # fmt: skip
