import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from qkv.cli.run import run

FAKE = [sys.executable, str(Path(__file__).with_name("fake_translator.py"))]
REAL = [sys.executable, "-m", "qkv"]
# The command over the fake translator, once the machine lacks what it is to lack.
FAKED = f"""
sys.path.insert(0, {str(Path(__file__).parent)!r})
import fake_translator
sys.modules["qkv.tasks.translation"] = fake_translator.module()
from qkv.cli import main
main()
"""
WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""
WITHOUT_FONTS = """
import sys
import matplotlib
from matplotlib import font_manager
from qkv.pictures import fonts

bundled = matplotlib.get_data_path()
manager = font_manager.fontManager
manager.ttflist = [entry for entry in manager.ttflist if entry.fname.startswith(bundled)]
fonts._add_new_fonts = lambda: None
"""

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full")


def call(command, *arguments, **options):
    done = subprocess.run([*command, *arguments], capture_output=True, timeout=120, **options)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def without(package, *arguments):
    program = WITHOUT.format(package=package) + FAKED
    return call([sys.executable, "-c", program], *arguments)


def without_fonts(*arguments, **options):
    return call([sys.executable, "-c", WITHOUT_FONTS + FAKED], *arguments, **options)


def test_alone_it_prints_its_help(capsys):
    assert run([]) == 0
    output, errors = capsys.readouterr()
    assert "translate" in output
    assert "doctor" in output
    assert errors == ""


