"""`A @ value` inside a user's module, exported by `torch.onnx.export(dynamo=True)`: values by two
programs that run such models, against the oracle."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from exporting import Asking, by_onnxruntime, by_reference, exported, operators
from torch.export import Dim

import qkv
from qkv.ground.tensors import bits_of_size
from qkv.masks import MASKS
from qkv.measures import MEASURES
from qkv.measures.base import Measure
from qkv.normalizers import NORMALIZERS
from qkv.scores import SCORES
from qkv.testing import Sizes, assert_close, examples
from qkv.testing.examples import EVERY_BIAS, drawing

SIZES = Sizes()
PROGRAMS = (by_onnxruntime, by_reference)
BATCH, QUERIES, KEYS = Dim("batch"), Dim("queries"), Dim("keys")
DYNAMIC = ({0: BATCH, 2: QUERIES}, {0: BATCH, 2: KEYS}, {0: BATCH, 2: KEYS})


def vectors(batch=2, queries=5, keys=6, dtype=torch.float32):
    draw = drawing(7)
    query, key = draw(batch, 4, queries, 3), draw(batch, 2, keys, 3)
    return [tensor.to(dtype) for tensor in (query, key, draw(batch, 2, keys, 2))]


def every(kinds, name, most=9):
    """The options of `attention` with each example of these kinds."""
    return [{name: one} for kind in kinds for one in examples(kind, SIZES, drawing(3))[:most]]


STAGES = {
    "score": every(SCORES, "score"),
    "normalizer": every(NORMALIZERS, "normalizer", most=1),  # entmax has some 500 nodes
    "mask": every(MASKS, "mask"),
    "bias": every(EVERY_BIAS, "bias"),
}
EMPTY = torch.tensor([0, 4])  # lengths: the first entry of the batch sees nothing


def products(several, query, key, value):
    """Products by each of these options, beside a mask by which the first entry of the batch sees
    nothing."""
    mask = qkv.Padding(torch.arange(query.shape[0]) * 4)
    shared = {"mask": mask, "query_offset": "end"}
    return tuple(qkv.attend(query, key, value, **shared | options) for options in several)


def check(function, tensors, also=(), **options):
    """A model gives what the function gives, for these tensors and others, by both programs.
    Returns the model."""
    model = exported(function, tensors, **options)
    for given in (tensors, *also):
        wide = [t.double() if t.is_floating_point() else t for t in given]
        oracle, eager = function(*wide), function(*given)
        for program in programs_for(model):
            for found, right, baseline in zip(
                program(model, given), *map(listed, (oracle, eager)), strict=True
            ):
                assert_close(found, right, baseline, rounding=4 * torch.finfo(torch.float32).eps)
    return model


def programs_for(model):
    """Onnx 1.23.2 cannot gather along an axis that is counted from the end."""
    return PROGRAMS[: 1 if "GatherElements" in operators(model) else 2]


def listed(results):
    return results if isinstance(results, tuple) else (results,)


@pytest.mark.parametrize("kind", STAGES)
def test_every_stage(kind):
    check(partial(products, STAGES[kind]), vectors())


def test_float64_has_all_its_digits():
    """Torch rounds Python's numbers to float32 on their way into a model."""
    options = [
        {"score": qkv.Dot(0.3)},
        {"score": qkv.Gaussian(0.7), "bias": qkv.SoftCap(0.3)},
        {"score": qkv.Cosine(0.1), "normalizer": qkv.Sparsemax()},
        {"normalizer": qkv.Sigmoid(0.1)},
    ]
    tensors = vectors(dtype=torch.float64)
    model = exported(partial(products, options), tensors)
    assert "Attention" not in operators(model)
    for found, right in zip(
        by_onnxruntime(model, tensors), products(options, *tensors), strict=True
    ):
        assert_close(found, right)


OTHERS = [vectors(1, 1, 1), vectors(3, 9, 2), vectors(2, 1, 9)]
STANDARD = {
    "nothing": {},
    "scale": {"score": qkv.Dot(0.3)},
    "causal from the start": {"mask": qkv.Causal(), "query_offset": "start"},
    "causal to the end": {"mask": qkv.Causal(), "query_offset": "end"},
    "window": {"mask": qkv.Window(1, 0), "query_offset": 1},
    "callable mask": {"mask": lambda cells: (cells.row + cells.col) % 3 == 0},
    "distances": {"bias": qkv.ALiBi(torch.tensor([0.1, 0.2, 0.3, 0.4])), "query_offset": "end"},
    "two biases": {
        "bias": [qkv.RelativeBias(torch.arange(32.0).view(4, 8)), qkv.ALiBi(torch.tensor([0.1]))],
        "mask": qkv.Causal(),
        "query_offset": 0,
    },
}
PLAIN = {
    "sink": {"normalizer": qkv.Softmax(sink=0.5)},
    "sparsemax": {"normalizer": qkv.Sparsemax()},
    "top k": {"normalizer": qkv.TopK(2)},
    "additive": {"score": qkv.Additive(torch.tensor([1.0, -2.0, 0.5]))},
    "negative scale": {"score": qkv.Dot(-0.5)},
    "bias before a cap": {
        "bias": [qkv.ALiBi(torch.tensor([2.0])), qkv.SoftCap(0.5)],
        "query_offset": 0,
    },
    "named": {"impl": "tiled"},
}


