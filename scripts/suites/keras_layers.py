"""Keras's layers of attention on torch, by value: same inputs, same weights, outputs, scores and
gradients.

A layer's projections are Keras's own; what stands between them is `qkv.attend`. Where the sizes are
those that `qkv.nn.MultiHeadAttention` has, that layer runs with the same weights too. Rows whose
query is hidden, or sees no key, are not compared: Keras leaves something there, qkv 0.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

import qkv

from .case import Case, RefusedError
from .keras_shared import (
    BATCH,
    BIAS,
    HIDDEN_KEYS,
    HIDDEN_QUERIES,
    KEYS,
    PAIRS,
    QUERIES,
    WIDTH,
    combined,
    compare,
    drawn,
    every,
    layers,
    randomize,
    told,
)

NAME = "Keras, layers of attention"
PACKAGES = ("keras",)
ASKED_BY = "qkv"


def cases() -> Iterator[Case]:
    """Every layer with every way to call it."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    modes = {"use_scale": (False, True), "score_mode": ("dot", "concat")}
    yield from single_headed("Attention", modes)
    yield from single_headed("AdditiveAttention", {"use_scale": (False, True)})
    yield from many_headed("MultiHeadAttention", MULTI_HEADS)
    yield from many_headed("GroupQueryAttention", GROUPED_HEADS)
    for options in every(CALLS_OF_FUNCTION):
        if not raises(options):
            yield Case(
                f"ops.dot_product_attention with {told(options)}", partial(function, options)
            )


def raises(options: dict[str, Any]) -> bool:
    """Whether Keras's function raises: it wants one of mask and bias, and torch below it
    no bias beside causal for one key head."""
    if options["bias"] is None:
        return False
    return options["mask"] is not None or (options["is_causal"] and options["key_heads"] == 1)


# Attention and AdditiveAttention: one head, no projections.

CALLS: dict[str, Sequence[Any]] = {
    "separate_keys": (False, True),
    "query_mask": (None, HIDDEN_QUERIES),
    "value_mask": (None, HIDDEN_KEYS),
    "use_causal_mask": (False, True),
}


def single_headed(name: str, choices: dict[str, Sequence[Any]]) -> Iterator[Case]:
    """A layer of one head with all its options and calls; the last has dropout."""
    for options, call in product(every(choices), every(CALLS)):
        title = f"{name}, {told(options)}, called with {told(call)}"
        yield Case(title, partial(one_head, name, options, call))
    yield Case(f"{name} with dropout", refuse_dropout)


def refuse_dropout() -> None:
    raise RefusedError("dropout in training: which weights are dropped is drawn by another rule")


def one_head(name: str, options: dict[str, Any], call: dict[str, Any]) -> None:
    """A layer of one head beside `qkv.attend`."""
    layer = getattr(layers(), name)(**options)
    query, value, key = drawn(BATCH, QUERIES, 8), drawn(BATCH, KEYS, 8), drawn(BATCH, KEYS, 8)
    inputs = [query, value, *[key] * call["separate_keys"]]
    masks = [call["query_mask"], call["value_mask"]]
    causal = {"use_causal_mask": call["use_causal_mask"]}
    layer.build([tensor.shape for tensor in inputs])
    randomize(layer)
    right = layer(inputs, mask=masks, return_attention_scores=True, **causal)
    key = inputs[-1]
    score, asking, asked = score_of(layer, query, key)
    mask = combined(causal["use_causal_mask"], None if masks[1] is None else masks[1][:, None])
    matrix = qkv.attention(asking, asked, score=score, mask=mask, query_offset="start")
    output = matrix @ value
    if masks[0] is not None:
        output = output * masks[0][..., None]
    compare((output, matrix.dense()), right, inputs, masks[0])


def score_of(layer: Any, query: Tensor, key: Tensor) -> tuple[Any, Tensor, Tensor]:
    """The score of a layer, and what it compares."""
    factor = 1.0 if layer.scale is None else layer.scale.value
    if isinstance(layer, layers().AdditiveAttention):
        return qkv.Additive(factor * torch.ones(query.shape[-1])), query, key
    if layer.score_mode == "dot":
        return qkv.Dot(1.0), query * factor, key
    weight = layer.concat_score_weight.value * torch.ones(query.shape[-1])
    return qkv.Additive(weight), query * factor, key * factor


