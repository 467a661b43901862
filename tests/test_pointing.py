"""`benchmarks/pointing.py`: what is pasted where, and what counts as a hit."""

import json
import sys
from pathlib import Path

import numpy
import pytest
import torch

from qkv.models import ImageClassifier, ImageClassifierConfig
from qkv.tasks.classification import ImageLabeller
from qkv.tasks.classification.images.data import read_pictures

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
pointing = pytest.importorskip("pointing", reason="the source distribution has no benchmarks")


def drawn(count=40):
    """Pictures [N, 12, 8, 3], of which no two pixels of one picture are the same."""
    chance = numpy.random.default_rng(1)
    plane = numpy.stack([chance.permutation(96).reshape(12, 8) for _ in range(count)])
    return numpy.stack([plane, 255 - plane, plane // 2], -1).astype(numpy.uint8)


def test_the_box_holds_the_picture_and_can_lie_anywhere():
    images, seen, kinds = drawn(), set(), set()
    for seed in range(10):
        for number in range(40):
            canvas, (top, left, bottom, right), kind = pointing.pasted(images, number, 16, seed)
            assert canvas.shape == (16, 16, 3)
            assert (bottom - top, right - left) == (12, 8)
            assert numpy.array_equal(canvas[top:bottom, left:right], images[number])
            seen.add((top, left))
            kinds.add(kind)
    assert seen == {(top, left) for top in range(5) for left in range(9)}
    assert kinds == {"noise", "tiles"}


def test_a_background_of_tiles_is_of_other_pictures():
    images = numpy.stack([numpy.full((8, 8, 3), number, numpy.uint8) for number in range(5)])
    canvas = pointing.tiles(images, 3, 64, numpy.random.default_rng(0))
    assert set(canvas.flat) == {0, 1, 2, 4}
    for row, column in numpy.ndindex(8, 8):
        tile = canvas[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        assert len(set(tile.flat)) == 1


def make(folder, name="pasted.npz", **options):
    labels = numpy.arange(40) % 2
    numpy.savez(folder / "data.npz", images=drawn(), labels=labels, classes=["cat", "dog"])
    chosen = {"pictures": None, "edge": 24, "seed": 0} | options
    pointing.make(folder / "data.npz", folder / name, **chosen)
    return folder / name


def test_what_is_made_is_read_as_it_is_and_the_same_twice(tmp_path):
    path = make(tmp_path)
    pictures = read_pictures(path)
    assert pictures.images.shape == (40, 3, 24, 24)
    originals = {image.tobytes(): n for n, image in enumerate(drawn())}
    with numpy.load(path) as file:
        boxes = file["boxes"].tolist()
    found = []
    for image, label, (top, left, bottom, right) in zip(
        pictures.images, pictures.labels, boxes, strict=True
    ):
        cut = image[:, top:bottom, left:right].permute(1, 2, 0).contiguous().numpy()
        number = originals[cut.tobytes()]
        assert label == ("cat", "dog")[number % 2]
        found.append(number)
    assert sorted(found) == list(range(40))
    some = read_pictures(make(tmp_path, "some.npz", pictures=7))
    assert torch.equal(some.images, pictures.images[:7])
    other = read_pictures(make(tmp_path, "other.npz", seed=1))
    assert not torch.equal(other.images, pictures.images)
    assert {file.name for file in tmp_path.iterdir()} == {
        "data.npz", "pasted.npz", "some.npz", "other.npz",
    }  # fmt: skip


def test_pictures_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(SystemExit, match="multiple of 8 and hold the pictures"):
        make(tmp_path, edge=8)
    assert not (tmp_path / "pasted.npz").exists()


def test_the_hottest_cell_points_with_its_centre():
    weights = torch.zeros(3, 2, 4)
    weights[0, 0, 0] = weights[1, 1, 2] = weights[2, 0, 3] = 0.9
    found = pointing.hottest(weights, (16, 24))
    assert found.tolist() == [[4, 3], [12, 15], [4, 21]]


@pytest.mark.parametrize(
    ("box", "hit"),
    [
        ([4, 3, 5, 4], True),
        ([0, 0, 16, 24], True),
        ([5, 3, 9, 9], False),  # it begins below
        ([4, 4, 9, 9], False),
        ([0, 0, 4, 9], False),  # its end is outside
        ([0, 0, 9, 3], False),
    ],
)
def test_a_hit_lies_in_the_box(box, hit):
    points, boxes = torch.tensor([[4.0, 3.0]]), torch.tensor([box])
    assert pointing.hits(points, boxes).tolist() == [hit]


def test_a_random_cell_hits_as_often_as_its_expectation_says():
    boxes = torch.tensor([[0, 0, 8, 8], [3, 5, 11, 13], [0, 0, 16, 24]])
    found = pointing.expected((4, 6), (16, 24), boxes)
    # Centres are at 2, 6, 10, 14 both ways: two by two of 24; 6 and 10 by 6 and 10; all.
    torch.testing.assert_close(found, torch.tensor([4 / 24, 4 / 24, 1.0], dtype=torch.float64))


class Looks(ImageLabeller):
    """Looks at the brightest place of four by four and finds cats everywhere."""

    def classify(self, images, names):
        found = super().classify(images, names)
        bright = torch.nn.functional.avg_pool2d(images.float().mean(1), 4)
        return [
            type(one)(one.input, "cat", 1.0, one.image, weights)
            for one, weights in zip(found, bright, strict=True)
        ]


@pytest.fixture
def bright(tmp_path):
    """Black pictures with a white box, in the middle of half of them, and where it is."""
    images, boxes = numpy.zeros((8, 16, 16, 3), numpy.uint8), []
    for number, image in enumerate(images):
        top = left = 6 if number < 4 else 0
        image[top : top + 8, left : left + 8] = 255
        boxes.append([top, left, top + 8, left + 8])
    boxes[1] = [0, 0, 4, 4]  # one that is not where the model looks
    path = tmp_path / "bright.npz"
    numpy.savez(
        path, images=images, labels=[0, 0, 1, 1] * 2, classes=["cat", "dog"], boxes=boxes,
        backgrounds=["noise", "tiles"] * 4,
    )  # fmt: skip
    return path


def labeller():
    model = ImageClassifier(ImageClassifierConfig(2, 16, 16, channels=4))
    return Looks(model, ["cat", "dog"])


def test_hits_are_counted_over_all_and_over_parts(bright):
    found = pointing.score(labeller(), bright)
    shares = {who: {part: one["share"] for part, one in parts.items()}
              for who, parts in found.items()}  # fmt: skip
    assert shares["attention pooling"] == {
        "all": 7 / 8, "labelled rightly": 3 / 4, "on noise": 1.0, "on tiles": 3 / 4,
    }  # fmt: skip
    assert shares["middle of the picture"]["all"] == 3 / 8
    # Of 16 cells, 4 are in a box, and 1 in the one box that is small.
    assert shares["random cell"]["all"] == pytest.approx((7 * 4 + 1) / 8 / 16)
    low, high = found["attention pooling"]["all"]["interval"]
    assert (low, high) == pytest.approx((0.5291, 0.9776), abs=1e-4)  # Wilson, 7 of 8
    assert "interval" not in found["random cell"]["all"]


def test_the_table_and_the_json_tell_the_figures(bright, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pointing.ImageLabeller, "load", lambda path: labeller())
    path = tmp_path / "figures.json"
    command = ["pointing", "score", "model", str(bright), "--json", str(path)]
    monkeypatch.setattr(sys, "argv", command)
    pointing.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:5] == ["attention", "pooling", "87.5", "[52.9,", "97.8]"]
    assert lines[3].split()[:3] == ["random", "cell", "22.7"]
    assert lines[4].split()[:2] == ["8", "pictures"]
    record = json.loads(path.read_text())
    assert record["figures"]["attention pooling"]["all"]["share"] == 7 / 8
    assert record["machine"]["torch"] == torch.__version__


def test_a_model_without_attention_points_nowhere(bright):
    model = ImageClassifier(ImageClassifierConfig(2, 16, 16, architecture="cnn", channels=4))
    with pytest.raises(SystemExit, match="has no attention"):
        pointing.score(ImageLabeller(model, ["cat", "dog"]), bright)