@pytest.mark.parametrize("opset", [20, 23, 24])
def test_batch_and_lengths_of_a_model_are_free(opset):
    several = [*STANDARD.values(), *PLAIN.values()] if opset == 23 else [*STANDARD.values()][2:5]
    model = check(partial(products, several), vectors(), OTHERS, shapes=DYNAMIC, opset=opset)
    standard = {20: 0, 23: len(STANDARD), 24: 3}[opset]
    assert operators(model)["Attention"] == standard


def test_what_the_operator_says_by_itself_is_nothing_but_the_operator():
    for options in ({}, {"score": qkv.Dot(0.3)}, {"mask": qkv.Causal(), "query_offset": "start"}):
        model = exported(partial(qkv.attend, **options), vectors(), shapes=DYNAMIC)
        assert operators(model) == {"Attention": 1}


def test_entmax_takes_as_many_steps_as_any_length_needs():
    bits = []

    def count(query):
        bits.append(bits_of_size(query.shape[-2]))
        return query + 1

    torch.export.export(Asking(count), (torch.zeros(4, 3),), dynamic_shapes=(({0: QUERIES},),))
    assert bits[-1] == 24
    assert bits_of_size(7) == 3


@pytest.mark.parametrize("opset", [20, 23])
def test_rows_that_see_nothing_give_zero(opset):
    def compute(query, key, value, lengths):
        hidden = torch.where(
            torch.arange(key.shape[-2]) < lengths[:, None, None, None], 0, -torch.inf
        )
        return (
            qkv.attend(query, key, value, mask=qkv.Padding(lengths)),
            qkv.attend(query, key, value, bias=hidden.to(query.dtype)),
        )

    tensors = [*vectors(), EMPTY]
    model = check(compute, tensors, shapes=(*DYNAMIC, {0: BATCH}), opset=opset)
    for program in programs_for(model):
        for output in program(model, tensors):
            assert output[0].eq(0).all()
            assert output[1].ne(0).all()


SHAPES = {
    "no heads": ((5, 3), (6, 3), (6, 2)),
    "no batch": ((4, 5, 3), (2, 6, 3), (2, 6, 2)),
    "two batches": ((2, 3, 4, 5, 3), (2, 3, 2, 6, 3), (2, 3, 2, 6, 2)),
    "one key for a batch": ((2, 4, 5, 3), (1, 2, 6, 3), (2, 2, 6, 2)),
    "values for each head": ((2, 4, 5, 3), (2, 2, 6, 3), (2, 4, 6, 2)),
    "values for all heads": ((2, 4, 5, 3), (2, 2, 6, 3), (2, 1, 6, 2)),
    "values for all entries": ((2, 4, 5, 3), (2, 2, 6, 3), (6, 2)),
}


def test_every_shape():
    """In one model: torch's optimizer turns some reshaped products into others."""
    draw = drawing(5)
    tensors = [draw(*shape).float() for shapes in SHAPES.values() for shape in shapes]

    def compute(*tensors):
        groups = zip(*[iter(tensors)] * 3, strict=True)
        return tuple(qkv.attend(*group, mask=qkv.Window(2, 1), query_offset=1) for group in groups)

    check(compute, tensors)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("opset", [20, 23])
def test_half_types(dtype, opset):
    def compute(*tensors):
        narrow = [tensor.to(dtype) for tensor in tensors]
        options = ({}, {"mask": qkv.Causal(), "query_offset": 0}, {"normalizer": qkv.Entmax15()})
        return tuple(qkv.attend(*narrow, **some).float() for some in options)

    tensors = [tensor.to(dtype).float() for tensor in vectors()]
    model = exported(compute, tensors, opset=opset)
    eager = compute(*tensors)
    for found, right in zip(by_onnxruntime(model, tensors), eager, strict=True):
        assert_close(found, right, rounding=torch.finfo(dtype).eps)


def test_measures():
    kinds: list[type[Measure]] = [kind for kind in MEASURES if kind.__name__ != "Top"]
    measures = [one for kind in kinds for one in examples(kind, SIZES, drawing(3))]
    measures = [one for one in measures if not isinstance(one, (qkv.Product, qkv.Collected))]

    def compute(query, key):
        matrix = qkv.attention(query, key, mask=qkv.Padding(EMPTY), query_offset="end")
        transposed = matrix.mT @ query
        return (*matrix.measure(*measures), transposed, matrix.top(2).weights, matrix[:, 1:3, 2])

    check(compute, vectors()[:2])


def test_what_a_model_has_no_operator_for_is_refused():
    for impl in ("native", "torch"):
        compute = partial(qkv.attend, impl=impl, normalizer=qkv.Sparsemax())
        with pytest.raises(Exception, match="cannot serve") as raised:
            exported(compute, vectors())
        assert impl in str(raised.value)


def test_a_plan_says_that_a_model_is_made():
    plans = []

    def compute(query, key, value):
        matrix = qkv.attention(query, key)
        plans.append(matrix.plan())
        return matrix @ value

    exported(compute, vectors())
    assert plans[-1].implementation == "exported"


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 0.3}], ids=str)
def test_a_model_of_torchs_function_while_qkv_accelerates(options):
    """The operator that qkv makes of its function does not lead back to qkv."""
    query, _, _ = vectors()
    with qkv.accelerate():
        model = check(lambda *given: F.scaled_dot_product_attention(*given, **options), [query] * 3)
    assert operators(model)["Attention"] == 1
