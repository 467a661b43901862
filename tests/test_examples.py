"""The example programs run, draw, and print what is true."""

from __future__ import annotations

import importlib
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import qkv

EXAMPLES = Path(__file__).parents[1] / "examples"
NUMBER = r"-?[\d,]+(?:\.\d+)?"


def run(name: str, *arguments: str, folder: Path, path: str = "") -> subprocess.CompletedProcess:
    """Run a program as a user does, in a folder of its own, on one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100", "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip


def output_of(name: str, *arguments: str, folder: Path) -> str:
    """What it prints; its picture must lie where it says."""
    done = run(name, *arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert f"Drawn: build/examples/{name}.png" in done.stdout
    check_picture(folder / "build" / "examples" / f"{name}.png")
    return done.stdout


def check_picture(path: Path) -> None:
    """A PNG of sensible size with something on it."""
    image = pytest.importorskip("matplotlib.image").imread(path)
    height, width, _ = image.shape
    assert 900 < width < 2500
    assert 700 < height < 2000
    assert image[..., :3].std() > 0.1
    assert path.stat().st_size < 2_000_000


def cells(line: str) -> list[str]:
    """The cells of a table's row."""
    return [cell.strip() for cell in line.strip("│ \n").split("│")]


def table(text: str, title: str) -> list[list[str]]:
    """The rows below a title."""
    lines = text[text.index(title) :].splitlines()[1:]
    end = next(i for i, line in enumerate(lines) if line.startswith("└"))
    return [cells(line) for line in lines[:end] if line.startswith("│")]


def numbers(text: str, pattern: str) -> list[float]:
    """The numbers in the first place where a pattern with `#` for each of them matches."""
    found = re.search(pattern.replace("#", f"({NUMBER})"), " ".join(text.split()))
    assert found, pattern
    return [float(number.replace(",", "")) for number in found.groups()]


