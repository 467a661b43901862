"""Where torch was measured to be quicker, "auto" takes it, with the same results."""

import json

import pytest
import torch

import qkv
from qkv import native
from qkv.native import quicker
from qkv.native.quicker import Measured, Row

pytestmark = pytest.mark.skipif(
    native.unavailable_reason() is not None, reason="the kernels were not built"
)


@pytest.fixture
def table(monkeypatch):
    """Sets the rows of the instruction set in use."""

    def put(*rows):
        measured = {native.instruction_set(): Measured("a machine", rows)}
        monkeypatch.setattr(quicker, "MEASURED", measured)
        monkeypatch.setattr(quicker, "LOST", quicker.lost(measured))

    return put


def row(length, ratio, dtype="float32", gradients=False, causal=False, width=64, queries=None):
    return Row(dtype, gradients, causal, width, queries or length, length, ratio)


def vectors(length=64, dtype=torch.float32, width=64, **options):
    torch.manual_seed(0)
    return [torch.randn(1, 8, length, width, dtype=dtype, **options) for _ in range(3)]


def planned(query, key, value, **options):
    return qkv.attention(query, key, **options).plan(qkv.Product(value))


def test_auto_takes_torch_where_it_is_quicker_and_says_why(table):
    table(row(64, 0.5), row(1024, 1.5))
    query, key, value = vectors()
    plan = planned(query, key, value)
    assert plan.implementation == "torch"
    assert plan.reason == (
        "torch takes 0.50 of the kernels' time for 64 queries and 64 keys, D 64, as measured on "
        f"a machine ({native.instruction_set()})"
    )
    expected = qkv.attend(query, key, value, impl="reference")
    torch.testing.assert_close(qkv.attend(query, key, value), expected)
    assert planned(*vectors(1024)).implementation == "native"
    assert planned(query, key, value, impl="native").implementation == "native"


def test_the_call_that_is_run_is_the_one_that_was_planned(table, monkeypatch):
    table(row(64, 0.5))
    ran = []
    fused = torch.ops.aten.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.ops.aten,
        "scaled_dot_product_attention",
        lambda *args, **options: ran.append(1) or fused(*args, **options),
    )
    qkv.attend(*vectors())
    assert ran == [1]
    table(row(64, 1.5))
    qkv.attend(*vectors())
    assert ran == [1]


@pytest.mark.parametrize(
    ("change", "implementation"),
    [
        ({}, "torch"),
        ({"dtype": torch.float64}, "native"),
        ({"requires_grad": True}, "native"),
        ({"length": 30}, "torch"),  # nearer to 32, in the logarithm, than to 1024
        ({"length": 12}, "native"),  # fewer queries than were ever measured
        ({"length": 400}, "native"),
        ({"width": 24}, "torch"),
    ],
)
def test_only_requests_like_those_that_were_measured(change, implementation, table):
    table(row(16, 0.5), row(1024, 1.2), row(16, 1.3, gradients=True))
    assert planned(*vectors(**change)).implementation == implementation


def test_few_queries_have_rows_of_their_own(table):
    table(row(64, 1.5), row(1024, 1.5), row(64, 0.5, queries=1))
    query, key, value = vectors()
    assert planned(query[..., :1, :], key, value).implementation == "torch"
    assert planned(query[..., :7, :], key, value).implementation == "torch"
    assert planned(query[..., :9, :], key, value).implementation == "native"
    query, key, value = vectors(1024)  # nearer to one query of 64 than to 1,024 of 1,024
    assert planned(query[..., :1, :], key, value).implementation == "torch"


def test_what_torch_does_not_serve_the_kernels_do(table):
    table(row(64, 0.5), row(64, 0.5, causal=True))
    query, key, value = vectors()
    assert planned(query, key, value, mask=qkv.Causal()).implementation == "torch"
    assert planned(query, key, value, mask=qkv.Causal(), query_offset=3).implementation == "native"
    assert planned(query, key, value, bias=qkv.ALiBi.geometric(8)).implementation == "native"
    narrow = torch.randn(1, 8, 64, 3)
    assert "torch takes" in planned(query, key, narrow).reason
    assert planned(query, key, narrow).implementation == "native"


def test_what_is_masked_leaks_from_neither(table):
    table(row(64, 0.5, causal=True))
    query, key, value = vectors()
    key[..., -1, :] = value[..., -1, :] = torch.nan
    output = qkv.attend(query, key, value, mask=qkv.Causal())
    assert output[..., :-1, :].isfinite().all()


def test_a_compiled_program_chooses_as_it_runs(table):
    table(row(64, 0.5))
    query, key, value = vectors()
    compiled = torch.compile(qkv.attend, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(query, key, value), qkv.attend(query, key, value))


def test_a_table_is_read_as_it_was_written(tmp_path):
    rows = (row(64, 0.5), row(16, 1.25, "bfloat16", gradients=True, causal=True, width=128))
    told = quicker.record({"x86-64-v3": Measured("somewhere", rows)})
    assert list(told["x86-64-v3"]["times"]) == [
        "float32 full forward 64 64 64", "bfloat16 causal gradients 128 16 16",
    ]  # fmt: skip
    file = tmp_path / "table.json"
    file.write_text(json.dumps(told))
    assert quicker.read(file) == {"x86-64-v3": Measured("somewhere", rows)}


def test_the_table_that_ships_is_of_instruction_sets_that_there_are():
    sets = {"amx-bf16", "avx512-bf16", "x86-64-v4", "x86-64-v3", "baseline"}
    assert set(quicker.MEASURED) <= sets
    assert all(one.rows and one.where for one in quicker.MEASURED.values())