@pytest.mark.parametrize(
    ("arguments", "slip", "hint"),
    [
        (["--no-such"], "--no-such", "; see qkv --help"),
        (["no-such"], "'no-such'", "; see qkv --help"),
        (["train"], "Missing command", "; see qkv train --help"),
        (["translate", "--model"], "'--model' requires an argument", ""),
        (["doctor", "surplus"], "unexpected extra argument", "; see qkv doctor --help"),
    ],
)
def test_a_slip_is_one_line_and_status_2(capsys, arguments, slip, hint):
    assert run(arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("qkv: ")
    assert slip in errors
    assert errors.endswith(f"{hint}\n")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("shape", [(2**50,), (2**31, 2**40)])
def test_too_little_memory_is_one_line(monkeypatch, capsys, shape):
    monkeypatch.setattr("qkv.cli.doctor._versions", lambda: torch.empty(shape))
    assert run(["doctor"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("qkv: there is not enough memory")
    assert shown.count("\n") == 1


def test_an_error_that_is_no_users_mistake_is_not_hidden(monkeypatch):
    def broken():
        raise RuntimeError("a bug")

    monkeypatch.setattr("qkv.cli.doctor._versions", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        run(["doctor"])


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", [[], ["translate"], ["train"], ["train", "classify"]])
def test_help_has_a_short_name_everywhere(capsys, command, flag):
    assert run([*command, flag]) == 0
    output, errors = capsys.readouterr()
    assert " ".join(["Usage: qkv", *command]) in output
    assert errors == ""


@pytest.mark.parametrize(
    ("words", "found"),
    [("qkv tr", ["translate", "train"]), ("qkv train cl", ["classify", "classify-image"])],
)
def test_the_shell_completes_commands(words, found):
    asked = {"_QKV_COMPLETE": "complete_bash", "COMP_WORDS": words}
    asked["COMP_CWORD"] = str(len(words.split()) - 1)
    status, output, errors = call(REAL, env=os.environ | asked)
    assert (status, output.split(), errors) == (0, found, "")


def test_help_needs_no_torch():
    program = (
        "import sys\n"
        "from qkv.cli.run import run\n"
        "assert run(['translate', '--help']) == 0\n"
        "assert 'torch' not in sys.modules, 'help imported torch'\n"
    )
    assert call([sys.executable, "-c", program])[0] == 0


def test_a_reader_that_has_gone_ends_it_quietly():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as gone:
        done = subprocess.run(
            [*FAKE, "translate", "love"], stdout=gone, stderr=subprocess.PIPE, timeout=120
        )
    assert (done.returncode, done.stderr) == (141, b"")


@on_linux
def test_a_full_disk_is_one_line():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*FAKE, "translate", "love"], stdout=full, stderr=subprocess.PIPE, timeout=120
        )
    assert (done.returncode, done.stderr) == (1, b"qkv: No space left on device\n")


def test_lines_are_answered_as_they_come_and_interrupted_in_one_line():
    process = subprocess.Popen(
        [*FAKE, "translate"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A job in the background ignores Ctrl-C, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        process.stdin.write(b"I love\n")
        process.stdin.flush()
        assert process.stdout.readline().decode() == "我爱\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"qkv: interrupted\n"
        assert process.wait(timeout=60) == 130


def test_text_is_utf8_whatever_the_locale():
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    status, output, errors = call(FAKE, "translate", input="\ufeffI Ω\n".encode(), env=environment)
    assert (status, output, errors) == (0, "我Ω\n", "")


def test_input_that_is_not_text_is_one_line():
    status, _, errors = call(FAKE, "translate", input=b"I\n\xff\xfe\n")
    assert (status, errors) == (1, "qkv: translate: standard input is not UTF-8 text\n")


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("typer", ["translate", "love"]),
        ("rich", ["translate", "--show", "love"]),
        ("matplotlib", ["translate", "--picture", "map.png", "love"]),
    ],
)
def test_a_missing_package_is_one_line_that_says_what_to_install(package, arguments):
    status, _, errors = without(package, *arguments)
    assert status == 1
    assert errors.startswith("qkv: ")
    assert errors.endswith(f" needs {package}: pip install {package}\n")
    assert errors.count("\n") == 1


def test_without_rich_and_matplotlib_it_still_translates():
    assert without("rich", "translate", "love") == (0, "爱\n", "")
    assert without("matplotlib", "translate", "love") == (0, "爱\n", "")


def test_without_a_font_the_picture_warns_in_one_line(tmp_path):
    status, output, errors = without_fonts("translate", "--picture", "map.png", "a我", cwd=tmp_path)
    assert (status, output) == (0, "a\n")
    assert (tmp_path / "map.png").stat().st_size > 0
    assert errors.startswith("qkv: warning: no installed font has 1 of the")
    assert errors.count("\n") == 1


def test_a_missing_font_is_told_once_in_a_run(tmp_path):
    texts = ["a我", "b爱", "c你"]
    status, output, errors = without_fonts(
        "translate", "--picture", "map.png", *texts, cwd=tmp_path
    )
    assert (status, output) == (0, "a\nb\nc\n")
    assert errors.startswith("qkv: warning: no installed font has 1 of the")
    assert errors.count("\n") == 1
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("content", [None, "", "{}", "[]", "not json"])
def test_a_folder_that_is_no_model_is_one_line(tmp_path, content):
    if content is not None:
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            (tmp_path / name).write_text(content)
    status, output, errors = call(REAL, "translate", "--model", str(tmp_path), "love")
    assert (status, output) == (1, "")
    assert str(tmp_path) in errors
    assert errors.count("\n") == 1


def test_the_version_is_the_packages(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"qkv {version('qkv')}\n"


@on_linux
def test_a_stream_that_the_shell_has_closed():
    """Nothing ends in a traceback, and no warning comes out among the translations."""
    shell = ["bash", "-c", '"$@" >&-', "-", *FAKE]
    status, output, errors = call(shell, "nowhere/absent.txt")
    assert (status, output) == (2, "")
    assert errors.count("\n") == 1
    program = "import sys; print('kept'); print('lost', file=sys.stderr)"
    before = f"import sys; from qkv.cli.run import _open_streams; _open_streams(); {program}"
    assert call(["bash", "-c", '"$@" 2>&-', "-", sys.executable, "-c", before]) == (0, "kept\n", "")
