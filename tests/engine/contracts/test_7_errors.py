"""Contract 7: errors name the function, the argument, the rule and what was given."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from stage_errors import STAGE_CASES
from torch.fx.experimental.proxy_tensor import make_fx

import qkv
from qkv import attention
from qkv.matrix.picture import draw

QUERY, KEY = torch.ones(2, 4, 3, 8), torch.ones(2, 2, 5, 8)


def matrix(**options) -> qkv.AttentionMatrix:
    return attention(QUERY, KEY, **options)


CASES: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: attention([1], KEY), TypeError, "attention: query must be a tensor; got list"),
    (
        lambda: attention(QUERY, KEY.long()),
        TypeError,
        "attention: key must be floating; got dtype torch.int64",
    ),
    (
        lambda: attention(torch.ones(8), KEY),
        ValueError,
        "attention: query must have at least two dimensions [length, width]; got [8]",
    ),
    (
        lambda: attention(QUERY, torch.ones(2, 2, 5, 9)),
        ValueError,
        "attention: key width must equal query width; got query [2, 4, 3, 8], key [2, 2, 5, 9]",
    ),
    (
        lambda: attention(QUERY, KEY.double()),
        ValueError,
        "attention: query and key must share dtype and device; "
        "got torch.float32 on cpu and torch.float64 on cpu",
    ),
    (
        lambda: attention(QUERY, torch.ones(2, 3, 5, 8)),
        ValueError,
        "attention: the number of query heads must be a multiple of that of key heads; "
        "got query [2, 4, 3, 8], key [2, 3, 5, 8]",
    ),
    (
        lambda: matrix(group="world"),
        TypeError,
        "attention: group must be a process group of torch.distributed; got str",
    ),
    (
        lambda: matrix(shards="striped"),
        ValueError,
        "attention: shards must be one of in order, balanced; got 'striped'",
    ),
    (
        lambda: matrix(shards="balanced"),
        ValueError,
        "attention: shards must be left out without a group; got 'balanced'",
    ),
    (
        lambda: attention(QUERY, torch.ones(3, 2, 5, 8)),
        ValueError,
        "attention: batch dimensions of query and key must broadcast; "
        "got query [2, 4, 3, 8], key [3, 2, 5, 8]",
    ),
    (
        lambda: matrix(mask=torch.ones(3, 5, dtype=torch.bool)),
        TypeError,
        "attention: mask must be a qkv mask, a callable or None; got Tensor; "
        "wrap a bool tensor in qkv.Dense",
    ),
    (
        lambda: matrix(normalizer="softmax"),
        TypeError,
        "attention: normalizer must be a qkv normalizer or a callable; got str",
    ),
    (
        lambda: matrix(score=qkv.Dot),
        TypeError,
        "attention: score must be a qkv score or a callable; got the class itself; write Dot()",
    ),
    (
        lambda: matrix(bias=torch.ones(3, 5, dtype=torch.int64)),
        TypeError,
        "attention: bias must be a floating tensor, a qkv bias or a list of them; "
        "got a tensor of torch.int64",
    ),
    (
        lambda: matrix(impl="flash"),
        ValueError,
        "attention: impl must be one of auto, native, torch, tiled, reference; got 'flash'",
    ),
    (
        lambda: matrix(memory=0),
        ValueError,
        "attention: memory must be a positive number of bytes; got 0",
    ),
    (
        lambda: matrix(mask=qkv.Causal()),
        ValueError,
        "attention: query_offset must be given where Causal asks for positions and Lq != Lk; "
        'got 3 queries, 5 keys. "start" (0): the first query stands at the first key; "end" (2): '
        "the last query stands at the last key, as in decoding",
    ),
    (
        lambda: matrix(query_offset="middle"),
        ValueError,
        'attention: query_offset must be "start" or "end"; got \'middle\'',
    ),
    (
        lambda: matrix(query_offset=torch.tensor([1, 2, 3])),
        ValueError,
        "attention: query_offset must hold one integer per first leading dimension (2); "
        "got torch.int64 of shape [3]",
    ),
    (
        lambda: matrix(query_offset=1.5),
        TypeError,
        'attention: query_offset must be an int, an int tensor, "start" or "end"; got float',
    ),
    (
        lambda: matrix(query_offset=-(2**61) - 1),
        ValueError,
        "attention: query_offset must lie in -2**61 ... 2**61; got -2305843009213693953",
    ),
    (
        lambda: matrix(bias=torch.ones(3, 4)) @ KEY,
        ValueError,
        "attention: bias must be broadcastable to the matrix [2, 4, 3, 5] (its heads 1, 2 or 4); "
        "got [3, 4]",
    ),
    (
        lambda: matrix() @ KEY[..., :4, :],
        ValueError,
        "A @ value: value must have one row per key (5); got [2, 2, 4, 8]",
    ),
    (
        lambda: matrix() @ torch.ones(3, 2, 5, 8),
        ValueError,
        "attention: batch dimensions must broadcast; got [2], [2], [3]",
    ),
    (
        lambda: matrix().mT @ KEY,
        ValueError,
        "A.mT @ x: x must have one row per query (3); got [2, 2, 5, 8]",
    ),
    (
        lambda: matrix() @ KEY.double(),
        ValueError,
        "A @ value: value must have the dtype and device of the matrix (torch.float32, cpu); "
        "got torch.float64, cpu",
    ),
    (
        lambda: matrix() @ torch.ones(5),
        ValueError,
        "A @ value: value must have at least two dimensions; got [5]",
    ),
    (
        lambda: matrix().measure(qkv.Mass),
        TypeError,
        "measure: measures such as qkv.Mass() are needed; got the class itself; write Mass()",
    ),
    (lambda: matrix() @ [1], TypeError, "A @ value: value must be a tensor; got list"),
    (
        lambda: torch.exp(matrix()),
        TypeError,
        "exp: an attention matrix is no tensor; multiply by it from the left (A @ value, A.mT @ x) "
        "or take A.dense()",
    ),
    (lambda: matrix().measure(), TypeError, "measure: at least one measure is needed; got none"),
    (
        lambda: matrix().dense(max_bytes=100),
        ValueError,
        "dense: the whole matrix [2, 4, 3, 5] would take 480 bytes, max_bytes is 100; "
        "take a region A[..., rows, cols] or a statistic",
    ),
    (
        lambda: matrix().plan("sum"),
        ValueError,
        "plan: operation must be one of matmul, mT, dense, top, entropy, mass, distance, "
        "diagonals, support, pool, logsumexp; got 'sum'",
    ),
    *(
        (
            lambda given=given: matrix().plan(given),
            TypeError,
            "plan: operation must be the name of one, a measure or several of them; "
            f"got {type(given).__name__}",
        )
        for given in (3, None, 2.5, KEY)
    ),
    *(
        (
            lambda dtype=dtype: matrix().to(dtype),
            TypeError,
            f"to: dtype must be float16, bfloat16, float32 or float64; got {dtype}",
        )
        for dtype in (torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn)
    ),
    (
        lambda: matrix().to(torch.ones(1, dtype=torch.int32)),
        TypeError,
        "to: dtype must be float16, bfloat16, float32 or float64; got torch.int32",
    ),
    (
        lambda: matrix().to(memory_format=torch.channels_last),
        ValueError,
        "to: memory_format must be left out for a matrix; got torch.channels_last",
    ),
    *(
        (
            lambda row=row: matrix().explain(row),
            TypeError,
            f"explain: row must be an integer; got {got}",
        )
        for row, got in [
            ("a", "str"),
            (1.5, "float"),
            (True, "bool"),
            (None, "NoneType"),
            (slice(None), "slice"),
        ]
    ),
    *(
        (
            lambda row=row: matrix().explain(row),
            IndexError,
            f"explain: row must be in [-3, 3); got {row}",
        )
        for row in (3, -4)
    ),
    *(
        (lambda call=call, at=at: call(at), kind, f"{where}: at must {rule}; got {at!r}")
        for where, call in [
            ("explain", lambda at: matrix().explain(0, at=at)),
            ("picture", lambda at: draw(matrix(), "map.png", None, None, at, "")),
        ]
        for at, kind, rule in [
            ((0, 9), IndexError, "be an entry of the leading dimensions [2, 4]"),
            ((-3, 0), IndexError, "be an entry of the leading dimensions [2, 4]"),
            ((0,), ValueError, "give one index per leading dimension of [2, 4, 3, 5]"),
            ((0, 0, 0), ValueError, "give one index per leading dimension of [2, 4, 3, 5]"),
            (3, TypeError, "be a tuple of integers"),
            ("ab", TypeError, "be a tuple of integers"),
            ((0, "a"), TypeError, "be a tuple of integers"),
            ((0, 1.5), TypeError, "be a tuple of integers"),
            ((True, 0), TypeError, "be a tuple of integers"),
            ((0, None), TypeError, "be a tuple of integers"),
            ((0, slice(None)), TypeError, "be a tuple of integers"),
            (([0], 0), TypeError, "be a tuple of integers"),
        ]
    ),
    (
        lambda: matrix().explain(0, KEY[..., :4, :]),
        ValueError,
        "explain: value must have one row per key (5); got [2, 2, 4, 8]",
    ),
    (lambda: matrix().top(0), ValueError, "top: k must be a positive integer; got 0"),
    (
        lambda: matrix().top(6),
        ValueError,
        "top: k must be at most the number of keys (5); got 6",
    ),
    (lambda: matrix().dropout(1.0), ValueError, "dropout: p must be in [0, 1); got 1.0"),
    *(
        (
            lambda given=given: qkv.attend(QUERY, KEY, KEY, dropout=given),
            ValueError,
            f"attend: dropout must be in [0, 1); got {given}",
        )
        for given in (1.0, -0.5, True, float("nan"))
    ),
    (
        lambda: matrix(normalizer=qkv.Entmax(torch.tensor([1.0002]))).to(torch.float16),
        ValueError,
        "to: a parameter of a stage breaks its rule once it is rounded to torch.float16: Entmax: a "
        "tensor alpha must be finite and more than 1; got [1.0]",
    ),
    (
        lambda: matrix().dropout(0.5, seed=torch.ones(2)),
        ValueError,
        "dropout: seed must be a single integer; got tensor([1., 1.])",
    ),
    (
        lambda: matrix().dropout(0.5, seed=2**64),
        ValueError,
        "dropout: seed must be in [-2**63, 2**64); got 18446744073709551616",
    ),
    (
        lambda: matrix()[0, ..., 1, ...],
        IndexError,
        "A[..., rows, cols]: at most 4 indices and one ellipsis fit a matrix [2, 4, 3, 5]; "
        "got 2 and 2",
    ),
    (
        lambda: matrix()[2],
        IndexError,
        "A[..., rows, cols]: leading indices must be in [-2, 2); got [2]",
    ),
    (
        lambda: matrix()[..., "all", 1],
        TypeError,
        "A[..., rows, cols]: rows must be an integer, a slice or an index tensor; got str",
    ),
    (
        lambda: matrix()[..., 0, torch.ones(2)],
        TypeError,
        "A[..., rows, cols]: cols must be a vector of integers; got torch.float32 of shape [2]",
    ),
    (
        lambda: make_fx(lambda chosen: matrix()[..., chosen, 0])(torch.ones(3, dtype=torch.bool)),
        qkv.UnsupportedError,
        "A[..., rows, cols]: rows must not be a bool tensor where a program is traced, for how "
        "many it chooses depends on its values; give an index tensor",
    ),
    (
        lambda: matrix()[..., 3, 0],
        IndexError,
        "A[..., rows, cols]: rows must be in [-3, 3); got [3]",
    ),
    (
        lambda: qkv.Dot("one"),
        TypeError,
        "Dot: scale must be a number or None; got str",
    ),
    (
        lambda: qkv.Additive(3),
        TypeError,
        "Additive: weight must be a tensor [D]; got int",
    ),
    (
        lambda: qkv.Additive(torch.ones(2, 2)),
        ValueError,
        "Additive: weight must have shape [D]; got [2, 2]",
    ),
    (
        lambda: qkv.Additive(torch.ones(2), torch.ones(3)),
        ValueError,
        "Additive: bias must be as wide as weight; got weight [2], bias [3]",
    ),
    (
        lambda: matrix(score=qkv.Additive(torch.ones(2))),
        ValueError,
        "attention: Additive weight must be as wide as query and key; "
        "got weight [2], query [2, 4, 3, 8]",
    ),
    (
        lambda: matrix(score=lambda q, k, cells: 1.0) @ KEY,
        TypeError,
        "attention: the score callable must return a tensor; got float",
    ),
    (
        lambda: matrix(score=lambda q, k, cells: q @ k.mT * 1j) @ KEY,
        TypeError,
        "attention: the score callable must return float16, bfloat16, float32, float64, integers "
        "or bool; got torch.complex64",
    ),
    (
        lambda: matrix(bias=lambda scores, cells: scores.to_sparse()) @ KEY,
        TypeError,
        "attention: the bias callable must return a strided tensor; got torch.sparse_coo",
    ),
    (
        lambda: matrix(score=lambda q, k, cells: k) @ KEY,
        ValueError,
        "attention: the score callable must return a tensor broadcastable to its tile "
        "[2, 4, 3, 5]; got [2, 4, 5, 8]",
    ),
    (
        lambda: matrix(score=lambda q, k, cells: cells.position - cells.col) @ KEY,
        ValueError,
        "attention: query_offset must be given where a callable asks for cells.position and "
        "Lq != Lk; got 3 queries, 5 keys",
    ),
    (
        lambda: qkv.Causal() & torch.ones(3, 5, dtype=torch.bool),
        TypeError,
        "mask &: the other side must be a qkv mask; got Tensor",
    ),
    (
        lambda: qkv.Dense(torch.ones(3)),
        TypeError,
        "Dense: allowed must be a bool tensor, True = may look; got torch.float32",
    ),
    (
        lambda: matrix(mask=qkv.Dense(torch.ones(3, 5, 5) > 0)) @ KEY,
        ValueError,
        "Dense: allowed must be broadcastable to the matrix [2, 4, 3, 5] (its heads 1, 2 or 4); "
        "got [3, 5, 5]",
    ),
    (
        lambda: qkv.Padding([1, 2]),
        TypeError,
        "Padding: lengths must be an integer tensor; got list",
    ),
    (
        lambda: qkv.Padding(torch.ones(2)),
        TypeError,
        "Padding: lengths must be an integer tensor; got dtype torch.float32",
    ),
    (
        lambda: qkv.Padding(torch.ones(2, 2).long()),
        ValueError,
        "Padding: lengths must have shape [B]; got [2, 2]",
    ),
    (
        lambda: matrix(mask=qkv.Padding(torch.tensor([1, 2, 3]))) @ KEY,
        ValueError,
        "Padding: lengths must have one entry per first leading dimension of the matrix; "
        "got [3] for [2, 4, 3, 5]",
    ),
    (
        lambda: attention(KEY[0, 0], KEY[0, 0], mask=qkv.Padding(torch.ones(5).long())) @ KEY[0, 0],
        ValueError,
        "Padding: lengths must have one entry per first leading dimension of the matrix; "
        "got [5] for [5, 5]",
    ),
    (
        lambda: matrix(normalizer=qkv.Sparsemax()).logsumexp(),
        qkv.UnsupportedError,
        "logsumexp: defined for a softmax alone; got normalizer Sparsemax",
    ),
    (
        lambda: matrix(impl="torch", mask=lambda cells: cells.col > 0).mass(),
        qkv.UnsupportedError,
        'attention: impl="torch" cannot serve this request: its fused kernels compute A @ value '
        "alone; these can: tiled, reference",
    ),
]


ALL_CASES = [*CASES, *STAGE_CASES]


@pytest.mark.parametrize(
    ("call", "kind", "text"), ALL_CASES, ids=[text[:60] for _, _, text in ALL_CASES]
)
def test_the_text(call, kind, text) -> None:
    with pytest.raises(kind, match=f"^{re.escape(text)}$") as caught:
        call()
    assert type(caught.value) is kind


def patterns(path: Path) -> list[str]:
    """The texts of the errors that a file raises, with anything in place of what is filled in."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            text = node.exc.args[0]
            parts = text.values if isinstance(text, ast.JoinedStr) else [text]
            if any(isinstance(part, ast.Constant) for part in parts):
                found.append("".join(pattern(part) for part in parts))
    return found