# MultiHeadAttention and GroupQueryAttention: projections around several heads.

MULTI_HEADS: dict[str, dict[str, Any]] = {
    "as wide as its input": {"num_heads": 3, "key_dim": 4},
    "without biases": {"num_heads": 3, "key_dim": 4, "use_bias": False},
    "with a gate": {"num_heads": 3, "key_dim": 4, "use_gate": True},
    "narrow heads": {"num_heads": 2, "key_dim": 3},
    "values of another width": {"num_heads": 2, "key_dim": 3, "value_dim": 5},
    "an output of another width": {"num_heads": 2, "key_dim": 3, "output_shape": 9},
    "a window": {"num_heads": 3, "key_dim": 4, "sliding_window": 3},
}
GROUPED_HEADS: dict[str, dict[str, Any]] = {
    "two groups": {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2},
    "one key head": {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 1},
    "as many heads": {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 4},
    "without biases": {
        "head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2, "use_bias": False,
    },
    "with a gate": {
        "head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2, "use_gate": True,
    },
    "a window": {
        "head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2, "sliding_window": 3,
    },
}  # fmt: skip
PROJECTED_CALLS: dict[str, Sequence[Any]] = {
    "separate_keys": (False, True),
    "query_mask": (None, HIDDEN_QUERIES),
    "value_mask": (None, HIDDEN_KEYS),
    "attention_mask": (None, PAIRS),
    "use_causal_mask": (False, True),
    "return_attention_scores": (False, True),
}


def many_headed(name: str, kinds: dict[str, dict[str, Any]]) -> Iterator[Case]:
    """A layer of several heads with all its options and calls."""
    for kind, options in kinds.items():
        for call in every(PROJECTED_CALLS):
            run = partial(several_heads, name, options, call)
            yield Case(f"{name}, {kind}, called with {told(call)}", run)
    yield Case(f"{name} with dropout", refuse_dropout)
    if name == "MultiHeadAttention":
        for axes in ((1,), (2,), (1, 2)):
            yield Case(f"{name} along axes {axes}", partial(along_axes, axes))
        yield Case(f"{name} as a layer of qkv.nn", as_layer)
        yield Case(f"{name} as a layer of qkv.nn, causal", partial(as_layer, use_causal_mask=True))
        yield Case(f"{name} as a layer of qkv.nn, masked", partial(as_layer, attention_mask=PAIRS))


def several_heads(name: str, options: dict[str, Any], call: dict[str, Any]) -> None:
    """A layer of several heads beside `qkv.attend` between its projections."""
    call = dict(call)
    query, value, key = (drawn(BATCH, size, WIDTH) for size in (QUERIES, KEYS, KEYS))
    inputs = [query, value, *[key] * call.pop("separate_keys")]
    layer = getattr(layers(), name)(**options)
    layer.build(*(tensor.shape for tensor in inputs))
    randomize(layer)
    right = layer(*inputs, **call)
    right = right if isinstance(right, tuple) else (right,)
    hidden = call["query_mask"]
    allowed = (None if call["value_mask"] is None else call["value_mask"][:, None, None],)
    allowed += (None if call["attention_mask"] is None else call["attention_mask"][:, None],)
    mask = combined(call["use_causal_mask"], *allowed)
    if options.get("sliding_window"):
        farthest = options["sliding_window"] - 1
        window = qkv.Window(farthest, farthest)
        mask = window if mask is None else mask & window
    matrix, values = projected(layer, query, inputs[-1], value, mask)
    output = closed(layer, matrix @ values, query)
    compare((output, matrix.dense()), right, inputs, rows_of(hidden, matrix))


def rows_of(hidden: Tensor | None, matrix: qkv.AttentionMatrix) -> Tensor | None:
    """The rows to compare: those of queries that are not hidden and see a key."""
    if matrix.mask is None:
        return hidden
    seen = (matrix.dense().sum(-1) > 0.5).all(1)
    return seen if hidden is None else seen & hidden


