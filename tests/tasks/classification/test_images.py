"""Labelled pictures: reading, varying, learning, and what the classifier says."""

import io
import json
import struct
import sys
import zipfile
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from small import pictures, train_images, write_pictures

from qkv.tasks.classification import ImageLabeller
from qkv.tasks.classification.images.augmentation import cut_out, shifted
from qkv.tasks.classification.images.data import Pictures, read_pictures, split_pictures
from qkv.tasks.classification.images.options import Data, Options
from qkv.tasks.classification.images.reading import read_picture
from qkv.tasks.classification.images.task import ImageTask
from qkv.tasks.classification.images.training import evaluate, train_image_classifier
from qkv.tasks.trainer.settings import Settings


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """The folder of a classifier that has learnt to tell red from blue squares."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("learnt")
    path = write_pictures(folder / "data.npz")
    train_images(path, folder / "model", epochs=10)
    return folder / "model"


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(numpy.asarray(array)).save(path)
    return path


GREY = numpy.arange(0, 256, 4, dtype=numpy.uint8).reshape(8, 8)


def test_any_kind_of_pixels_becomes_eight_bits_of_three_colours(tmp_path):
    expected = torch.tensor(GREY).expand(3, 8, 8)
    for name, array in (
        ("grey.png", GREY),
        ("colour.png", numpy.stack([GREY] * 3, -1)),
        ("sixteen.png", GREY.astype(numpy.uint16) * 257),
        ("opaque.png", numpy.stack([GREY, GREY, GREY, numpy.full_like(GREY, 255)], -1)),
    ):
        path = write(tmp_path / name, array)
        assert torch.equal(read_picture(path, name), expected), name
    Image.fromarray(GREY).convert("P").save(tmp_path / "palette.png")
    assert torch.equal(read_picture(tmp_path / "palette.png", "p"), expected)


def test_what_is_transparent_lies_on_white(tmp_path):
    hidden = numpy.zeros((8, 8, 4), numpy.uint8)
    assert (read_picture(write(tmp_path / "a.png", hidden), "a") == 255).all()
    hidden[..., 3] = 51
    assert (read_picture(write(tmp_path / "b.png", hidden), "b") == 204).all()


def test_a_picture_is_scaled_to_cover_the_size_and_cut_around_its_middle(tmp_path):
    wide = numpy.zeros((10, 30, 3), numpy.uint8)
    wide[:, 10:20] = 200
    image = read_picture(write(tmp_path / "wide.png", wide), "wide", (20, 20))
    assert image.shape == (3, 20, 20)
    assert (image[:, :, 4:16] > 190).all()


@pytest.mark.parametrize(
    ("made", "finer", "shape"),
    [
        ((50, 90), 32, (48, 48)),  # 16 × 16 is there thrice, downwards
        ((50, 90), 2, (32, 32)),
        ((9, 9), 32, (16, 16)),  # coarser than what is read
    ],
)
def test_the_same_part_of_a_picture_is_read_finer(tmp_path, made, finer, shape):
    levels = torch.linspace(0, 255, made[0] * made[1]).view(made)
    path = write(tmp_path / "a.png", levels.to(torch.uint8).numpy())
    fine = read_picture(path, "a", (16, 16), finer=finer)
    assert fine.shape == (3, *shape)
    coarse = torch.nn.functional.interpolate(fine[None].float(), (16, 16), mode="area")[0]
    assert (coarse - read_picture(path, "a", (16, 16)).float()).abs().max() < 12


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "crc"])
def test_a_corrupt_file_is_named(tmp_path, damage):
    path = write(
        tmp_path / "bad.png", numpy.random.default_rng(0).integers(0, 255, (64, 64, 3), numpy.uint8)
    )
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        {
            "cut": content[:middle],
            "text": b"no picture",
            "empty": b"",
            "crc": content[:middle] + b"\x00" * 40 + content[middle + 40 :],
        }[damage]
    )
    with pytest.raises(ValueError, match=r"^here: not a picture that can be read: "):
        read_picture(path, "here")


def test_floating_point_pixels_are_refused(tmp_path):
    path = tmp_path / "float.tiff"
    Image.fromarray(numpy.ones((8, 8), numpy.float32)).save(path)
    with pytest.raises(ValueError, match="its pixels are floating-point numbers"):
        read_picture(path, "float")


def test_folders_and_files_of_both_kinds_hold_the_same(tmp_path):
    made, labels = pictures(6)
    names = ["red", "blue"]
    blob, offsets = b"", [0]
    for number, (image, label) in enumerate(zip(made, labels, strict=True)):
        path = write(tmp_path / "folder" / names[label] / f"{number}.png", image)
        blob += path.read_bytes()
        offsets.append(len(blob))
    (tmp_path / "folder" / "red" / "notes.txt").write_text("passed over")
    blob = numpy.frombuffer(blob, numpy.uint8)
    common = {"labels": labels, "classes": names}
    numpy.savez(tmp_path / "blob.npz", blob=blob, offsets=offsets, **common)
    numpy.savez(tmp_path / "last.npz", images=made, **common)
    numpy.savez(tmp_path / "first.npz", images=made.transpose(0, 3, 1, 2), **common)
    expected = torch.tensor(made).permute(0, 3, 1, 2)
    for name in ("blob", "last", "first"):
        found = read_pictures(tmp_path / f"{name}.npz")
        assert torch.equal(found.images, expected), name
        assert found.labels == [names[label] for label in labels]
    found = read_pictures(tmp_path / "folder")
    assert found.labels == ["blue"] * 3 + ["red"] * 3
    assert torch.equal(found.images, expected[[1, 3, 5, 0, 2, 4]])
    assert read_pictures(tmp_path / "last.npz", (8, 8)).images.shape == (6, 3, 8, 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, "there is no 'labels' in it"),
        ({"images": None}, "there is no 'images' in it; .* got classes, labels"),
        ({"labels": [0, 9]}, "picture 1 has label 9, and there are 2 classes"),
        ({"labels": [0.0, 1.0]}, r"labels must be whole numbers \[N\]; got float64 \[2\]"),
        ({"labels": [0, 1, 1]}, "images must be 3 of unsigned 8 bits"),
        ({"images": numpy.zeros((2, 8, 8, 3))}, r"got float64 \[2, 8, 8, 3\]"),
        ({"images": numpy.zeros((2, 8, 8, 5), numpy.uint8)}, "must have 3 channels or none"),
        (
            {"images": None, "blob": numpy.zeros(9, numpy.uint8), "offsets": [0, 4, 9]},
            "picture 0: not a picture that can be read",
        ),
        (
            {"images": None, "blob": numpy.zeros(9, numpy.uint8), "offsets": [0, 9]},
            "offsets must be 3, one more than labels; got 2",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, changes, message):
    arrays = {"images": numpy.zeros((2, 8, 8, 3), numpy.uint8), "labels": [0, 1]}
    arrays |= {"classes": ["red", "blue"]} | changes
    numpy.savez(tmp_path / "a.npz", **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(ValueError, match=message):
        read_pictures(tmp_path / "a.npz")


def _claiming(form: str, width: int, height: int) -> bytes:
    """A picture of 8 × 8 pixels that claims to have others."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, form)
    content = bytearray(file.getvalue())
    if form == "GIF":
        content[6:10] = struct.pack("<HH", width, height)
    else:
        place = content.index(b"\xff\xc0") + 5
        content[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(content)


@pytest.mark.parametrize("form", ["JPEG", "GIF"])
def test_a_picture_that_claims_more_than_it_can_hold_is_refused(form):
    for padding in (0, 5_000 if form == "JPEG" else 0):
        content = _claiming(form, 9000, 9000) + bytes(padding)
        with pytest.raises(ValueError, match=r"x: not a .* it claims 9,000 × 9,000 pixels and has"):
            read_picture(content, "x", (8, 8))
    assert read_picture(_claiming(form, 90, 70), "x").shape == (3, 70, 90)


@pytest.mark.parametrize("form", ["EPS", "PCX", "SGI"])
def test_formats_that_are_not_told_of_are_not_decoded(form, monkeypatch):
    """Of some, such as EPS, Pillow has another program make pixels."""
    started = []
    monkeypatch.setattr("subprocess.Popen", lambda *a, **k: started.append(a))
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, form)
    said = "x: not a picture that can be read: unknown format; those are read: PNG, JPEG, GIF, "
    with pytest.raises(ValueError, match=said):
        read_picture(file.getvalue(), "x")
    assert not started


