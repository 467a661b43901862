"""The cases that ONNX has for its operators Attention and FlexAttention: inputs, and the outputs
that a backend must give, within the tolerance of the case. Each is run by every implementation;
graphs that cases of FlexAttention hand over are written as stages. Scores and weights, where a case
asks for them too, come from whoever can give them.

The cases named `_expanded` are the same inputs and outputs again, with the operator written in
others; they are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from importlib import import_module
from itertools import product
from typing import Any

import torch
from torch import Tensor

import qkv
from qkv.impl import choose

from .case import Case, RefusedError

NAME = "ONNX, cases of Attention and FlexAttention"
PACKAGES = ("onnx",)
ASKED_BY = "ONNX"

FILES = ("attention", "flexattention")
STARTS = tuple(f"test_{name}" for name in FILES)
INPUTS = ("Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen")
KNOWN = {  # attributes that `asked` and `answers` heed
    "is_causal", "kv_num_heads", "left_window_size", "prob_mod", "q_num_heads",
    "qk_matmul_output_mode", "right_window_size", "scale", "score_mod", "softcap",
    "softmax_precision",
}  # fmt: skip
AFTER_SOFTCAP, AFTER_BIAS, AFTER_SOFTMAX = 1, 2, 3  # of qk_matmul_output_mode; 0: products alone


def cases() -> Iterator[Case]:
    """Every case of the operators, in all their versions, by every implementation."""
    for case, impl in product(collected(), choose.NAMES):
        yield Case(f"{case.name}, impl={impl}", partial(check, case, impl))


@cache
def collected() -> list[Any]:
    """The cases of the package, each once."""
    package = import_module("onnx.backend.test.case.node")
    for name in FILES:  # whoever imports such a file makes its cases; all files take long
        import_module(f"{package.__name__}.{name}")
    return [
        case
        for case in package._NodeTestCases
        if case.name.startswith(STARTS) and "_expanded" not in case.name
    ]


def check(case: Any, impl: str) -> None:
    """Every output is the expected one."""
    from onnx.helper import get_attribute_value

    (node,) = case.model.graph.node
    attributes = {one.name: get_attribute_value(one) for one in node.attribute}
    if not attributes.keys() <= KNOWN:
        names = ", ".join(sorted(attributes.keys() - KNOWN))
        raise RefusedError(f"the attribute `{names}`")
    (inputs, expected), *_ = case.data_sets
    names = [INPUTS[place] for place, name in enumerate(node.input) if name]
    given = {name: tensor_of(array) for name, array in zip(names, inputs, strict=True)}
    pairs = zip(answers(given, attributes, impl), node.output, strict=False)  # it may ask for fewer
    found = [answer for answer, name in pairs if name]
    for ours, array in zip(found, expected, strict=True):
        right = tensor_of(array)
        assert ours.dtype == right.dtype, f"{ours.dtype} in place of {right.dtype}"
        # Two places of bfloat16, as ONNX's own runner allows.
        rtol = max(case.rtol, 2**-6) if right.dtype is torch.bfloat16 else case.rtol
        torch.testing.assert_close(ours, right, rtol=rtol, atol=case.atol)


def tensor_of(array: Any) -> Tensor:
    """The same numbers as a tensor; numpy has no bfloat16 of its own."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.astype("float32")).bfloat16()
    return torch.from_numpy(array.copy())


def answers(given: dict[str, Tensor], attributes: dict[str, Any], impl: str) -> list[Tensor]:
    """The outputs of the operator: of attention, present keys and values, and scores or weights."""
    dtype = given["Q"].dtype
    wide = in_precision(dtype, attributes.get("softmax_precision"))
    query, key, value = (
        heads(given[name].to(wide), attributes, own)
        for name, own in (("Q", "q_num_heads"), ("K", "kv_num_heads"), ("V", "kv_num_heads"))
    )
    if "past_key" in given:
        key = torch.cat([given["past_key"], key], -2)
        value = torch.cat([given["past_value"], value], -2)
    options = asked(given, attributes, query.shape[-2], key.shape[-2]) | {"impl": impl}
    output = qkv.attend(query, key, value, **options)
    if given["Q"].ndim == 3:
        output = output.transpose(1, 2).flatten(2)
    mode = attributes.get("qk_matmul_output_mode", 0)
    # Scores and weights by whoever can: that they are asked for is no reason to refuse the product.
    products = scores(query, key, options | {"impl": "auto"}, mode)
    return [one.to(dtype) for one in (output, key, value, products)]


