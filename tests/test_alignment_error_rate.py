"""`benchmarks/alignment.py` on links that can be counted by hand."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

import qkv
from qkv.lab.gold import word_of_tokens

PATH = Path(__file__).parents[1] / "benchmarks" / "alignment.py"
pytestmark = pytest.mark.skipif(
    not PATH.exists(), reason="the source distribution has no benchmarks"
)


@pytest.fixture(scope="module")
def alignment():
    spec = importlib.util.spec_from_file_location("alignment_benchmark", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path):
    lines = "我 喝茶 。 ||| I drink tea .\n我们 睡觉 。 ||| We sleep .\n"
    (tmp_path / "a.src-tgt").write_text(lines, encoding="utf-8")
    (tmp_path / "a.gold").write_text("1-1 2-2 2p3 3-4\n1-1 2-2 3-3\n")
    return tmp_path


def test_pairs_have_words_and_links_counted_from_0(alignment, folder):
    first, second = alignment.read_pairs(folder)
    assert (first.source, first.target) == (["我", "喝茶", "。"], ["I", "drink", "tea", "."])
    assert first.sure == {(0, 0), (1, 1), (2, 3)}
    assert first.possible == first.sure | {(1, 2)}
    assert first.reversed().possible == {(0, 0), (1, 1), (3, 2), (2, 1)}
    assert second.sure == second.possible


@pytest.mark.parametrize("link", ["0-1", "1-5", "4-1", "1:1", "1-"])
def test_a_link_that_is_none_is_named(alignment, folder, link):
    (folder / "a.gold").write_text(f"1-1 {link}\n1-1\n")
    with pytest.raises(SystemExit, match=f"a.gold, line 1: a link must be .*; got '{link}'"):
        alignment.read_pairs(folder)


def test_a_folder_without_its_files_is_said(alignment, tmp_path):
    with pytest.raises(SystemExit, match=r"one file \*.src-tgt is needed; got 0"):
        alignment.read_pairs(tmp_path)


@pytest.mark.parametrize(
    ("found", "rate"),
    [
        ({(0, 0), (1, 1), (2, 3)}, 0.0),
        ({(0, 0), (1, 1), (2, 3), (1, 2)}, 1 - (3 + 4) / (4 + 3)),  # a possible link is no error
        ({(0, 0), (0, 1)}, 1 - (1 + 1) / (2 + 3)),
        (set(), 1.0),
    ],
)
def test_the_rate_is_och_and_neys(alignment, folder, found, rate):
    counts = alignment.ErrorRate()
    counts.add(found, alignment.read_pairs(folder)[0])
    assert counts.rate == pytest.approx(rate)


def test_tokens_belong_to_words_and_weights_are_summed_and_averaged_over_them(alignment):
    sources, targets = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])
    weights = torch.tensor([[0.3, 0.3, 0.4], [0.1, 0.1, 0.8], [0.5, 0.4, 0.1]])
    assert alignment.strongest(weights, sources, targets) == {(1, 0), (1, 1), (0, 1)}
    assert alignment.over(0.5, weights, sources, targets) == {(0, 0), (0, 1)}
    assert alignment.over(0.4, weights, sources, targets) == {(0, 0), (1, 0), (0, 1), (1, 1)}


def test_tokens_find_their_words(alignment):
    translator = qkv.Translator.load()
    words = ["Bicycles", "are", "unaffordable", "."]
    belongs = word_of_tokens(translator.source, words, " ")
    texts = ["" for _ in words]
    for (start, stop), word in zip(
        translator.source.offsets(" ".join(words)), belongs.tolist(), strict=True
    ):
        texts[word] += " ".join(words)[start:stop]
    assert texts == words
    assert word_of_tokens(translator.target, ["我", "喝茶"], "").tolist() == [0, 1, 1]


def test_the_command_prints_a_row_for_each_look(alignment, folder, capsys, monkeypatch):
    model = "en-zh-recurrent"
    monkeypatch.setattr(sys, "argv", ["alignment.py", model, str(folder)])
    alignment.main()
    title, header, write, read, best, halves = capsys.readouterr().out.splitlines()
    assert title.endswith("2 pairs, 2 of them short")
    assert header.split() == ["argmax", ">=0.1", ">=0.2", ">=0.3", "short"]
    assert (write[:14], read[:13]) == ("layer 0, write", "layer 0, read")
    rates = [float(text) for text in write[24:].split()]
    assert rates[0] == rates[-1] < 30
    assert rates[0] < float(read[24:].split()[0])  # the recurrent one looks to write
    assert best == f"best: layer 0, write: {rates[0]}"
    assert halves.startswith("each half by what is best on the other: ")


def test_each_head_is_measured_at_both_times_and_the_means(alignment):
    translator = qkv.Translator.load()
    given = translator.align("I drink tea .", "我喝茶。")
    found = dict(alignment.looks(given))
    layers, heads = len(translator.heads), translator.heads[0]
    assert len(found) == 2 * (layers * (heads + 1) + 1)
    assert alignment.name_of(next(iter(found))) == "layer 0, head 0, write"
    for look, weights in found.items():
        chosen = given.alignment_by(look.layer, look.head, look.when).dense()
        torch.testing.assert_close(weights, chosen[:-1, :-1])


def test_the_best_look_is_tried_on_what_it_was_not_chosen_by(alignment):
    def rates(even, odd):
        """With so many of ten links right in each half of the pairs."""
        halves = tuple(alignment.ErrorRate(10, 10, right, right) for right in (even, odd))
        whole = alignment.ErrorRate(20, 20, even + odd, even + odd)
        return alignment.Rates([whole], alignment.ErrorRate(), halves)

    first, second = alignment.Look(0), alignment.Look(1)
    look, joined = alignment.best({first: rates(9, 2), second: rates(5, 5)})
    assert look == first
    assert joined.rate == pytest.approx(1 - (5 + 2) / 20)