@pytest.mark.parametrize("form", ["PNG", "JPEG", "MPO", "GIF", "WEBP", "BMP", "PPM", "TIFF"])
def test_each_format_is_read(form):
    file = io.BytesIO()
    Image.new("RGB", (9, 8), "red").save(file, form)
    picture = read_picture(file.getvalue(), "x")
    assert picture.shape == (3, 8, 9)
    assert picture.flatten(1).float().mean(1).tolist() == pytest.approx([255, 0, 0], abs=2)


@pytest.mark.parametrize(("form", "mode"), [("PNG", "1"), ("PNG", "RGB"), ("JPEG", "L")])
def test_a_large_picture_of_one_colour_is_read(form, mode):
    file = io.BytesIO()
    Image.new(mode, (5000, 4000)).save(file, form, optimize=True)
    assert read_picture(file.getvalue(), "x", (8, 8)).max() == 0


def _array_file(header: str) -> bytes:
    """An array file with this header and three bytes of numbers."""
    text = f"{header}\n".encode()
    return b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text + b"abc"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no array", "the magic string is not correct"),
        (_array_file("{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776,)}"),
         r"an array of uint8 \[1099511627776\] has 3 bytes"),
        (_array_file("{'descr': '|O', 'fortran_order': False, 'shape': (3,)}"),
         "an array of object"),
        (_array_file("{'descr': '|u1', 'fortran_order': False, 'shape': (-3,)}"),
         r"an array of uint8 \[-3\] has 3 bytes"),
        (_array_file("{'descr': '|u1', 'shape': ((((3,)"), "Cannot parse header|multi-line"),
        (b"\x93NUMPY\x03\0" + bytes(200), r"of the version \(3, 0\), which is not read"),
    ],
)  # fmt: skip
def test_a_damaged_array_is_refused_before_memory_is_taken(tmp_path, content, message):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("labels.npy", content)
    with pytest.raises(ValueError, match=rf"a\.npz: not an \.npz file: .*({message})"):
        read_pictures(tmp_path / "a.npz")