def pattern(part: ast.expr) -> str:
    return re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".*"


FRONT_DOOR = [*(f"matrix/{name}.py" for name in ("attention", "matrix", "region", "dispatch"))]
FRONT_DOOR += ["matrix/explain.py", "matrix/at.py"]
FRONT_DOOR += ["matrix/rollout.py", "matrix/prepare.py", "matrix/operand.py", "impl/choose.py"]
FRONT_DOOR += ["blocks/layout.py", "stage/dropout.py", "stage/custom.py"]
STAGES = ["scores", "masks", "biases", "normalizers", "measures"]
ELSEWHERE = ["no measure .* was taken", "defines neither intervals nor cells", "forward.*AD cannot"]
ELSEWHERE += ["plan: tells of one process"]  # several are needed for it: tests/distributed
ELSEWHERE += ["what a callable captures cannot be found while"]  # while it compiles: test_objects


def test_every_error_of_the_front_door_is_in_the_list() -> None:
    root = Path(qkv.__file__).parent
    files = [root / name for name in FRONT_DOOR]
    files += [path for stage in STAGES for path in (root / stage).glob("*.py")]
    texts = [text for _, _, text in ALL_CASES]
    wanted = [p for path in files for p in patterns(path)]
    assert len(wanted) > 40
    missing = [p for p in wanted if not any(re.fullmatch(p, text) for text in texts)]
    unexpected = [
        p for p in missing if not any(re.search(e, p.replace("\\", "")) for e in ELSEWHERE)
    ]
    assert not unexpected


def test_a_measure_that_was_not_taken() -> None:
    with pytest.raises(AttributeError, match=r"no measure 'top' was taken; these were: mass"):
        _ = matrix().measure(qkv.Mass()).top


def test_a_captured_tensor_that_cannot_be_found_is_never_a_silent_zero() -> None:
    weights = torch.ones(5, requires_grad=True)
    text = r"attention: the score callable uses a captured tensor of shape \[5\] that wants"
    with pytest.raises(qkv.UnsupportedError, match=text):
        matrix(score=lambda q, k, c: secret(q, k, weights), memory=2000) @ KEY


def secret(query, key, weights):
    """Uses a tensor on some tiles only: not on the single cell that the engine looks at first."""
    scores = query @ key.mT
    return scores if scores.shape[-1] == 1 else scores + weights[: scores.shape[-1]]
