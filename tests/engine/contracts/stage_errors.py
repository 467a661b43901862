"""The errors of stages and measures, for contract 7."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import qkv

QUERY, KEY = torch.ones(2, 4, 3, 8), torch.ones(2, 2, 5, 8)
INF, NAN = float("inf"), float("nan")
LONG = torch.ones(2, 3, dtype=torch.int64)


def matrix(**options: Any) -> qkv.AttentionMatrix:
    return qkv.attention(QUERY, KEY, **options)


def square(**options: Any) -> qkv.AttentionMatrix:
    return qkv.attention(QUERY, QUERY, **options)


Case = tuple[Callable[[], object], type[Exception], str]

SCORE_CASES: list[Case] = [
    (
        lambda: qkv.Bilinear(3),
        TypeError,
        "Bilinear: weight must be a tensor [Dq, Dk]; got int",
    ),
    (
        lambda: qkv.Bilinear(torch.ones(8)),
        ValueError,
        "Bilinear: weight must have shape [Dq, Dk]; got [8]",
    ),
    (
        lambda: matrix(score=qkv.Bilinear(torch.ones(8, 7))),
        ValueError,
        "attention: Bilinear weight must be [query width, key width]; "
        "got weight [8, 7], query [2, 4, 3, 8], key [2, 2, 5, 8]",
    ),
    (lambda: qkv.Cosine("1"), TypeError, "Cosine: scale must be a number; got str"),
    (lambda: qkv.Gaussian("1"), TypeError, "Gaussian: width must be a number; got str"),
    (lambda: qkv.Gaussian(0.0), ValueError, "Gaussian: width must be positive; got 0.0"),
    (lambda: qkv.Gaussian(INF), ValueError, "Gaussian: width must be finite; got inf"),
    (lambda: qkv.Gaussian(NAN), ValueError, "Gaussian: width must be positive; got nan"),
    (lambda: qkv.Cosine(NAN), ValueError, "Cosine: scale must be finite; got nan"),
    (lambda: qkv.Cosine(-INF), ValueError, "Cosine: scale must be finite; got -inf"),
    (lambda: qkv.Dot(True), TypeError, "Dot: scale must be a number or None; got bool"),
    (lambda: qkv.Dot(NAN), ValueError, "Dot: scale must be finite; got nan"),
    (lambda: qkv.Dot(INF), ValueError, "Dot: scale must be finite; got inf"),
    (
        lambda: qkv.Bilinear(torch.eye(8), "1"),
        TypeError,
        "Bilinear: scale must be a number or None; got str",
    ),
    (
        lambda: qkv.Bilinear(torch.eye(8), INF),
        ValueError,
        "Bilinear: scale must be finite; got inf",
    ),
]

BIAS_CASES: list[Case] = [
    (lambda: qkv.ALiBi(0.5), TypeError, "ALiBi: slopes must be a floating tensor [H]; got float"),
    (
        lambda: qkv.ALiBi(torch.ones(2, 2)),
        ValueError,
        "ALiBi: slopes must have shape [H]; got [2, 2]",
    ),
    (
        lambda: square(bias=qkv.ALiBi(torch.ones(3))).entropy(),
        ValueError,
        "ALiBi: slopes must have one entry per head (4); got [3]",
    ),
    (
        lambda: qkv.RelativeBias(LONG),
        TypeError,
        "RelativeBias: table must be floating, [H, buckets]; got torch.int64",
    ),
    (
        lambda: qkv.RelativeBias(torch.ones(4, 3)),
        ValueError,
        "RelativeBias: table must have shape [H, buckets] with at least 4 buckets; got [4, 3]",
    ),
    (
        lambda: qkv.RelativeBias(torch.ones(4, 32), max_distance=8),
        ValueError,
        "RelativeBias: max_distance must be more than 8, the distances that have a bucket each; "
        "got 8",
    ),
    (lambda: qkv.SoftCap("5"), TypeError, "SoftCap: limit must be a number; got str"),
    (lambda: qkv.SoftCap(0), ValueError, "SoftCap: limit must be positive; got 0"),
    (
        lambda: qkv.SoftCap(10**400),
        ValueError,
        "SoftCap: limit must be finite; got an int beyond what a float can be",
    ),
    (lambda: qkv.SoftCap(INF), ValueError, "SoftCap: limit must be finite; got inf"),
    (lambda: qkv.SoftCap(NAN), ValueError, "SoftCap: limit must be positive; got nan"),
    (
        lambda: qkv.RelativeBias(torch.ones(4, 8), max_distance=INF),
        TypeError,
        "RelativeBias: max_distance must be an int; got float",
    ),
]

MASK_CASES: list[Case] = [
    (
        lambda: qkv.Intervals(0, LONG),
        TypeError,
        "Intervals: start must be an integer tensor; got int",
    ),
    (
        lambda: qkv.Intervals(LONG, LONG.float()),
        TypeError,
        "Intervals: stop must be an integer tensor; got torch.float32",
    ),
    (
        lambda: qkv.Intervals(LONG, LONG.sum()),
        ValueError,
        "Intervals: stop must have shape [..., Lq]; got []",
    ),
    (
        lambda: square(mask=qkv.Intervals(LONG[0, :2], LONG[0, :2])).entropy(),
        ValueError,
        "Intervals: start must have one entry per query (3); got [2]",
    ),
    (
        lambda: square(mask=qkv.Intervals(LONG[:1], torch.ones(3, 1, 3).long())).entropy(),
        ValueError,
        "Intervals: stop must be broadcastable to the matrix [2, 4, 3, 3] "
        "(its heads 1, 4 or 4); got [3, 1, 3, 1]",
    ),
    (
        lambda: qkv.Documents(),
        TypeError,
        "Documents: exactly one of lengths and ids must be given; got none",
    ),
    (
        lambda: qkv.Documents(ids=[0, 1]),
        TypeError,
        "Documents: ids must be an integer tensor; got list",
    ),
    (
        lambda: qkv.Documents(lengths=LONG),
        ValueError,
        "Documents: lengths must have shape [documents]; got [2, 3]",
    ),
    (
        lambda: square(mask=qkv.Documents(ids=LONG[0, :2])).entropy(),
        ValueError,
        "Documents: ids must have one entry per key (3); got [2]",
    ),
    (
        lambda: square(mask=qkv.Documents(ids=torch.ones(3, 3).long())).entropy(),
        ValueError,
        "Documents: ids must have one row per first leading dimension of the matrix; "
        "got [3, 3] for [2, 4, 3, 3]",
    ),
    (
        lambda: square(mask=qkv.Documents(lengths=torch.tensor([4, -1]))).entropy(),
        ValueError,
        "Documents: lengths must be >= 0; got -1",
    ),
    (
        lambda: square(mask=qkv.Documents(lengths=torch.tensor([2, 2]))).entropy(),
        ValueError,
        "Documents: lengths must sum to at most the number of keys (3); got a sum of 4",
    ),
    (lambda: qkv.Window(1.5, 0), TypeError, "Window: left must be an int or None; got float"),
    (lambda: qkv.Window(1, -1), ValueError, "Window: right must be >= 0; got -1"),
    (lambda: qkv.Prefix("2"), TypeError, "Prefix: length must be an int; got str"),
    (lambda: qkv.Prefix(-2), ValueError, "Prefix: length must be >= 0; got -2"),
    (
        lambda: matrix(mask=lambda cells: cells.col) @ KEY,
        TypeError,
        "attention: the mask callable must return bool; got torch.int64",
    ),
]

NORMALIZER_CASES: list[Case] = [
    (lambda: qkv.TopK(2.0), TypeError, "TopK: k must be an int; got float"),
    (lambda: qkv.TopK(0), ValueError, "TopK: k must be positive; got 0"),
    (
        lambda: qkv.Entmax(LONG),
        TypeError,
        "Entmax: alpha must be a strided tensor of float16, bfloat16, float32 or float64; "
        "got dtype torch.int64",
    ),
    (
        lambda: qkv.Entmax(torch.full((2, 3), 1.5)),
        ValueError,
        "Entmax: a tensor alpha must have shape [H] or be a single number; got [2, 3]",
    ),
    (
        lambda: qkv.Entmax(torch.tensor([0.5])),
        ValueError,
        "Entmax: a tensor alpha must be finite and more than 1; got [0.5]",
    ),
    (
        lambda: qkv.Entmax(torch.tensor([1.5, INF])),
        ValueError,
        "Entmax: a tensor alpha must be finite and more than 1; got [1.5, inf]",
    ),
    (
        lambda: qkv.Entmax(torch.tensor(NAN)),
        ValueError,
        "Entmax: a tensor alpha must be finite and more than 1; got nan",
    ),
    (
        lambda: qkv.Entmax(INF),
        ValueError,
        "Entmax: alpha must be finite and at least 1; got inf",
    ),
    (
        lambda: qkv.Entmax(NAN),
        ValueError,
        "Entmax: alpha must be finite and at least 1; got nan",
    ),
    (lambda: qkv.Softmax("0"), TypeError, "Softmax: sink must be a number; got str"),
    (lambda: qkv.Softmax(INF), ValueError, "Softmax: sink must be finite; got inf"),
    (lambda: qkv.Softmax(NAN), ValueError, "Softmax: sink must be finite; got nan"),
    (
        lambda: qkv.Softmax(LONG),
        TypeError,
        "Softmax: sink must be a strided tensor of float16, bfloat16, float32 or float64; "
        "got dtype torch.int64",
    ),
    (
        lambda: qkv.Softmax(torch.zeros(2, 2)),
        ValueError,
        "Softmax: sink must have shape [H] or a single entry; got [2, 2]",
    ),
    (
        lambda: qkv.Sigmoid(torch.zeros(2, 2)),
        ValueError,
        "Sigmoid: bias must have shape [H] or a single entry; got [2, 2]",
    ),
    (lambda: qkv.Sigmoid(None), TypeError, "Sigmoid: bias must be a number; got NoneType"),
    (lambda: qkv.Sigmoid(-INF), ValueError, "Sigmoid: bias must be finite; got -inf"),
    (lambda: qkv.Sigmoid(NAN), ValueError, "Sigmoid: bias must be finite; got nan"),
    (
        lambda: qkv.Entmax(10**400),
        ValueError,
        f"Entmax: alpha must be finite and at least 1; got {10**400}",
    ),
    (lambda: qkv.Entmax("2"), TypeError, "Entmax: alpha must be a number or tensor; got str"),
    (
        lambda: qkv.Entmax(0.9),
        ValueError,
        "Entmax: alpha must be finite and at least 1; got 0.9",
    ),
]

MEASURE_CASES: list[Case] = [
    (
        lambda: matrix().pool(2, 2, "median"),
        ValueError,
        "pool: how must be one of max, mean, sum; got 'median'",
    ),
    (lambda: matrix().pool(0, 2), ValueError, "pool: rows must be a positive integer; got 0"),
    (
        lambda: matrix().pool(4, 5),
        ValueError,
        "pool: the map must not be larger than the matrix [3, 5]; got [4, 5]",
    ),
    (
        lambda: matrix(normalizer=qkv.Identity()).entropy(),
        qkv.UnsupportedError,
        "entropy: needs weights >= 0; got normalizer Identity",
    ),
    (
        lambda: matrix().distance(),
        ValueError,
        "distance: query_offset must be given to attention where Lq != Lk; got 3 queries, 5 keys",
    ),
    (
        lambda: matrix().diagonals([0]),
        ValueError,
        "diagonals: query_offset must be given to attention where Lq != Lk; got 3 queries, 5 keys",
    ),
    (
        lambda: matrix().diagonals(-1),
        TypeError,
        "diagonals: offsets must be a sequence of integers; got int",
    ),
    (
        lambda: matrix().diagonals([-1, 0.5]),
        TypeError,
        "diagonals: offsets must be integers; got [-1, 0.5]",
    ),
    (
        lambda: matrix().diagonals([]),
        ValueError,
        "diagonals: offsets must hold at least one integer; got none",
    ),
    (
        lambda: qkv.rollout([], 0),
        ValueError,
        "rollout: at least one matrix is needed; got none",
    ),
    (
        lambda: qkv.rollout([square()], 0, residual=2.0),
        ValueError,
        "rollout: residual must be in [0, 1]; got 2.0",
    ),
    (
        lambda: qkv.rollout([matrix()], 0),
        ValueError,
        "rollout: all matrices must be [..., 5, 5]; got [2, 4, 3, 5] in layer 0",
    ),
    (
        lambda: qkv.rollout([square(normalizer=qkv.Identity())], 0),
        qkv.UnsupportedError,
        "rollout: needs weights >= 0; got normalizer Identity",
    ),
]

PREPARE_CASES: list[Case] = [
    (
        lambda: qkv.prepare([1.0], qkv.Dot()),
        TypeError,
        "prepare: key must be a floating tensor with at least two dimensions; got list",
    ),
    (
        lambda: qkv.prepare(KEY, qkv.Bilinear(torch.ones(8, 7))),
        ValueError,
        "prepare: Bilinear weight must be [query width, key width]; "
        "got weight [8, 7], key [2, 2, 5, 8]",
    ),
    (
        lambda: qkv.attention(QUERY, qkv.prepare(KEY, qkv.Cosine()), score=qkv.Dot()),
        ValueError,
        "attention: score must be left out where key was prepared for one; "
        "got Dot beside a key prepared for Cosine",
    ),
]

STAGE_CASES = [
    *SCORE_CASES,
    *BIAS_CASES,
    *MASK_CASES,
    *NORMALIZER_CASES,
    *MEASURE_CASES,
    *PREPARE_CASES,
]