def test_arrays_that_are_compressed_out_of_all_proportion_are_refused(tmp_path, monkeypatch):
    images = numpy.zeros((2, 999, 999, 3), numpy.uint8)
    numpy.savez_compressed(tmp_path / "a.npz", images=images, labels=[0, 1])
    assert read_pictures(tmp_path / "a.npz").images.shape == (2, 3, 999, 999)
    monkeypatch.setattr("qkv.ground.reading._FREE", 2**20)
    with pytest.raises(ValueError, match=r"a\.npz: not an \.npz file: it has .* stands for more"):
        read_pictures(tmp_path / "a.npz")


def test_arrays_by_columns_and_compressed_are_read(tmp_path):
    images = numpy.arange(2 * 8 * 9 * 3, dtype=numpy.uint8).reshape(2, 8, 9, 3)
    numpy.savez_compressed(tmp_path / "a.npz", images=numpy.asfortranarray(images), labels=[0, 1])
    found = read_pictures(tmp_path / "a.npz").images
    assert torch.equal(found, torch.tensor(images).permute(0, 3, 1, 2))


def test_a_file_or_folder_that_is_none_is_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 but no more")
    with pytest.raises(ValueError, match=r"not an \.npz file"):
        read_pictures(tmp_path / "a.npz")
    with pytest.raises(OSError, match="absent"):
        read_pictures(tmp_path / "absent.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no pictures; a folder must hold class/file\.png"):
        read_pictures(tmp_path / "empty")
    (tmp_path / "empty" / "cat").mkdir()
    with pytest.raises(ValueError, match="cat: no pictures of this class"):
        read_pictures(tmp_path / "empty")


