"""Settings from a TOML file: flags win, and a run writes the file that repeats it."""

import tomllib

import pytest

from qkv.cli.run import run

LINES = "".join(f"I see {n} dogs.\t我看见{n}只狗。\n" for n in range(60))
CONFIG = """
train = ["{data}"]
width = 8
encoder-layers = 1
decoder_layers = 1
source-pieces = 300
encoder = "lstm"
steps = 1
validation_share = 0.2
average = 0.5
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / "pairs.tsv").write_text(LINES, encoding="utf-8")
    path = tmp_path / "run.toml"
    path.write_text(CONFIG.format(data=tmp_path / "pairs.tsv"), encoding="utf-8")
    return path


def train(*arguments):
    return run(["train", "translate", *map(str, arguments)])


def test_flags_win_over_the_file_and_the_file_over_defaults(config, tmp_path):
    assert train("--config", config, "--out", tmp_path / "out", "--width", 12, "--steps", 2) == 0
    written = tomllib.loads((tmp_path / "out" / "run.toml").read_text(encoding="utf-8"))
    assert (written["width"], written["steps"]) == (12, 2)
    assert (written["encoder"], written["source_pieces"], written["average"]) == ("lstm", 300, 0.5)
    assert (written["dropout"], written["learning_rate"]) == (0.1, 0.001)
    assert written["train"] == [str(tmp_path / "pairs.tsv")]
    assert "minutes" not in written


def test_what_a_run_writes_repeats_it(config, tmp_path):
    assert train("--config", config, "--out", tmp_path / "one") == 0
    assert train("--config", tmp_path / "one" / "run.toml", "--out", tmp_path / "two") == 0
    for name in ("run.toml", "config.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("widht = 8", "no setting 'widht'; these are: accumulate, average, batch_tokens"),
        ("width = 0", "Invalid value for '--width'"),
        ('width = "wide"', "Invalid value for '--width'"),
        ('encoder = "tree"', "Invalid value for '--encoder'"),
        ("encoder = rnn", "line 1"),
        (None, "No such file or directory"),
        ("x = " + "[" * 100_000, "too many brackets within brackets"),
    ],
)
def test_a_file_that_is_wrong_is_one_line_and_status_2(tmp_path, capsys, content, message):
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_text(content)
    assert train("pairs.tsv", "--out", tmp_path / "out", "--config", path) == 2
    output = capsys.readouterr().err
    assert output.startswith("qkv: ")
    assert message in output
    assert output.count("\n") == 1
    assert not (tmp_path / "out").exists()