def projected(
    layer: Any, query: Tensor, key: Tensor, value: Tensor, mask: qkv.Mask | None
) -> tuple[qkv.AttentionMatrix, Tensor]:
    """The matrix between a layer's projections, and its values."""
    parts = zip(("query", "key", "value"), (query, key, value), strict=True)
    query, key, value = (
        getattr(layer, f"_{name}_dense")(tensor).transpose(-3, -2) for name, tensor in parts
    )
    return qkv.attention(query, key, mask=mask, query_offset="start"), value


def closed(layer: Any, summed: Tensor, query: Tensor) -> Tensor:
    """What a layer makes of the weighted sums of its heads."""
    summed = summed.transpose(-3, -2)
    if layer.get_config().get("use_gate"):
        summed = summed * layer._gate_dense(query)
    return layer._output_dense(summed)


def along_axes(axes: tuple[int, ...]) -> None:
    """Attention along some axes of a map `[B, 3, 4, width]`."""
    layer = layers().MultiHeadAttention(num_heads=3, key_dim=4, attention_axes=axes)
    x = drawn(BATCH, 3, 4, WIDTH)
    layer.build(x.shape, x.shape)
    randomize(layer)
    right = layer(x, x)
    heads = [getattr(layer, f"_{name}_dense")(x) for name in ("query", "key", "value")]
    last = [*range(-len(axes) - 1, -1)]  # where those axes go, behind that of the heads
    order = [3, *axes], [last[0] - 1, *last]
    moved = [tensor.movedim(*order) for tensor in heads]
    query, key, value = (tensor.flatten(last[0], -2) for tensor in moved)
    output = qkv.attend(query, key, value).unflatten(-2, moved[0].shape[last[0] : -1])
    output = output.movedim(*reversed(order))
    compare((layer._output_dense(output),), (right,), [x], None)


def as_layer(**call: Any) -> None:
    """`qkv.nn.MultiHeadAttention` with the weights of Keras's layer."""
    layer = layers().MultiHeadAttention(num_heads=3, key_dim=WIDTH // 3)
    x, context = drawn(BATCH, QUERIES, WIDTH), drawn(BATCH, KEYS, WIDTH)
    layer.build(x.shape, context.shape)
    randomize(layer)
    right = layer(x, context, return_attention_scores=True, **call)
    ours = qkv.nn.MultiHeadAttention(WIDTH, 3)
    state = {}
    for name, dense in (
        ("query", layer._query_dense),
        ("key", layer._key_dense),
        ("value", layer._value_dense),
        ("output", layer._output_dense),
    ):
        state[f"{name}.weight"] = dense.kernel.value.detach().reshape(WIDTH, WIDTH).T
        state[f"{name}.bias"] = dense.bias.value.detach().flatten()
    ours.load_state_dict(state)
    pairs = call.get("attention_mask")
    mask = combined(call.get("use_causal_mask", False), None if pairs is None else pairs[:, None])
    stages = {"mask": mask, "query_offset": "start"}
    found = ours(x, context, **stages), ours.matrix(x, context, **stages).dense()
    compare(found, right, [x, context], None)


# The function below the layers.

CALLS_OF_FUNCTION: dict[str, Sequence[Any]] = {
    "bias": (None, BIAS),
    "mask": (None, PAIRS[:, None]),
    "scale": (None, 0.3),
    "is_causal": (False, True),
    "key_heads": (4, 2, 1),
}


def function(options: dict[str, Any]) -> None:
    """`keras.ops.dot_product_attention`, `[B, L, H, D]`."""
    import keras

    layers()
    options = dict(options)
    heads = options.pop("key_heads")
    inputs = [drawn(BATCH, QUERIES, 4, 8), *(drawn(BATCH, KEYS, heads, 8) for _ in range(2))]
    right = keras.ops.dot_product_attention(*inputs, **options)
    query, key, value = (tensor.transpose(1, 2) for tensor in inputs)
    output = qkv.attend(
        query,
        key,
        value,
        score=qkv.Dot(options["scale"]),
        bias=options["bias"],
        mask=combined(options["is_causal"], options["mask"]),
        query_offset="start",
    )
    compare((output.transpose(1, 2),), (right,), inputs, None)
