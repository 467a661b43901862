"""The fuzzers of `scripts/fuzz.py`: a few cases of each, and planted faults that they must find."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from hypothesis import strategies as st

import qkv

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import fuzz
import fuzzing
from fuzzing import guard, mutations, pictures, shards
from fuzzing.runner import Fault, Runner, essence
from fuzzing.target import Target

pytestmark = pytest.mark.filterwarnings("ignore")  # of torch's own functions, and of hypothesis


def run(name: str, folder: Path, cases: int, seed: int = 0) -> Runner:
    """What a fuzzer found in so many cases."""
    target = fuzzing.TARGETS[name](folder)
    try:
        runner = Runner(target, lambda line: None)
        runner.run(seed, 300, cases)
        return runner
    finally:
        target.close()


def planted(name: str, folder: Path, cases: int = 400) -> Fault:
    """The fault that a fuzzer found."""
    fault = run(name, folder, cases).fault
    assert fault is not None
    return fault


# Each target.


@pytest.mark.parametrize("name", fuzzing.TARGETS)
def test_a_few_cases_of_each_target(name, tmp_path) -> None:
    runner = run(name, tmp_path, 25)
    assert runner.fault is None, runner.fault
    assert runner.total == 25
    assert runner.accepted > 0


def test_flex_finds_an_answer_that_is_wrong_for_some_heads(tmp_path, monkeypatch) -> None:
    right = qkv.flex_attention

    def wrong(query, key, *rest, **options):
        output, aux = right(query, key, *rest, **options)
        return (output * 1.01 if key.shape[1] == 2 else output), aux

    monkeypatch.setattr(qkv, "flex_attention", wrong)
    fault = planted("flex", tmp_path)
    assert "output: error" in fault.error
    assert re.search(r"heads=\(\d, 2\), queries=1, keys=1, mask=None, score=None", fault.case)


def test_flex_finds_a_gradient_that_is_lost(tmp_path, monkeypatch) -> None:
    right = qkv.flex_attention

    def wrong(query, key, *rest, **options):
        return right(query, key.detach(), *rest, **options)

    monkeypatch.setattr(qkv, "flex_attention", wrong)
    assert "gradient of key: error" in planted("flex", tmp_path).error


def test_the_drop_in_is_found_to_ignore_an_argument(tmp_path, monkeypatch) -> None:
    right = qkv.scaled_dot_product_attention

    def wrong(*arguments, scale, **options):
        return right(*arguments, **options)

    monkeypatch.setattr(qkv, "scaled_dot_product_attention", wrong)
    fault = planted("drop-in", tmp_path)
    assert "output: error" in fault.error or "gradient" in fault.error
    assert "scale=None" not in fault.case


def test_a_refusal_of_what_torch_answers_is_found(tmp_path, monkeypatch) -> None:
    def refusing(*arguments, **options):
        raise ValueError("not today")

    monkeypatch.setattr(qkv, "scaled_dot_product_attention", refusing)
    assert "torch answers what qkv refuses: not today" in planted("drop-in", tmp_path).error


def test_a_capture_that_is_evaluated_is_found(tmp_path, monkeypatch) -> None:
    target = fuzzing.TARGETS["captures"](tmp_path)
    names = {"null": None, "true": True, "false": False}
    monkeypatch.setattr("qkv.capture.loading.parsed", lambda text: eval(text, names))
    fault = Runner(target, lambda line: None).run(0, 300, 100)
    assert fault is not None
    assert "EscapedError: the file led to: compile" in fault.error


def test_an_error_of_a_model_that_does_not_name_its_folder_is_found(tmp_path, monkeypatch) -> None:
    where = "qkv.tasks.classification.images.classifier.loading"
    monkeypatch.setattr(where, lambda *_: nullcontext())
    assert "images" in planted("models", tmp_path).case


def test_lines_that_end_with_other_characters_are_found(tmp_path, monkeypatch) -> None:
    def lines(path):
        return enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1)

    monkeypatch.setattr("qkv.tasks.translation.pairs.read_lines", lines)
    assert "reader='pairs'" in planted("tables", tmp_path).case


def test_a_picture_of_another_size_is_found(tmp_path, monkeypatch) -> None:
    right = pictures.read_picture
    monkeypatch.setattr(pictures, "read_picture", lambda file, name, size: right(file, name, None))
    fault = planted("pictures", tmp_path)
    assert "size=(8, 12)" in fault.case
    assert "damages=()" in fault.case


def test_shares_that_are_cut_in_another_way_are_found(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(shards, "held_balanced", shards.held_in_order)  # here, not in the ranks
    assert "balanced=True" in planted("shards", tmp_path).case


def test_ranks_may_refuse_in_the_words_of_another() -> None:
    own, other = "UnsupportedError: no", "RuntimeError: attention: rank 1 of the group failed: no"
    assert shards._reason([own, other]) == shards._reason([own, own]) == "no"
    for refusals in ([other, other], [own, "RuntimeError: no"], [own, other + "ne"]):
        with pytest.raises(AssertionError, match="RuntimeError"):
            shards._reason(refusals)


# What a file may not do.


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda: Path("/etc/hostname").exists() and open("/etc/hostname").close(), "open '/etc"),
        (lambda: subprocess.run(["true"]), "subprocess.Popen"),
        (lambda: exec("1"), "compile"),
        (lambda: os.system("true"), "os.system"),
        (lambda: torch.ones(guard.MOST // 3), "MiB for a moment"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux alone")
def test_what_no_file_may_do_is_seen(act, told, tmp_path) -> None:
    with guard.guarded(tmp_path):
        (tmp_path / "own").write_text("x")
    with pytest.raises(guard.EscapedError, match=told), guard.guarded(tmp_path):
        act()


def test_a_refusal_for_want_of_memory_is_a_fault() -> None:
    assert guard.refusal_of(ValueError("too long")) == "too long"
    with pytest.raises(AssertionError, match="before the file was checked"):
        guard.refusal_of(ValueError("[enforce fail at alloc_cpu.cpp] can't allocate memory"))


def test_damages() -> None:
    content = bytes(range(10))
    assert mutations.Put(3, 2, b"x")(content) == b"\0\1\2x" + content[5:]
    assert mutations.Flip(1, 7)(content)[:2] == b"\0\x81"
    assert mutations.Copy(0, 2, 10)(content) == content + b"\0\1"
    assert mutations.Cut(4)(content) == content[:4]
    value = {"a": [1, {"b": 2}]}
    assert mutations.Set(("a", 1, "b"), None)(value) == {"a": [1, {"b": None}]}
    assert mutations.Drop(("a", 0))(value) == {"a": [{"b": 2}]}
    assert mutations.Take(("a", 0), ("a", 1))(value) == {"a": [{"b": 2}, {"b": 2}]}
    assert mutations.Add(("a",), "x", 3)(value) == {"a": [1, {"b": 2}, 3]}
    assert mutations.Drop(("a", 7))(value) == mutations.Set(("c", 1), 2)(value) == value
    assert mutations.paths(value) == [(), ("a",), ("a", 0), ("a", 1), ("a", 1, "b")]


# The runner.


class Toy(Target):
    """Numbers of which those from 50 on are wrong and odd ones refused."""

    name = "toy"
    about = "numbers"

    def cases(self):
        return st.integers(0, 1000)

    def check(self, case: int) -> str:
        if case >= 50:
            raise BaseException("a panic")
        return f"{case} is 'odd'" if case % 2 else ""


def test_the_smallest_case_is_shown_and_counts_are_of_what_came_before(tmp_path) -> None:
    said: list[str] = []
    runner = Runner(Toy(tmp_path), said.append)
    fault = runner.run(3, 60)
    assert fault is not None
    assert (fault.seed, fault.case) == (3, "50")
    assert "a panic" in fault.error
    assert said == ["a fault, which is made smaller: BaseException: a panic"]
    assert runner.refused.keys() <= {"N is '...'"}
    assert "1 faults" in runner.summary()
    assert not (tmp_path / "case").exists()


def test_an_error_in_drawing_is_a_fault(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Toy, "cases", lambda self: st.integers().map(lambda n: 1 // 0))
    fault = Runner(Toy(tmp_path)).run(0, 60)
    assert fault is not None
    assert "ZeroDivisionError" in fault.error


def test_a_case_that_takes_too_long_ends_the_process_and_is_known(tmp_path) -> None:
    code = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(fuzz.__file__).parent)!r})
from fuzzing.runner import Runner
from fuzzing.tables import Tables
Tables.check = lambda self, case: time.sleep(60)
target = Tables.__new__(Tables)
target.folder = Path({str(tmp_path)!r})
Runner(target, patience=1).run(0, 60)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode != 0
    assert "in <lambda>" in done.stdout
    assert (tmp_path / "case").read_text().startswith("Case(reader=")


def test_the_command_counts_and_tells_of_faults(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(fuzzing.TARGETS, "toy", Toy)
    options = ["toy", "--minutes", "0.05", "--seed", "1", "--folder", str(tmp_path)]
    threads = torch.get_num_threads()
    assert fuzz.main(options) == 1
    output = capsys.readouterr().out
    assert "FAULT, repeated by: python scripts/fuzz.py toy --seed 1\n50\n" in output
    monkeypatch.setattr(Toy, "check", lambda self, case: "")
    assert fuzz.main(options) == 0
    torch.set_num_threads(threads)
    output = capsys.readouterr().out
    assert re.search(r"toy: [\d,]+ cases: [\d,]+ accepted and right, 0 refused", output)
    with pytest.raises(SystemExit) as ended:
        fuzz.main(["nothing"])
    assert ended.value.code == 2


def test_reasons_are_told_without_what_is_the_cases_own() -> None:
    told = "/a/b: tensor 'x' of [1, 2] takes 1,200 bytes\nmore"
    assert essence(told) == "PATH tensor '...' of [...] takes N bytes"