@pytest.fixture
def module(monkeypatch):
    """Imports a program without running it."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


def test_three_stages_prints_numbers_that_agree_with_each_other(tmp_path):
    text = output_of("three_stages", folder=tmp_path)
    *rows, total = table(text, 'The query "dog" looks at every key')
    assert [row[0] for row in rows] == ["the", "dog", "saw", "the", "cat"]
    scores, scaled, exponentials, weights = (
        [float(row[column]) for row in rows] for column in (1, 2, 3, 4)
    )
    for i in range(len(rows)):
        assert scaled[i] == pytest.approx(scores[i] / math.sqrt(2), abs=1e-3)
        assert exponentials[i] == pytest.approx(math.exp(scaled[i]), rel=2e-3)
        assert weights[i] == pytest.approx(exponentials[i] / float(total[3]), abs=1e-3)
    weighted = torch.tensor([[float(part) for part in row[5].split()] for row in rows])
    output = torch.tensor([float(part) for part in total[5].split()])
    assert (weighted.sum(0) - output).abs().max() < 0.03  # each is rounded to two places
    for i, row in enumerate(rows):  # the engine's own account, further below
        account = numbers(text, rf" {i} # # # # \[#, #\]")
        assert account[:2] == pytest.approx([float(row[1]), float(row[2])], abs=1e-3)
        assert account[3] == pytest.approx(float(row[4]), abs=1e-3)
    effects = {row[0]: [float(cell) for cell in row[1:]] for row in table(text, "256 random")}
    assert effects["variance of q·k"][-1] == pytest.approx(1024, rel=0.2)
    assert effects["variance of q·k / √d"][-1] == pytest.approx(1, rel=0.2)
    assert effects["entropy of q·k"][-1] < 0.3 < 3 < effects["entropy of q·k / √d"][-1]
    assert effects["gradient of q·k"][-1] < effects["gradient of q·k / √d"][-1] / 2


def test_the_stages_by_hand_are_softmax_attention(module):
    three_stages = module("three_stages")
    query, key, value = torch.randn(3, 5, three_stages.WIDTH, dtype=torch.float64)
    stages = three_stages.by_hand(query, key, value)
    weights = torch.softmax(query @ key.mT / math.sqrt(three_stages.WIDTH), -1)
    torch.testing.assert_close(stages["weights"], weights)
    torch.testing.assert_close(stages["output"], weights @ value)
    with pytest.raises(AssertionError):
        three_stages.check(query, key, value, {**stages, "output": 1.01 * stages["output"]})


def test_regions_of_a_photograph_look_at_what_is_like_them(tmp_path):
    pytest.importorskip("skimage")
    text = output_of("photograph", folder=tmp_path)
    rows = table(text, "Where four of them look")
    assert [row[0] for row in rows] == ["face", "orange suit", "helmet", "wall"]
    for _, half, largest, away, colour, seen in rows:
        assert 10 < int(half) < 410  # a tenth of the patches at most
        assert 1 / 4096 < float(largest) < 0.05
        assert 20 < int(away) < 150
        parts = [(int(colour[i : i + 2], 16), int(seen[i : i + 2], 16)) for i in (1, 3, 5)]
        assert max(abs(own - other) for own, other in parts) < 24


def test_a_patch_of_the_suit_looks_at_the_suit(module):
    pytest.importorskip("skimage")
    photograph = module("photograph")
    from skimage.data import astronaut

    image = torch.from_numpy(astronaut()).float() / 255
    likeness, colours = photograph.describe(image)
    assert (likeness[-1] - likeness[0])[-2:].tolist() == pytest.approx([0.05 * 504] * 2)  # place
    row = photograph.QUERIES["orange suit"]
    index = row[0] // photograph.PATCH * (512 // photograph.PATCH) + row[1] // photograph.PATCH
    matrix = qkv.attention(likeness, likeness, score=qkv.Gaussian(photograph.WIDTH))
    distances = (likeness.double() - likeness[index].double()).square().sum(-1)
    expected = torch.softmax(-distances / (2 * photograph.WIDTH**2), -1)
    torch.testing.assert_close(matrix[index].double(), expected, rtol=1e-3, atol=1e-7)
    red, green, blue = colours.unbind(-1)
    orange = (red > 1.6 * green) & (red > 1.6 * blue)
    assert orange.float().mean() < 0.35
    assert matrix[index][orange].sum() > 0.9


def test_a_long_document_takes_less_memory_than_its_matrix(tmp_path):
    text = output_of("long_document", "--tokens", "8192", folder=tmp_path)
    (extra, dense) = numbers(text, "# MiB of it since the sweep began; .* would take # MiB")
    assert dense == 256
    assert extra < dense
    first = table(text, "Keys that received most attention")
    assert int(first[0][2]) < 100  # seen by nearly all
    fair = [row for row in table(text, "Received most against even attention") if row[2]]
    assert all(float(row[4]) > 1.5 for row in fair)
    found, even = numbers(text, "has # keys in use .* even attention: # and")
    assert found < even / 10


def test_statistics_of_the_long_document_are_those_of_the_dense_matrix(module):
    program, document = module("long_document"), module("_document")
    words = document.read(600)
    vectors = document.embed(words)[words.ids]
    unit = torch.nn.functional.normalize(vectors.double(), dim=-1)
    hidden = torch.ones(600, 600, dtype=torch.bool).triu(1)
    weights = (program.SCALE * unit @ unit.mT).masked_fill(hidden, -torch.inf).softmax(-1)
    found = program.look_back(vectors).measure(qkv.Mass(), qkv.Entropy(), qkv.Distance())
    torch.testing.assert_close(found.mass.double(), weights.sum(0), rtol=1e-4, atol=1e-6)
    entropy = torch.special.entr(weights).sum(-1)
    torch.testing.assert_close(found.entropy.double(), entropy, rtol=1e-4, atol=1e-5)
    place = torch.arange(600, dtype=torch.float64)
    distance = place - weights @ place
    torch.testing.assert_close(found.distance.double(), distance, rtol=1e-4, atol=1e-3)


def test_what_is_repeated_in_a_document_is_found(module):
    program, document = module("long_document"), module("_document")
    half = document.read(2048)
    words = [*half.words, *half.words]
    ids = torch.cat([half.ids, half.ids])
    twice = document.Document(words, ids, half.vocabulary, half.topics)
    assert twice.repeated(range(2048, 2148), range(100)) == 1
    assert half.repeated(range(1000, 1100), range(100)) < 0.1
    size = program.MAP
    vectors = document.embed(twice)[twice.ids]
    pools = [
        program.look_back(each).pool(size, size, "mean") for each in (vectors, torch.ones(4096, 1))
    ]
    ratio = (pools[0] / pools[1]).nan_to_num(0.0)
    streak = ratio.diagonal(-size // 2).mean()
    beside = ratio.diagonal(-size // 2 - 4).mean()
    assert streak > 1.5 * beside


def test_a_query_finds_the_face_in_a_set(tmp_path):
    pytest.importorskip("skimage")
    text = output_of("set_attention", "--splits", "1", folder=tmp_path)
    ((_, accuracy, _, on_faces, if_even, strongest),) = (
        [float(cell.rstrip("%")) for cell in row] for row in table(text, "1,000 sets")
    )
    assert accuracy > 75  # half of the sets hold a face
    assert if_even < 25
    assert on_faces > 80
    assert strongest > 90
    differences = re.findall(r"\d(?:\.\d+)?e[-+]\d+", text)
    assert len(differences) == 2
    assert all(float(difference) < 1e-12 for difference in differences)


def test_sets_hold_what_they_say_and_padding_changes_nothing(module):
    pytest.importorskip("skimage")
    faces, program = module("_faces"), module("set_attention")
    pictures = faces.load_pictures()
    sets = faces.draw_sets(torch.arange(100), torch.arange(100, 200), 50)
    place = torch.arange(faces.LARGEST)
    assert torch.equal(sets.is_face, sets.members < faces.FACES)
    assert not (sets.is_face & (place >= sets.lengths[:, None])).any()
    assert torch.equal(sets.has_face, torch.arange(50) % 2 == 1)
    assert int(sets.is_face.sum(1).max()) <= faces.MOST_FACES
    assert all(len(set(row.tolist())) == faces.LARGEST for row in sets.members)
    model = program.SetClassifier(attentive=True).eval().double()
    torch.nn.init.normal_(model.query)
    logits, matrix = model(pictures[sets.members].double(), sets.lengths)
    short = int(sets.lengths.argmin())
    length = sets.lengths[short : short + 1]
    alone = pictures[sets.members[short : short + 1, : int(length)]].double()
    logit, weights = model(alone, length)
    torch.testing.assert_close(logit, logits[short : short + 1])
    torch.testing.assert_close(weights.dense()[0, 0], matrix[short, 0, : int(length)])


def test_a_picture_of_an_unknown_kind_is_refused_before_any_work(tmp_path):
    done = run("three_stages", "--picture", "picture.bmp", folder=tmp_path)
    assert done.returncode == 2
    assert "must end in .png, .svg, .pdf; got 'picture.bmp'" in done.stderr
    assert done.stdout == ""


def test_a_bad_number_is_refused(tmp_path):
    done = run("long_document", "--tokens", "many", folder=tmp_path)
    assert done.returncode == 2
    assert "must be a whole number from 256 to 32,768; got 'many'" in done.stderr


@pytest.mark.parametrize(
    ("name", "package", "hint"),
    [
        ("photograph", "skimage", "pip install scikit-image"),
        ("three_stages", "matplotlib", "need matplotlib: pip install matplotlib"),
    ],
)
def test_a_missing_package_is_named(name, package, hint, tmp_path):
    hidden = tmp_path / "hidden" / f"{package}.py"
    hidden.parent.mkdir()
    hidden.write_text(f"raise ModuleNotFoundError('No module', name={package!r})\n")
    done = run(name, folder=tmp_path, path=str(hidden.parent))
    assert done.returncode == 1
    assert hint in done.stderr
    assert len(done.stderr.splitlines()) == 1