def test_what_is_hidden_is_no_class_and_no_picture(tmp_path):
    for name in ("cat/a.png", "dog/b.png"):
        write(tmp_path / name, GREY)
    for name in (".ipynb_checkpoints/a.png", "__MACOSX/b.png", "cat/._a.png", "dog/.thumbs/b.png"):
        write(tmp_path / name, GREY)
    assert read_pictures(tmp_path).labels == ["cat", "dog"]


def test_pictures_of_different_sizes_need_one(tmp_path):
    write(tmp_path / "a" / "one.png", GREY)
    write(tmp_path / "b" / "two.png", GREY[:, :6])
    with pytest.raises(ValueError, match=r"8×8 \(one.png\) and 6×8 \(two.png\)"):
        read_pictures(tmp_path)
    assert read_pictures(tmp_path, (16, 16)).images.shape == (2, 3, 16, 16)


def test_copies_of_a_picture_are_split_together():
    images = torch.randint(0, 256, (200, 3, 4, 4), dtype=torch.uint8)
    train, held = split_pictures(Pictures(torch.cat([images, images]), ["a"] * 400), 0.3)
    kept, out = ({tuple(i.flatten().tolist()) for i in part.images} for part in (train, held))
    assert not kept & out
    assert (len(train.labels), len(held.labels)) == (2 * len(kept), 2 * len(out))
    assert 40 < len(out) < 80
    with pytest.raises(ValueError, match="give validation or validation_share, not both"):
        Data(Path("a"), Path("b"), 0.1)


def test_a_class_that_is_held_out_as_a_whole_is_learnt_instead():
    images = torch.randint(0, 256, (200, 3, 4, 4), dtype=torch.uint8)
    train, held = split_pictures(Pictures(images, ["a"] * 200), 0.3)
    out = next(i for i, one in enumerate(images) if torch.equal(one, held.images[0]))
    labels = ["a"] * out + ["b"] + ["a"] * (199 - out)
    train_too, held_too = split_pictures(Pictures(images, labels), 0.3)
    assert torch.equal(held_too.images, held.images[1:])
    assert (train_too.labels.count("b"), len(train_too.labels)) == (1, len(train.labels) + 1)


def test_a_class_to_validate_on_that_is_not_learnt_is_told_with_the_file(tmp_path):
    learnt = write_pictures(tmp_path / "learnt.npz")
    held = write_pictures(tmp_path / "held.npz", classes=("red", "green"))
    with pytest.raises(ValueError, match=r"held\.npz: the label 'green' is not among those .* red"):
        train_image_classifier(
            Data(learnt, held), tmp_path / "out", Settings(steps=1), Options(), {"channels": 4},
            say=[].append,
        )  # fmt: skip


def test_each_picture_is_mirrored_in_every_other_epoch():
    images = torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8)
    data = Pictures(images, ["a", "b"] * 32)
    task = ImageTask(data, data, Options(batch=64, shift=0), {})
    as_they_are = []
    for epoch in range(4):
        batch = task.batches(epoch)[0]
        found = torch.empty_like(images)
        found[_places(images, batch.inputs[0])] = batch.inputs[0]
        as_they_are.append((found == images).flatten(1).all(1))
        assert torch.equal(found.flip(3)[~as_they_are[-1]], images[~as_they_are[-1]])
    assert 20 < int(as_they_are[0].sum()) < 44
    assert torch.equal(as_they_are[0], ~as_they_are[1])
    assert torch.equal(as_they_are[0], as_they_are[2])


def _places(images, shown):
    """Which picture each of those shown is, whatever its side."""
    sums = images.flatten(1).sum(1).tolist()
    return [sums.index(n) for n in shown.flatten(1).sum(1).tolist()]


