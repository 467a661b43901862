"""Exported translators write the same tokens, with one hypothesis and with several."""

import json

import pytest
import torch

import qkv
from qkv.tasks.buckets import padded
from qkv.tasks.translation.search import beam_search

pytest.importorskip("onnxscript", reason="models of ONNX are made by onnx and onnxscript")
pytest.importorskip("onnxruntime", reason="models of ONNX are run by onnxruntime")

from qkv.tasks.onnx_models import write_export
from qkv.tasks.translation.exported import ExportedModel

TEXTS = [
    "I drink tea.",
    "My old friends live in Beijing now, and they want to see you again next week.",
    "Where is the station?",
    "She did not say why she had come so late.",
]


@pytest.mark.parametrize("name", ["en-zh", "en-zh-recurrent"])
def test_the_same_tokens_are_written(name, tmp_path):
    differences = write_export(name, tmp_path)
    assert differences.keys() == {"encoder.onnx", "decoder.onnx"}
    assert max(differences.values()) < 1e-4
    assert json.loads((tmp_path / "config.json").read_text())["format"] == "qkv ONNX 1"
    translator = qkv.load(name)
    tokens, lengths = padded(translator.source.encode(TEXTS))
    for beam in (1, 5):
        options = {"beam": beam, "length_penalty": translator.length_penalty}
        options |= {"unknown": translator.target.unknown, "marks": translator._marks}
        with torch.no_grad():
            expected = beam_search(translator.model, tokens, lengths, **options)
        found = beam_search(ExportedModel(tmp_path, threads=1), tokens, lengths, **options)
        assert [[one.tokens for one in row] for row in found] == [
            [one.tokens for one in row] for row in expected
        ]


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_the_program_of_the_readme_translates(learnt, tmp_path, monkeypatch, capsys):
    write_export(learnt, tmp_path)
    program = (tmp_path / "README.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(program, {})
    assert capsys.readouterr().out == "我喝茶。\n"
