"""`qkv.load`: a model by its folder or its name, and what its answers show of themselves."""

import struct
from pathlib import Path

import pytest

import qkv
from qkv.tasks.classification import ImageLabeller, TextLabeller
from qkv.tasks.model_folders import MODELS

CAT = Path(__file__).parent / "classification" / "cat.png"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("en-zh", qkv.Translator),
        ("en-zh-recurrent", qkv.Translator),
        ("reviews", TextLabeller),
        ("images", ImageLabeller),
    ],
)
def test_the_right_kind_of_model_is_loaded_by_name_and_by_folder(name, kind):
    assert type(qkv.load(name)) is kind
    assert type(qkv.load(MODELS / name)) is kind
    assert type(qkv.load(str(MODELS / name))) is kind


def test_what_is_no_model_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"load: nope: no such folder.*ships \(en-zh, en-zh-rec"):
        qkv.load("nope")
    with pytest.raises(ValueError, match=r"config\.json cannot be read"):
        qkv.load(tmp_path)
    (tmp_path / "config.json").write_text('{"format": "another 7"}')
    with pytest.raises(ValueError, match=r"load: .*its format 'another 7' is none that qkv"):
        qkv.load(tmp_path)
    with pytest.raises(TypeError, match=r"path must be a str or a pathlib\.Path; got NoneType"):
        qkv.load(None)


def test_a_text_tells_all_labels_draws_and_shows_itself(tmp_path):
    found, empty = qkv.load("reviews").classify(["The plot is a <b>terrible</b> mess.", " "])
    assert list(found.probabilities) == ["neg", "pos"]
    assert found.probabilities["neg"] == found.probability
    assert sum(found.probabilities.values()) == pytest.approx(1)
    found.picture(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    html = found._repr_html_()
    assert "neg 100%" in html
    assert html.count("<span") == len(found.words) + 11  # of the bar
    assert "&lt;b&gt;terrible" in html
    assert empty.probabilities == {}
    assert "label=None" in empty._repr_html_()
    with pytest.raises(ValueError, match="a text without words has nothing to draw"):
        empty.picture(tmp_path / "b.png")
    assert not (tmp_path / "b.png").exists()


def test_several_answers_show_themselves_below_each_other():
    texts = ["A <b>good</b> film.", " ", *["A bad film."] * 4]
    found = qkv.load("reviews").classify(texts)
    html = found._repr_html_()
    assert html.startswith(f"<div>{found[0]._repr_html_()}</div><div><code>ClassifiedText(")
    assert html.count("<div>") == 5
    assert html.endswith("<small>and 1 more</small>")
    assert found == [*found]
    assert repr(found) == repr([*found])
    images = qkv.load("images").classify_files([str(CAT)])
    assert images._repr_html_().startswith('<div><img style="max-width:100%" alt="" src="data:')
    translator = qkv.Translator.load()
    (one,) = translations = translator.translate(["Good night."])
    assert translations._repr_html_() == f"<div>{one._repr_html_()}</div>"
    (aligned,) = pairs = translator.align_pairs([("I drink tea.", "我喝茶。")])
    assert pairs._repr_html_() == f"<div>{aligned._repr_html_()}</div>"


def test_a_picture_tells_all_labels_draws_and_shows_itself(tmp_path):
    labeller = qkv.load("images")
    [found] = labeller.classify_files([str(CAT)])
    assert next(iter(found.probabilities)) == found.label == "cat"
    assert len(found.probabilities) == 10
    assert sum(found.probabilities.values()) == pytest.approx(1)
    found.picture(tmp_path / "a.png")
    width, height = struct.unpack(">II", (tmp_path / "a.png").read_bytes()[16:24])
    assert 1000 < width < 1400
    assert 500 < height < 800
    assert found._repr_png_().startswith(b"\x89PNG")
    [alone] = labeller.classify(found.image[None], ["by its pixels"])
    assert (alone.label, alone.file) == ("cat", None)
    alone.picture(tmp_path / "b.svg")
    assert labeller.classify_files([]) == []
    with pytest.raises(TypeError, match="files must be a list of paths; got one path"):
        labeller.classify_files(str(CAT))
