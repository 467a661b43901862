"""Captures in files: everything comes back without the model, and what is no capture is refused."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import qkv
from models import build, inputs
from qkv.capture.call import Call
from qkv.capture.capture import Capture
from qkv.capture.container import read, write
from qkv.capture.saved import CALL


def captured(name: str = "T5", **options: Any) -> Capture:
    model = build(name, "eager" if name in ("Gemma2", "GptOss") else "sdpa")
    with torch.no_grad(), qkv.observe(model, **options) as capture:
        model(**inputs(name))
    return capture


def assert_same(found: Capture, capture: Capture) -> None:
    """Whatever can be seen of two captures is the same, bit for bit."""
    assert str(found) == str(capture)
    assert found.missed == capture.missed
    for one, other in zip(found.calls, capture.calls, strict=True):
        for name in CALL:
            assert getattr(one, name) == getattr(other, name), name
        assert repr(one.matrix) == repr(other.matrix)
        assert torch.equal(one.matrix.dense(), other.matrix.dense())
    for call in range(len(found.calls)):
        assert found.labels(call) == capture.labels(call)


@pytest.mark.parametrize("name", ["Llama", "Mistral", "Bert", "T5", "Gemma2", "GptOss"])
def test_every_call_comes_back_bit_for_bit(name, tmp_path):
    capture = captured(name)
    capture.miss("a.b", "softmax", "no square")
    capture.miss("a.b", "softmax", "no square")
    capture.save(tmp_path / "capture")
    assert_same(qkv.load_capture(tmp_path / "capture"), capture)


def test_a_smaller_dtype_comes_back(tmp_path):
    capture = captured("Llama", keep=torch.bfloat16, heads=[1])
    capture.save(tmp_path / "capture")
    found = qkv.load_capture(str(tmp_path / "capture"))
    assert found.calls[0].matrix.dtype is torch.bfloat16
    assert_same(found, capture)


def test_the_residual_tells_what_a_smaller_dtype_costs():
    exact, rounded = captured("Llama"), captured("Llama", keep=torch.bfloat16)
    for call, other in zip(exact.calls, rounded.calls, strict=True):
        assert call.residual is not None
        assert other.residual is not None
        assert 20 * call.residual < other.residual < 0.1


def test_a_capture_of_nothing_and_a_strange_residual(tmp_path):
    Capture().save(tmp_path / "capture")
    assert_same(qkv.load_capture(tmp_path / "capture"), Capture())
    capture = captured("Llama")
    capture.calls[0].residual = float("inf")
    capture.calls[1].residual = None
    capture.save(tmp_path / "capture")
    assert_same(qkv.load_capture(tmp_path / "capture"), capture)


def test_a_file_is_opened_where_there_is_neither_model_nor_transformers(tmp_path):
    captured("Mistral").save(tmp_path / "capture")
    program = f"""
import sys
sys.modules["transformers"] = sys.modules["safetensors"] = sys.modules["tokenizers"] = None
import qkv
print(qkv.load_capture({str(tmp_path / "capture")!r}).calls[1].matrix.entropy().sum().item())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == ""
    expected = captured("Mistral").calls[1].matrix.entropy().sum().item()
    assert float(done.stdout) == pytest.approx(expected)


def test_the_package_safetensors_reads_a_capture(tmp_path):
    from safetensors import safe_open

    capture = captured("Llama")
    capture.save(tmp_path / "capture")
    with safe_open(tmp_path / "capture", "pt") as file:
        assert file.metadata()["format"] == "qkv capture"
        assert torch.equal(file.get_tensor("calls.1.key"), capture.calls[1].matrix.key)


def test_what_is_loaded_can_be_saved_over_the_file_it_lies_in(tmp_path):
    path = tmp_path / "capture"
    captured("Llama").save(path)
    found = qkv.load_capture(path)
    found.label([str(place) for place in range(16)])
    found.save(path)
    assert_same(qkv.load_capture(path), found)
    assert [file.name for file in tmp_path.iterdir()] == ["capture"]


