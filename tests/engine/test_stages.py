"""Each stage against an independent formula, whole and cut into blocks, with its gradients."""

from __future__ import annotations

import math

import entmax
import pytest
import torch
import torch.nn.functional as F
from refusals import served_or_refused
from torch import Tensor
from torch.autograd import gradcheck

import qkv
from qkv.testing import assert_close

LENGTH, WIDTH, HEADS = 7, 3, 2
REGIMES = pytest.mark.parametrize("memory", [None, 600], ids=["at once", "blocks"])


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


QUERY, KEY, VALUE = (draw(2, HEADS, LENGTH, WIDTH, seed=seed) for seed in range(3))
PLACE = torch.arange(LENGTH)
AHEAD = PLACE - PLACE[:, None]  # how far key j stands ahead of query i
PRODUCTS = QUERY @ KEY.mT
WEIGHT = draw(WIDTH, WIDTH)
SLOPES = torch.tensor([0.5, 0.25], dtype=torch.float64)
TABLE = draw(HEADS, 8)


def bucket(ahead: int, buckets: int, bidirectional: bool, furthest: int) -> int:
    """The source's bucket of one distance, one number at a time."""
    offset = 0
    if bidirectional:
        buckets //= 2
        offset = buckets if ahead > 0 else 0
        ahead = abs(ahead)
    else:
        ahead = max(0, -ahead)
    if ahead < buckets // 2:
        return offset + ahead
    share = math.log(ahead / (buckets // 2)) / math.log(furthest / (buckets // 2))
    return offset + min(buckets - 1, buckets // 2 + int(share * (buckets - buckets // 2)))


def relative(bidirectional: bool, furthest: int) -> Tensor:
    rows = [[bucket(int(d), 8, bidirectional, furthest) for d in row] for row in AHEAD]
    return TABLE[:, torch.tensor(rows)]


SCORES = {
    "bilinear": (qkv.Bilinear(WEIGHT, 0.5), QUERY @ WEIGHT @ KEY.mT * 0.5),
    "bilinear, no scale": (qkv.Bilinear(WEIGHT), QUERY @ WEIGHT @ KEY.mT),
    "cosine": (qkv.Cosine(3.0), 3 * F.normalize(QUERY, dim=-1) @ F.normalize(KEY, dim=-1).mT),
    "gaussian": (qkv.Gaussian(0.7), -torch.cdist(QUERY, KEY).square() / (2 * 0.49)),
}
BIASES = {
    "alibi": (qkv.ALiBi(SLOPES), PRODUCTS - SLOPES[:, None, None] * AHEAD.abs()),
    "relative": (qkv.RelativeBias(TABLE, max_distance=5), PRODUCTS + relative(True, 5)),
    "relative, behind": (
        qkv.RelativeBias(TABLE, bidirectional=False, max_distance=6),
        PRODUCTS + relative(False, 6),
    ),
    "softcap": (qkv.SoftCap(1.5), 1.5 * torch.tanh(PRODUCTS / 1.5)),
    "callable": (
        lambda s, cells: s * 2 + cells.head,
        PRODUCTS * 2 + torch.arange(2)[:, None, None],
    ),
    "in order": (
        [qkv.SoftCap(1.5), qkv.ALiBi(SLOPES)],
        1.5 * torch.tanh(PRODUCTS / 1.5) - SLOPES[:, None, None] * AHEAD.abs(),
    ),
}
MASKS = {
    "window": (qkv.Window(2, 1), (AHEAD >= -2) & (AHEAD <= 1)),
    "window, open": (qkv.Window(None, 0), AHEAD <= 0),
    "prefix": (qkv.Prefix(3), (PLACE < 3).expand(LENGTH, LENGTH)),
    "prefix language model": (qkv.Causal() | qkv.Prefix(3), (AHEAD <= 0) | (PLACE < 3)),
    "documents": (
        qkv.Documents(lengths=torch.tensor([2, 0, 4])),
        torch.block_diag(torch.ones(2, 2), torch.ones(4, 4), torch.zeros(1, 1)).bool(),
    ),
    "documents, by lengths": (
        qkv.Documents(lengths=torch.tensor([2, 0, 2, 1])),
        torch.block_diag(*(torch.ones(2, 2),) * 2, torch.ones(1, 1), torch.zeros(2, 2)).bool(),
    ),
    "documents, sorted": (
        qkv.Documents(ids=torch.tensor([3, 3, 5, 5, 5, 9, 9])),
        torch.block_diag(torch.ones(2, 2), torch.ones(3, 3), torch.ones(2, 2)).bool(),
    ),
    "documents, in any order": (
        qkv.Documents(ids=torch.tensor([1, 0, 1, 0, 2, 1, 0])),
        torch.tensor([1, 0, 1, 0, 2, 1, 0])[:, None] == torch.tensor([1, 0, 1, 0, 2, 1, 0]),
    ),
    "documents, by batch": (
        qkv.Documents(ids=torch.tensor([[0, 0, 0, 1, 1, 1, 1], [2, 1, 2, 1, 2, 1, 2]])),
        torch.stack([(PLACE < 3) == (PLACE < 3)[:, None], AHEAD % 2 == 0])[:, None],
    ),
    "intervals": (
        qkv.Intervals(PLACE[:LENGTH] - 3, torch.tensor([3, 0, 2, 9, 4, 5, 7])),
        (PLACE[:, None] - 3 <= PLACE) & (torch.tensor([[3, 0, 2, 9, 4, 5, 7]]).mT > PLACE),
    ),
    "intervals, by head": (
        qkv.Intervals(torch.tensor([[1], [-4]]), torch.tensor([[0, 1, 2, 3, 4, 5, 6]])),
        (torch.tensor([1, -4]).view(2, 1, 1) <= PLACE) & (PLACE[:, None] > PLACE),
    ),
    "callable": (
        lambda cells: (cells.row + cells.col) % 3 != cells.head,
        (((PLACE + PLACE[:, None]) % 3) != torch.arange(2)[:, None, None]),
    ),
    "complement": (~qkv.Window(1, 1) & qkv.Causal(), AHEAD < -1),
}


def by_hand(scores: Tensor) -> Tensor:
    """The softmax over the three largest of each row."""
    kept = scores >= scores.topk(3).values[..., -1:]
    return torch.softmax(scores.masked_fill(~kept, -torch.inf), -1)


def with_sink(scores: Tensor, sink: Tensor) -> Tensor:
    extra = sink.expand(*scores.shape[:-1], 1)
    return torch.softmax(torch.cat([scores, extra], -1), -1)[..., :-1]


SINK = SLOPES.view(HEADS, 1, 1)
NORMALIZERS = {
    "sink": (qkv.Softmax(sink=0.5), lambda s: with_sink(s, torch.tensor(0.5).double())),
    "sink by head": (qkv.Softmax(sink=SLOPES), lambda s: with_sink(s, SINK)),
    "no sink": (qkv.Softmax(sink=-torch.inf), lambda s: torch.softmax(s, -1)),
    "entmax15": (qkv.Entmax15(), lambda s: entmax.entmax15(s, dim=-1)),
    "entmax 1.5": (qkv.Entmax(1.5), lambda s: entmax.entmax15(s, dim=-1)),
    "entmax 2": (qkv.Entmax(2.0), lambda s: entmax.sparsemax(s, dim=-1)),
    "entmax 1.3": (qkv.Entmax(1.3), lambda s: entmax.entmax_bisect(s, 1.3, dim=-1, n_iter=80)),
    "entmax 3": (qkv.Entmax(3.0), lambda s: entmax.entmax_bisect(s, 3.0, dim=-1, n_iter=80)),
    "entmax near 1": (qkv.Entmax(1.0001), lambda s: torch.softmax(s, -1)),
    "sigmoid": (qkv.Sigmoid(-1.0), lambda s: torch.sigmoid(s - 1)),
    "sigmoid by head": (qkv.Sigmoid(SLOPES), lambda s: torch.sigmoid(s + SINK)),
    "topk": (qkv.TopK(3), by_hand),
    "topk, all": (qkv.TopK(99), lambda s: torch.softmax(s, -1)),
    "identity": (qkv.Identity(), lambda s: s),
    "callable": (lambda s, visible: s.square() * visible, lambda s: s.square()),
}


@REGIMES
@pytest.mark.parametrize("name", SCORES)
def test_scores(name: str, memory: int | None) -> None:
    score, expected = SCORES[name]
    matrix = qkv.attention(QUERY, KEY, score=score, normalizer=qkv.Identity(), memory=memory)
    torch.testing.assert_close(matrix @ VALUE, expected @ VALUE)
    torch.testing.assert_close(matrix.scores(), expected)


@REGIMES
@pytest.mark.parametrize("name", BIASES)
def test_biases(name: str, memory: int | None) -> None:
    bias, expected = BIASES[name]
    options = {"bias": bias, "normalizer": qkv.Identity(), "memory": memory}
    matrix = qkv.attention(QUERY, KEY, score=qkv.Dot(1.0), **options)
    torch.testing.assert_close(matrix @ VALUE, expected @ VALUE)
    torch.testing.assert_close(matrix.scores(biased=True), expected)


@REGIMES
@pytest.mark.parametrize("name", MASKS)
def test_masks(name: str, memory: int | None) -> None:
    mask, expected = MASKS[name]
    matrix = qkv.attention(QUERY, KEY, mask=mask, memory=memory)
    oracle = qkv.attention(QUERY, KEY, mask=qkv.Dense(expected), impl="reference")
    torch.testing.assert_close(matrix @ VALUE, oracle @ VALUE)
    assert torch.equal(matrix.support(), expected.expand(2, HEADS, LENGTH, LENGTH).sum(-1))


@REGIMES
@pytest.mark.parametrize("name", NORMALIZERS)
def test_normalizers(name: str, memory: int | None) -> None:
    normalizer, formula = NORMALIZERS[name]
    tolerance = 2e-4 if name == "entmax near 1" else 1e-9
    for seed in range(5):
        query = draw(2, HEADS, LENGTH, WIDTH, seed=seed) * 2
        matrix = qkv.attention(query, KEY, score=qkv.Dot(1.0), normalizer=normalizer, memory=memory)
        expected = formula(query @ KEY.mT) @ VALUE
        torch.testing.assert_close(matrix @ VALUE, expected, rtol=tolerance, atol=tolerance)


@REGIMES
@pytest.mark.parametrize("name", ["entmax15", "entmax 1.3", "sink by head", "topk", "callable"])
def test_normalizers_of_what_is_visible(name: str, memory: int | None) -> None:
    """Masking is deleting."""
    normalizer, _ = NORMALIZERS[name]
    options = {"normalizer": normalizer, "memory": memory}
    masked = qkv.attention(QUERY, KEY, mask=qkv.Padding(torch.tensor([4, 4])), **options)
    short = qkv.attention(QUERY, KEY[..., :4, :], **options)
    torch.testing.assert_close(masked @ VALUE, short @ VALUE[..., :4, :])


@REGIMES
def test_gradients_of_every_parameter(memory: int | None) -> None:
    """Against finite differences."""
    alpha = torch.tensor([1.4, 1.9], dtype=torch.float64)
    parameters = (WEIGHT, SLOPES, TABLE, SINK.flatten(), alpha, SLOPES)
    inputs = tuple(t.clone().requires_grad_() for t in (QUERY[0], KEY[0], *parameters))

    def outputs(query, key, weight, slopes, table, sink, alpha, bias):
        first = qkv.attention(
            query,
            key,
            score=qkv.Bilinear(weight),
            bias=[qkv.ALiBi(slopes), qkv.RelativeBias(table, max_distance=5), qkv.SoftCap(3.0)],
            normalizer=qkv.Softmax(sink=sink),
            memory=memory,
        )
        rest = [
            qkv.attention(query, key, score=score, normalizer=normalizer, memory=memory)
            for score, normalizer in (
                (qkv.Cosine(4.0), qkv.Entmax(alpha)),
                (qkv.Gaussian(0.8), qkv.Sigmoid(bias)),
                (qkv.Dot(), qkv.Entmax15()),
            )
        ]
        return tuple(matrix @ VALUE[0] for matrix in (first, *rest))

    gradcheck(outputs, inputs, fast_mode=True)


@REGIMES
def test_equal_scores_go_to_the_lower_index(memory: int | None) -> None:
    key = KEY[:, :, :1].expand(-1, -1, LENGTH, -1)
    matrix = qkv.attention(QUERY, key, normalizer=qkv.TopK(2), memory=memory)
    expected = torch.tensor([0.5, 0.5, 0, 0, 0, 0, 0], dtype=torch.float64)
    assert torch.equal(matrix.dense(), expected.expand(2, HEADS, LENGTH, LENGTH))


@REGIMES
@pytest.mark.parametrize("how", ["max", "mean", "sum"])
def test_pool(how: str, memory: int | None) -> None:
    mask = qkv.Causal()
    matrix = qkv.attention(QUERY, KEY, mask=mask, memory=memory)
    dense = matrix.dense()
    found = matrix.pool(3, 2, how)
    down, across = torch.arange(7) * 3 // 7, torch.arange(7) * 2 // 7
    for row in range(3):
        for col in range(2):
            cell = dense[..., down == row, :][..., across == col].flatten(-2)
            expected = cell.amax(-1) if how == "max" else getattr(cell, how)(-1)
            torch.testing.assert_close(found[..., row, col], expected)


@REGIMES
def test_distance_and_support(memory: int | None) -> None:
    query = QUERY[..., :4, :]
    matrix = qkv.attention(
        query, KEY, normalizer=qkv.Sparsemax(), query_offset="end", memory=memory
    )
    dense = matrix.dense()
    far = (torch.arange(4)[:, None] + 3 - PLACE).abs().double()
    torch.testing.assert_close(matrix.distance(), (dense * far).sum(-1))
    assert torch.equal(matrix.support(), (dense > 0).sum(-1))
    with pytest.raises(ValueError, match="distance: query_offset must be given"):
        qkv.attention(query, KEY).distance()


@REGIMES
def test_diagonals(memory: int | None) -> None:
    query = QUERY[..., :4, :]
    offsets = [0, -1, 2, -(10**30), -1, 99]
    for place in (0, 3, -2, torch.tensor([1, -1])):
        matrix = qkv.attention(query, KEY, mask=qkv.Causal(), query_offset=place, memory=memory)
        dense, found = matrix.dense(), matrix.diagonals(torch.tensor(offsets[:3]))
        assert torch.equal(found, matrix.diagonals(offsets)[..., :3])
        assert matrix.diagonals(offsets)[..., [3, 5]].eq(0).all()
        starts = torch.as_tensor(place).expand(2).tolist()
        for entry, start in enumerate(starts):
            for row in range(4):
                for i, offset in enumerate(offsets[:3]):
                    key = row + start + offset
                    expected = dense[entry, :, row, key] if 0 <= key < LENGTH else torch.zeros(1)
                    torch.testing.assert_close(
                        found[entry, :, row, i], expected.double().expand(HEADS)
                    )


def test_what_needs_weights_that_are_not_negative_refuses_others() -> None:
    matrix = qkv.attention(QUERY, KEY, normalizer=qkv.Identity())
    for measure in (qkv.Entropy(), qkv.Mass(), qkv.Distance(), qkv.Support()):
        with pytest.raises(qkv.UnsupportedError, match=r"needs weights >= 0; got .* Identity"):
            matrix.measure(measure)


def test_query_and_key_of_different_widths() -> None:
    weight = draw(WIDTH, 5)
    key = draw(2, HEADS, LENGTH, 5)
    found = qkv.attention(QUERY, key, score=qkv.Bilinear(weight)) @ VALUE
    torch.testing.assert_close(found, torch.softmax(QUERY @ weight @ key.mT, -1) @ VALUE)


def test_a_gaussian_far_from_the_origin_keeps_its_digits() -> None:
    near = qkv.attention(QUERY.float(), KEY.float(), score=qkv.Gaussian(1.0)).dense()
    far = qkv.attention(QUERY.float() + 300, KEY.float() + 300, score=qkv.Gaussian(1.0)).dense()
    torch.testing.assert_close(far, near, rtol=2e-3, atol=2e-3)  # the points are rounded there


def test_what_gaussian_times_far_apart_weigh_keeps_its_digits(engine) -> None:
    """Near points among others that are many widths away, as times and coordinates are."""
    draw = torch.Generator().manual_seed(1)
    for width, length in ((1, 700), (3, 90), (40, 60)):
        points = torch.rand(length, width, generator=draw) * 1000 / width
        points[1::2] = points[::2] + torch.randn(points[::2].shape, generator=draw) / width**0.5
        value = torch.randn(length, 3, generator=draw)
        factors = torch.randn(length, 3, generator=draw)

        def found(dtype: torch.dtype, run, tensors=(points, value), factors=factors):
            leaves = [tensor.to(dtype).requires_grad_() for tensor in tensors]
            output = run(*leaves)
            first = torch.autograd.grad(output, leaves, factors.to(dtype), create_graph=True)
            second = torch.autograd.grad(first[0].square().sum(), leaves)
            return [output, *first, *second]

        def ours(points: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            return qkv.attend(points, points, value, score=qkv.Gaussian(1.0), **engine)

        def formula(points: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            apart = points.unsqueeze(-2) - points.unsqueeze(-3)
            return torch.softmax(-apart.square().sum(-1) / 2, -1) @ value

        matrix = qkv.attention(points, points, score=qkv.Gaussian(1.0), **engine)
        with served_or_refused(matrix, (qkv.Product(value),)):
            parts = found(torch.float32, ours), found(torch.float64, formula)
            for part in zip(*parts, found(torch.float32, formula), strict=True):
                assert_close(*part, what=f"width {width}")


@REGIMES
def test_gaussian_tangents_are_those_of_its_formula(memory: int | None) -> None:
    points = draw(5, WIDTH)

    def ours(points: torch.Tensor) -> torch.Tensor:
        return qkv.attention(points, points + 1, score=qkv.Gaussian(0.8), memory=memory).dense()

    def formula(points: torch.Tensor) -> torch.Tensor:
        apart = points.unsqueeze(-2) - points.unsqueeze(-3) - 1
        return torch.softmax(-apart.square().sum(-1) / 1.28, -1)

    tangent = draw(5, WIDTH, seed=2)
    pairs = (torch.func.jvp(run, (points,), (tangent,)) for run in (ours, formula))
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other)


@REGIMES
def test_rollout_is_the_product_of_the_layers(memory: int | None) -> None:
    layers = [
        qkv.attention(draw(2, HEADS, LENGTH, WIDTH, seed=seed), KEY, memory=memory)
        for seed in range(3)
    ]
    product = torch.eye(LENGTH, dtype=torch.float64)
    for layer in layers:
        product = (0.3 * torch.eye(LENGTH).double() + 0.7 * layer.dense().mean(1)) @ product
    rows = torch.tensor([4, 0])
    torch.testing.assert_close(qkv.rollout(layers, rows, residual=0.3), product[:, rows])
    identity = qkv.rollout(layers, slice(None), residual=1.0)
    assert torch.equal(identity, torch.eye(LENGTH, dtype=torch.float64).expand(2, -1, -1))