def test_shifts_move_the_whole_picture_and_repeat_its_edge():
    rows = torch.arange(9).view(1, 1, 9, 1) * 10 + torch.arange(7)
    images = rows.expand(300, 3, 9, 7)
    found = shifted(images, 2, torch.Generator().manual_seed(0))
    moves = set()
    for image in found[:, 0]:
        across = (int(image[4, 3]) - 43 + 5) % 10 - 5
        down = round((int(image[4, 3]) - 43 - across) / 10)
        expected = (torch.arange(9) + down).clamp(0, 8).view(9, 1) * 10 + (
            torch.arange(7) + across
        ).clamp(0, 6)
        assert torch.equal(image, expected)
        moves.add((down, across))
    assert moves == {(a, b) for a in range(-2, 3) for b in range(-2, 3)}
    assert torch.equal(found[:, 0], found[:, 2])


def test_a_square_of_each_picture_becomes_its_mean_colour():
    images = torch.randint(0, 256, (200, 3, 9, 11), dtype=torch.uint8)
    found = cut_out(images, 4, torch.Generator().manual_seed(0))
    places = set()
    for before, after in zip(images, found, strict=True):
        changed = (before != after).any(0)
        rows, columns = (changed.any(side).nonzero().flatten() for side in (1, 0))
        top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
        inside = after[:, top:bottom, left:right]
        mean = before.float().mean((1, 2)).round().to(torch.uint8).view(3, 1, 1)
        assert (inside == mean).all()
        assert bottom - top <= 4
        assert right - left <= 4
        assert top in (0, bottom - 4) or bottom == 9
        places.add((int(top + bottom), int(left + right)))
    assert len(places) > 60  # of 99 centres


def test_a_batch_is_the_same_whoever_asks_and_another_in_the_next_epoch():
    made, labels = pictures(20)
    data = Pictures(torch.tensor(made).permute(0, 3, 1, 2).contiguous(), [str(x) for x in labels])
    task = ImageTask(data, data, Options(batch=6), {})
    batches = task.batches(3)
    assert len(batches) == 4
    torch.manual_seed(9)
    one = batches[2].inputs[0]
    torch.manual_seed(10)
    assert torch.equal(one, task.batches(3)[2].inputs[0])
    assert not torch.equal(one, task.batches(4)[2].inputs[0])
    plain = ImageTask(data, data, Options(batch=6, flips=False, shift=0), {}).batches(3)
    seen = torch.cat([plain[n].inputs[0] for n in range(4)])
    assert sorted(map(int, seen.flatten(1).sum(1))) == sorted(
        map(int, data.images.flatten(1).sum(1))
    )
    assert str(plain[0]).startswith("5 pictures, the first number ")


def test_no_picture_is_alone_in_its_batch():
    data = Pictures(torch.zeros(13, 3, 8, 8, dtype=torch.uint8), ["a"] * 6 + ["b"] * 7)
    batches = ImageTask(data, data, Options(batch=12), {}).batches(0)
    assert [len(batches[n].classes) for n in range(len(batches))] == [7, 6]


def test_labels_that_cannot_be_learnt_are_said():
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    two, one = Pictures(images, ["a", "b"]), Pictures(images, ["a", "a"])
    with pytest.raises(ValueError, match="all pictures have one label, 'a'"):
        ImageTask(one, two, Options(), {})
    with pytest.raises(ValueError, match="validation: the label 'c' is not among those"):
        ImageTask(two, Pictures(images, ["a", "c"]), Options(), {})
    with pytest.raises(ValueError, match="leaves no picture to validate on"):
        ImageTask(two, Pictures(images[:0], []), Options(), {})
    with pytest.raises(ValueError, match=r"differ in size: \[\[8, 8\], \[8, 4\]\]"):
        ImageTask(two, Pictures(images[..., :4], ["a", "b"]), Options(), {})