def test_a_capture_that_cannot_be_written_leaves_the_old_file(tmp_path, monkeypatch):
    path, capture = tmp_path / "capture", captured("Llama")
    capture.save(path)
    content = path.read_bytes()

    def full(file, tensor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("qkv.capture.container.write_bytes", full)
        with pytest.raises(OSError, match=f"cannot write {path}: No space left on device"):
            capture.save(path)
    capture.calls.append(of(qkv.attention(torch.zeros(4, 2), torch.zeros(4, 2), mask=nothing)))
    with pytest.raises(TypeError, match=r"save: calls.2.mask is .<function nothing.*a user's code"):
        capture.save(path)
    assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["capture"]


def nothing(cells):
    return cells.row < 0


def of(matrix: qkv.AttentionMatrix) -> Call:
    return Call(
        module="a", kind="self", step=0, matrix=matrix, residual=None, function="attention", steps=1
    )


def test_masks_too_deep_to_be_read_are_not_written(tmp_path):
    mask = qkv.Causal()
    for _ in range(150):
        mask = mask & qkv.Prefix(3)
    capture = Capture()
    capture.calls.append(of(qkv.attention(torch.zeros(4, 2), torch.zeros(4, 2), mask=mask)))
    with pytest.raises(
        ValueError, match=r"save: .*/capture could not be read again: .* 200 brackets"
    ):
        capture.save(tmp_path / "capture")
    assert not list(tmp_path.iterdir())


def test_places_where_no_file_can_be(tmp_path):
    capture = captured("Llama")
    with pytest.raises(OSError, match=f"cannot write {tmp_path}: Is a directory"):
        capture.save(tmp_path)
    with pytest.raises(IsADirectoryError, match=f"{tmp_path} is a folder"):
        qkv.load_capture(tmp_path)
    with pytest.raises(FileNotFoundError, match="nothing"):
        qkv.load_capture(tmp_path / "nothing")
    capture.save(tmp_path / "new" / "capture")
    assert qkv.load_capture(tmp_path / "new" / "capture").calls


def test_labels_are_saved(tmp_path):
    tokens = [f"t{place}" for place in range(16)]
    capture = captured("T5")
    capture.label([tokens, tokens[::-1]], side="encoder")
    capture.label([f"T{place}" for place in range(7)], side="decoder")
    capture.save(tmp_path / "capture")
    found = qkv.load_capture(tmp_path / "capture")
    assert_same(found, capture)
    assert found.labels(3, 1) == ([f"T{place}" for place in range(7)], tokens[::-1])
    picture = torch.arange(48, dtype=torch.uint8).view(4, 4, 3)
    capture = captured("Llama")
    capture.label_image(picture, (5, 3))
    capture.save(tmp_path / "capture")
    found = qkv.load_capture(tmp_path / "capture")
    assert_same(found, capture)
    assert torch.equal(found.labelling.given[""][0].image, picture)
    assert found.labels(0)[0][:2] == ["[CLS]", "0,0"]


def test_labels_of_calls_that_were_taken_out_do_no_harm(tmp_path):
    capture = captured("Llama")
    capture.label([f"t{place}" for place in range(16)])
    capture.calls.clear()
    capture.save(tmp_path / "capture")
    assert len(qkv.load_capture(tmp_path / "capture").labelling.given[""][0]) == 16


def test_texts_of_every_kind_are_saved(tmp_path):
    from qkv.capture.labels import Labels

    capture = captured("Llama")
    text = '\0\n"你好🙂\ud800' + "x" * 9
    tokens = (*text, "</s>")
    spans = (*((place, place + 1) for place in range(len(text))), (0, 0))
    assert len(tokens) == 16 + 1
    capture.labelling.add([Labels(tokens, spans, text, 1)], None, capture.calls)
    capture.save(tmp_path / "capture")
    found = qkv.load_capture(tmp_path / "capture")
    assert found.labelling == capture.labelling


Told = dict[str, Any]


def within(*path: str | int, to: Any) -> Callable[[Told, dict[str, str]], None]:
    """Puts a value in a place of what the file says."""

    def edit(told: Told, metadata: dict[str, str]) -> None:
        value: Any = told
        for step in path[:-1]:
            value = value[step]
        value[path[-1]] = to

    return edit


def metadata(**changes: str) -> Callable[[Told, dict[str, str]], None]:
    return lambda told, given: given.update(changes)


def without(name: str) -> Callable[[Told, dict[str, str]], None]:
    return lambda told, given: told.pop(name)


LABEL = ("labels", "", 0)
HOSTILE: list[tuple[Callable[[Told, dict[str, str]], Any], str]] = [
    (lambda told, given: given.clear(), "its format is None, not 'qkv capture'"),
    (metadata(format="pt"), "its format is 'pt', not 'qkv capture'"),
    (metadata(schema="2"), "its schema is 2, and this version of qkv reads up to 1: a newer one"),
    (metadata(schema="one"), "its schema is 'one', which is no version"),
    (metadata(schema="9" * 5000), "its schema is '9999.*, which is no version"),
    (metadata(more=""), "its metadata must have format, schema, capture"),
    (without("missed"), "the capture must have calls, missed, labels; got 'calls, labels'"),
    (within("more", to=1), "the capture must have calls, missed, labels"),
    (within("calls", to={}), "calls must be a list; got {}"),
    (within("calls", to=[]), "the tensor 'calls.0.key' belongs to nothing"),
    (within("calls", 0, "step", to=-1), "calls.0.step is -1, which is none"),
    (within("calls", 0, "step", to=True), "calls.0.step is True, which is none"),
    (within("calls", 0, "kind", to="both"), "calls.0.kind is 'both', which is none"),
    (within("calls", 0, "module", to=["a"]), r"calls.0.module is \['a'\], which is none"),
    (within("calls", 0, "module", to="\x1b[2J"), r"calls.0.module is '.x1b\[2J', which is none"),
    (within("calls", 0, "residual", to="0"), "calls.0.residual is '0', which is none"),
    (within("calls", 0, "residual", to={"number": "1"}), "calls.0.residual is '1', which is no"),
    (within("calls", 0, "materialised", to=0), "calls.0.materialised is 0, which is none"),
    (within("calls", 0, "matrix", to=None), "calls.0.matrix must have query, key"),
    (within("calls", 0, "matrix", "query", "tensor", to="x"), "calls.0.matrix.query is the tensor"),
    (within("calls", 0, "matrix", "score", "stage", to="eval"), "a stage 'eval', which this"),
    (within("missed", 0, "count", to=0.5), "missed.0.count is 0.5, which is none"),
    (within("missed", 0, to={}), "missed.0 must have module, function, reason, count"),
    (within("labels", to={"left": []}), "labels are {'left': ..}, which have other sides"),
    (within("labels", "", to={}), "labels. must be a list; got {}"),
    (within(*LABEL, "tokens", to=["a"]), "labels..0 has 1 tokens and 16 spans"),
    (within(*LABEL, "tokens", to=[1] * 16), "labels..0.tokens are .*, which are no texts"),
    (within(*LABEL, "spans", to=None), "labels..0 must have both text and spans"),
    (within(*LABEL, "spans", 0, to=[0, 99]), r"labels..0 has the span \[0, 99\] of 16 characters"),
    (within(*LABEL, "spans", 0, to=[2, 1]), r"labels..0 has the span \[2, 1\]"),
    (within(*LABEL, "spans", 0, to=[0, 1, 2]), r"labels..0 has the span \[0, 1, 2\]"),
    (within(*LABEL, "spare", to=-1), "labels..0.spare is -1, which is none"),
    (within(*LABEL, to={"image": {}, "grid": [4, 4], "extra": []}), "image is the tensor None"),
    (
        within(
            *LABEL, to={"image": {"tensor": "calls.0.key"}, "grid": [4, 4], "extra": []}
        ),
        "labels..0.image is torch.float32 .*, which is no picture",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    from qkv.capture.labels import Labels

    capture = captured("Llama")
    capture.miss("a", "b", "c")
    spans = tuple((place, place + 1) for place in range(16))
    capture.labelling.add([Labels(tuple("x" * 16), spans, "x" * 16)], None, capture.calls)
    path = tmp_path_factory.mktemp("good") / "capture"
    capture.save(path)
    assert_same(qkv.load_capture(path), capture)
    return path


@pytest.mark.parametrize("case", range(len(HOSTILE)))
def test_hostile_captures_are_refused_by_name_and_reason(case, good, tmp_path):
    edit, reason = HOSTILE[case]
    tensors, given = read(good)
    told = json.loads(given["capture"])
    edit(told, given)
    if "capture" in given:
        given["capture"] = json.dumps(told)
    path = tmp_path / "edited"
    with path.open("wb") as file:
        write(file, tensors, given)
    with pytest.raises(ValueError, match=f"{path}: not a capture that qkv can load: .*{reason}"):
        qkv.load_capture(path)


def test_tensors_of_another_kind_are_refused(good, tmp_path):
    for name, tensor, reason in (
        ("calls.0.query", torch.zeros(2, 4, 16, 16, dtype=torch.int32), "query must be floating"),
        ("calls.0.query", torch.zeros(2, 4, 16, 16).double(), "must share dtype"),
        ("calls.0.query", torch.zeros(2, 4, 16, 15), "key width must equal query width"),
        ("calls.0.key", torch.zeros(2, 3, 16, 16), "heads must be a multiple"),
        ("more", torch.zeros(1), "the tensor 'more' belongs to nothing"),
    ):
        tensors, given = read(good)
        path = tmp_path / "edited"
        with path.open("wb") as file:
            write(file, {**tensors, name: tensor}, given)
        with pytest.raises(
            ValueError, match=f"{path}: not a capture that qkv can load: .*{reason}"
        ):
            qkv.load_capture(path)


def test_files_of_others_are_refused(good, tmp_path):
    path = tmp_path / "file"
    torch.save({"a": torch.ones(2)}, path)
    with pytest.raises(ValueError, match=f"{path}: not a capture that qkv can load"):
        qkv.load_capture(path)
    path.write_text("a text")
    with pytest.raises(ValueError, match="not a capture that qkv can load: it has 6 bytes"):
        qkv.load_capture(path)
    weights = Path(qkv.__file__).parent / "weights" / "reviews" / "model.safetensors"
    with pytest.raises(ValueError, match="its format is 'pt', not 'qkv capture'"):
        qkv.load_capture(weights)
    content = good.read_bytes()
    for length in (0, 7, 8, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="not a capture that qkv can load"):
            qkv.load_capture(path)


class Attention(nn.Module):
    """Attention over ones, one head."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return nn.functional.scaled_dot_product_attention(states, states, states)


def test_spilled_captures_are_the_same_and_leave_nothing(tmp_path):
    spilled, kept = captured("T5", spill=tmp_path / "folder"), captured("T5")
    assert_same(spilled, kept)
    assert list((tmp_path / "folder").iterdir()) == []
    spilled.save(tmp_path / "capture")
    assert_same(qkv.load_capture(tmp_path / "capture"), kept)
    half = captured("Llama", spill=tmp_path / "folder", keep=torch.bfloat16)
    assert_same(half, captured("Llama", keep=torch.bfloat16))


@pytest.mark.parametrize(("beams", "static"), [(1, False), (2, False), (1, True)])
def test_generated_sequences_are_saved_and_spilled(beams, static, tmp_path):
    def generated(**options: Any) -> Capture:
        model, given = build("Llama"), inputs("Llama", padded=False)
        how = {"cache_implementation": "static"} if static else {}
        with qkv.observe(model, **options) as capture:
            model.generate(**given, max_new_tokens=8, do_sample=False, num_beams=beams, **how)
        return capture

    kept, spilled = generated(), generated(spill=tmp_path / "folder")
    assert max(call.steps for call in kept.calls) == 8
    assert_same(spilled, kept)
    assert list((tmp_path / "folder").iterdir()) == []
    spilled.save(tmp_path / "capture")
    assert_same(qkv.load_capture(tmp_path / "capture"), kept)


def test_memory_stays_flat_while_a_capture_is_spilled(tmp_path):
    program = f"""
import resource, torch, qkv
from torch import nn
class Attention(nn.Module):
    def forward(self, states):
        return nn.functional.scaled_dot_product_attention(states, states, states)
torch.set_num_threads(1)
model, states = Attention(), torch.randn(1, 8, 1024, 64)
def grown(calls):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with torch.no_grad(), qkv.observe(model, spill={str(tmp_path)!r}) as capture:
        for _ in range(calls):
            model(states + len(capture.calls))
    assert len(capture.calls) == calls
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
grown(4)
print(grown(24))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == ""
    assert int(done.stdout) < 32 * 1024  # KiB; query and key of all are 96 MiB


def test_a_disk_that_is_full_is_told_and_the_model_goes_on(tmp_path, monkeypatch):
    def full(file, tensor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("qkv.capture.spill.write_bytes", full)
    capture = captured("Llama", spill=tmp_path)
    assert not capture.calls
    assert [missed.count for missed in capture.missed] == [1, 1]
    assert f"cannot write {tmp_path}: No space left on device" in capture.missed[0].reason


def test_a_folder_for_spilling_that_is_none(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OSError, match=f"cannot write {tmp_path}/file"),
        qkv.observe(build("Llama"), spill=tmp_path / "file"),
    ):
        pass


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place of a JSON value."""
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(place for step, one in inner for place in places(one, (*path, step)))]


def test_whatever_a_file_says_it_is_a_capture_or_refused(good, tmp_path):
    tensors, given = read(good)
    draw, path, refused = random.Random(0), tmp_path / "edited", 0
    strange = [None, True, -1, 2**70, 1.5, "x", [], {}, [1], {"tensor": "calls.0.key"}]
    strange += [{"stage": "Causal", "fields": {}}, {"number": "nan"}, "\ud800", "\x1b"]
    for _ in range(200):
        told = json.loads(given["capture"])
        within(*draw.choice(places(told)[1:]), to=draw.choice(strange))(told, {})
        with path.open("wb") as file:
            write(file, tensors, given | {"capture": json.dumps(told)})
        try:
            found = qkv.load_capture(path)
        except ValueError as error:
            assert f"{path}: not a capture that qkv can load: " in str(error)  # noqa: PT017
            refused += 1
        else:
            assert all(call.matrix.entropy().shape for call in found.calls)
    assert 150 < refused < 200
