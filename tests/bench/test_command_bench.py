import json
import os
from importlib.metadata import version

import pytest
import torch

from qkv.bench.limits import Limit
from qkv.bench.works import WORKS
from qkv.cli.run import run


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Limits that nobody waits for, and the number of threads as before."""
    peaks = {Limit.FLOAT32: 1e12, Limit.BFLOAT16: 2e12, Limit.READING: 1e11}
    monkeypatch.setattr("qkv.bench.limits.probe", lambda seconds: peaks)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def small(*options):
    return run(["bench", "small", "--quick", "--rounds", "2", *options])


def test_it_prints_a_table_with_times_and_targets(capsys):
    assert small("--targets") == 0
    output, _ = capsys.readouterr()
    assert "small: [1, 8, 16, 64]" in output
    assert "torch SDPA" in output
    assert "at most 1.5 × its" in output
    assert "reached" in output
    assert f"torch {torch.__version__}" in output
    assert "limits of this machine: float32 products 1e+03 GFLOP/s" in output


def test_targets_are_shown_only_when_asked_for(monkeypatch, tmp_path, capsys):
    drawn = []
    monkeypatch.setattr("qkv.pictures.save_picture", lambda figure, path: drawn.append(figure))
    for options in ([], ["--targets"]):
        assert small("--picture", str(tmp_path / "ratios.png"), *options) == 0
        output, _ = capsys.readouterr()
        shown = bool(options)
        axes = drawn[-1].axes[0]
        assert ("target" in output) is ("reached" in output) is shown
        assert ("target" in axes.get_xlabel()) is shown
        assert len(axes.collections) == 1 + shown
        assert "small: [1, 8, 16, 64]" in output
        assert "torch SDPA" in output


def test_json_holds_machine_limits_and_every_sample(tmp_path, capsys):
    path = tmp_path / "figures.json"
    assert small("--threads", "1", "--json", str(path)) == 0
    record = json.loads(path.read_text())
    assert record["complete"] is True
    assert record["settings"] == {"rounds": 2, "seconds": 1.0, "quick": True}
    assert record["machine"]["threads"] == 1
    assert record["machine"]["torch"] == torch.__version__
    assert record["machine"]["packages"]["entmax"] == version("entmax")
    assert record["limits"]["float32 products"] == 1e12
    assert record["results"][0]["case"] == "[1, 8, 16, 64]"
    for result in record["results"]:
        ours, peer = result["contenders"]
        assert (ours["name"], ours["peer"], peer["peer"]) == ("qkv", False, True)
        assert len(peer["samples"]) == 2
        assert peer["quartiles"][0] <= peer["median"] <= peer["quartiles"][1]
        assert peer["ratio"] == pytest.approx(peer["median"] / ours["median"], rel=1e-2)
        (target,) = result["targets"]
        assert target["reached"] == (target["found"] >= target["at least"])


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_picture_is_drawn(tmp_path, suffix, capsys):
    path = tmp_path / f"ratios.{suffix}"
    assert small("--picture", str(path)) == 0
    assert path.stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "slip"),
    [
        (["no-such"], f"no work 'no-such'; these are: {', '.join(w.name for w in WORKS)}"),
        (["--threads", "0"], "'--threads'"),
        (["--rounds", "0"], "'--rounds'"),
        (["--picture", "ratios.txt"], "must end in .png, .svg, .pdf"),
        (["--picture", os.path.join("nowhere", "ratios.png")], "there is no folder 'nowhere'"),
        (["--json", os.path.join("nowhere", "figures.json")], "its folder does not exist"),
    ],
)
def test_a_slip_is_one_line_and_status_2(capsys, arguments, slip):
    assert run(["bench", *arguments]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert slip in errors
    assert errors.count("\n") == 1


def test_an_interrupt_keeps_what_was_measured(monkeypatch, tmp_path, capsys):
    from qkv.bench.runner import measure

    def interrupted(*arguments):
        yield next(measure(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr("qkv.bench.runner.measure", interrupted)
    path = tmp_path / "figures.json"
    assert small("--json", str(path)) == 130
    output, errors = capsys.readouterr()
    assert "small: [1, 8, 16, 64]" in output
    assert errors.endswith("qkv: interrupted\n")
    record = json.loads(path.read_text())
    assert (record["complete"], len(record["results"])) == (False, 1)


def test_a_wrong_qkv_is_named_and_is_status_1(monkeypatch, capsys):
    import qkv

    right = qkv.attend
    monkeypatch.setattr("qkv.attend", lambda *inputs, **options: right(*inputs, **options) * 2)
    assert small() == 1
    output, errors = capsys.readouterr()
    assert "not timed: qkv: wrong: result 0" in output
    assert "qkv is wrong in small: [1, 8, 16, 64]" in errors