def test_it_learns_and_tells_of_where_it_looked(learnt):
    labeller = ImageLabeller.load(learnt)
    made, labels = pictures()
    images = torch.tensor(made).permute(0, 3, 1, 2)
    found = labeller.classify(images, [str(n) for n in range(len(images))])
    right = [one.label == ("red", "blue")[label] for one, label in zip(found, labels, strict=True)]
    assert sum(right) >= 0.9 * len(right)
    assert found[7].input == "7"
    assert torch.equal(found[7].image, images[7])
    assert found[7].weights.shape == (2, 2)
    torch.testing.assert_close(found[7].weights.sum(), torch.tensor(1.0))


def test_a_picture_alone_gets_the_answer_that_it_gets_among_others(learnt):
    labeller = ImageLabeller.load(learnt)
    images = torch.tensor(pictures(3)[0]).permute(0, 3, 1, 2)
    together = labeller.classify(images, "abc")
    for place, one in enumerate(together):
        [alone] = labeller.classify(images[place : place + 1], "x")
        assert alone.probability == pytest.approx(one.probability, abs=1e-5)
    with pytest.raises(ValueError, match=r"must be \[N, 3, 16, 16\]; got \[3, 3, 16, 15\]"):
        labeller.classify(images[..., :15], "abc")


def test_files_may_come_one_by_one(learnt, tmp_path):
    labeller = ImageLabeller.load(learnt)
    files = [write(tmp_path / name, GREY) for name in ("a.png", "b.png")]
    found = labeller.classify_files(file for file in files)
    assert [one.input for one in found] == [str(file) for file in files]
    assert labeller.classify_files([]) == []
    with pytest.raises(TypeError, match="files must be a list of paths; got one path"):
        labeller.classify_files(str(files[0]))


def test_a_classifier_that_looks_both_ways_knows_no_left_and_right(learnt):
    labeller = ImageLabeller.load(learnt)
    assert labeller.both_ways
    images = torch.tensor(pictures(3)[0]).permute(0, 3, 1, 2)
    seen, mirrored = labeller.classify(images, "abc"), labeller.classify(images.flip(3), "abc")
    labeller.both_ways = False
    one_way = labeller.classify(images, "abc")
    for one, other, half in zip(seen, mirrored, one_way, strict=True):
        assert one.probability == pytest.approx(other.probability, abs=1e-6)
        torch.testing.assert_close(one.weights, other.weights.flip(1))
        assert not torch.allclose(one.weights, half.weights)


@pytest.mark.parametrize("sizes", [{"architecture": "cnn"}, {"architecture": "vit", "heads": 2}])
def test_every_architecture_is_trained_saved_and_loaded(tmp_path, sizes):
    path = write_pictures(tmp_path / "data.npz")
    train_images(path, tmp_path / "out", sizes=sizes | {"channels": 8}, steps=2)
    labeller = ImageLabeller.load(tmp_path / "out")
    [found] = labeller.classify(torch.zeros(1, 3, 16, 16), ["black"])
    assert (found.weights is None) == (sizes["architecture"] == "cnn")


def test_evaluation_brings_pictures_to_the_models_size(learnt, tmp_path):
    made, labels = pictures(12, edge=16)
    for number, (image, label) in enumerate(zip(made, labels, strict=True)):
        large = image.repeat(2, axis=0).repeat(2, axis=1)
        write(tmp_path / ("red", "blue")[label] / f"{number}.png", large)
    accuracy = evaluate(learnt, tmp_path)
    assert accuracy.count == 12
    assert accuracy.right >= 10
    write(tmp_path / "green" / "x.png", GREY)
    with pytest.raises(ValueError, match="the label 'green' is not among those trained on"):
        evaluate(learnt, tmp_path)


def test_the_mean_of_the_training_pictures_is_stored_with_the_weights(learnt):
    labeller = ImageLabeller.load(learnt)
    config = json.loads((learnt / "config.json").read_text())
    assert config["labels"] == labeller.labels == ["blue", "red"]
    assert 40 < float(labeller.model.mean[1]) < 50  # green is noise from 0 to 89
    assert not (learnt / "tokenizer.json").exists()
