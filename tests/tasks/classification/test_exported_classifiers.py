"""Exported classifiers give the same probabilities; what a folder may hold."""

import pytest
import torch

import qkv
from qkv.tasks.buckets import padded

pytest.importorskip("onnxscript", reason="models of ONNX are made by onnx and onnxscript")
pytest.importorskip("onnxruntime", reason="models of ONNX are run by onnxruntime")

from qkv.tasks.onnx_models import Session, write_export


def test_texts_and_pictures_get_the_same_labels(tmp_path):
    """Of two kinds one after the other in one folder: the second export replaces the first."""
    write_export("reviews", tmp_path)
    listed = "`tokens` [batch, length], `lengths` [batch] to `probabilities` [batch, 2]"
    assert listed in (tmp_path / "README.md").read_text()
    labeller = qkv.load("reviews")
    texts = ["A wonderful film.", "Dull, and far too long for what it has to say."]
    answers = labeller.classify(texts)
    tokens, lengths = padded(labeller.tokens.encode(texts))
    found = Session(tmp_path / "model.onnx", 1)(tokens=tokens, lengths=lengths)["probabilities"]
    for answer, row in zip(answers, found, strict=True):
        assert answer.label == labeller.labels[int(row.argmax())]
        assert answer.probability == pytest.approx(float(row.max()), abs=1e-5)

    write_export("images", tmp_path)
    listed = "`images` [batch, 3, 32, 32] to `probabilities` [batch, 10]"
    assert listed in (tmp_path / "README.md").read_text()
    labeller = qkv.load("images")
    images = torch.randint(0, 256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    answers = labeller.classify(images, ["a", "b", "c"])
    found = Session(tmp_path / "model.onnx", 1)(images=images.float())["probabilities"]
    for answer, row in zip(answers, found, strict=True):
        assert answer.label == labeller.labels[int(row.argmax())]
        assert answer.probability == pytest.approx(float(row.max()), abs=1e-5)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_the_program_of_the_readme_labels_as_many_words_of_a_text(tmp_path, monkeypatch, capsys):
    write_export("reviews", tmp_path)
    labeller = qkv.load("reviews")
    text = " ".join(["Film."] * labeller.longest + ["Awful film."] * 100)
    program = (tmp_path / "README.md").read_text().split("```python\n")[1].split("```")[0]
    program = program.replace("A film that one does not forget.", text)
    assert text in program
    monkeypatch.chdir(tmp_path)
    exec(program, {})
    label, probability = capsys.readouterr().out.split()
    [answer] = labeller.classify([text])
    assert label == answer.label
    assert float(probability) == pytest.approx(answer.probability, abs=1e-5)


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"export: out must be .*; .* holds something else"):
        write_export("images", tmp_path)
    with pytest.raises(ValueError, match=r"export: out must be .*; .*notes.txt is a file"):
        write_export("images", tmp_path / "notes.txt")
    with pytest.raises(ValueError, match=r"export: nope: no such folder"):
        write_export("nope", tmp_path / "new")
    assert [one.name for one in tmp_path.iterdir()] == ["notes.txt"]