def in_precision(dtype: torch.dtype, precision: int | None) -> torch.dtype:
    """The type to compute in so that the softmax has this precision: qkv's has at least float32."""
    from onnx import TensorProto

    if precision in (None, TensorProto.FLOAT):
        return dtype
    if precision == TensorProto.DOUBLE:
        return torch.float64
    raise RefusedError("a softmax of half precision")


def heads(tensor: Tensor, attributes: dict[str, Any], name: str) -> Tensor:
    """`[B, H, L, D]`, also of `[B, L, H * D]`."""
    if tensor.ndim == 4:
        return tensor
    return tensor.unflatten(-1, (attributes[name], -1)).transpose(1, 2)


def asked(
    given: dict[str, Tensor], attributes: dict[str, Any], queries: int, keys: int
) -> dict[str, Any]:
    """The options of `qkv.attention` that say the same."""
    masks: list[qkv.Mask] = []
    biases: list[Any] = []
    if attributes.get("softcap"):
        biases.append(qkv.SoftCap(attributes["softcap"]))
    if "attn_mask" in given:
        mask = torch.atleast_2d(given["attn_mask"])
        hidden = False if mask.dtype is torch.bool else -torch.inf
        mask = torch.nn.functional.pad(mask, (0, keys - mask.shape[-1]), value=hidden)
        if mask.dtype is torch.bool:
            masks.append(qkv.Dense(mask))
        else:
            biases.append(mask)
    if attributes.get("is_causal"):
        masks.append(qkv.Causal())
    sides = [attributes.get(f"{side}_window_size", -1) for side in ("left", "right")]
    if sides != [-1, -1]:
        masks.append(qkv.Window(*(None if side == -1 else side for side in sides)))
    offset: Any = given["past_key"].shape[-2] if "past_key" in given else 0
    if "nonpad_kv_seqlen" in given:
        lengths = given["nonpad_kv_seqlen"]
        masks.append(qkv.Padding(lengths))
        offset = lengths - queries
    options: dict[str, Any] = {"query_offset": offset, "bias": biases}
    for name in ("score_mod", "prob_mod"):
        if name in attributes:
            options |= GRAPHS[attributes[name].name]
    if "scale" in attributes:
        options["score"] = qkv.Dot(attributes["scale"])
    for mask in masks:
        options["mask"] = options["mask"] & mask if "mask" in options else mask
    return options


def scores(query: Tensor, key: Tensor, options: dict[str, Any], mode: int) -> Tensor:
    """What the last output of the operator holds."""
    matrix = qkv.attention(query, key, **options)
    if mode == AFTER_SOFTMAX:
        return matrix.dense()
    if mode == AFTER_SOFTCAP:
        capped = [bias for bias in options["bias"] if isinstance(bias, qkv.SoftCap)]
        return qkv.attention(query, key, **options | {"bias": capped}).scores(biased=True)
    if mode != AFTER_BIAS:
        return matrix.scores()
    seen = qkv.attention(query, key, **options | {"normalizer": visibility}).dense() > 0
    return matrix.scores(biased=True).masked_fill(~seen, -torch.inf)


def visibility(scores: Tensor, visible: Tensor | None) -> Tensor:
    """In place of weights: 1 where a key is seen."""
    return torch.ones_like(scores) if visible is None else visible.to(scores.dtype)


def relative(scores: Tensor, cells: Any) -> Tensor:
    return scores + (cells.row - cells.col)


# What the graphs that cases hand over say, by their names.
GRAPHS: dict[str, dict[str, Any]] = {
    "score_mod_bias": {"bias": lambda scores, cells: scores + 0.5},
    "score_mod_causal_mask": {"mask": qkv.Causal()},
    "score_mod_soft_cap": {"bias": qkv.SoftCap(20.0)},
    "score_mod_relative_positional": {"bias": relative},
    "prob_mod_scale": {"normalizer": lambda scores, visible: torch.softmax(scores, -1) * 0.5},
}
