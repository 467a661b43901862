"""Reading pairs, and keeping what is held out apart."""

import pytest

from qkv.tasks.translation.options import Data
from qkv.tasks.translation.pairs import (
    Pair,
    PairFile,
    read_pairs,
    sentence_share,
    split_pairs,
)


def write(tmp_path, content, name="data.tsv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def in_file(tmp_path, name, *sources):
    return PairFile(tmp_path / name, [Pair(source, source.upper()) for source in sources], 0, None)


def test_pairs_are_read_as_they_stand(tmp_path):
    text = "\ufeffHi.\t嗨。\r\n\n a\u2028b \t c d \nlast\t尾"
    read = read_pairs(write(tmp_path, text))
    assert read.pairs == [Pair("Hi.", "嗨。"), Pair("a\u2028b", "c d"), Pair("last", "尾")]
    assert (read.skipped, read.first_skipped) == (0, None)


@pytest.mark.parametrize("line", ["no tab", "one\ttwo\tthree", "\tno source", "no target\t "])
def test_a_few_bad_lines_are_counted_and_many_refused(tmp_path, line):
    good = ["a\tb"] * 200
    read = read_pairs(write(tmp_path, "\n".join([*good[:4], line, *good])))
    assert (len(read.pairs), read.skipped, read.first_skipped) == (204, 1, 5)
    few = write(tmp_path, "\n".join([*good[:4], line, *good[:50]]))
    with pytest.raises(ValueError, match=r"data\.tsv: line 5 is not source<TAB>target \(1 of 55"):
        read_pairs(few)


def test_files_that_hold_no_pairs_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"data\.tsv: no sentence pairs"):
        read_pairs(write(tmp_path, "\n \n"))
    with pytest.raises(ValueError, match=r"data\.tsv: not UTF-8 text \(byte 2\)"):
        read_pairs(write(tmp_path, b"a\t\xff\xfe"))
    with pytest.raises(FileNotFoundError, match=r"absent\.tsv"):
        read_pairs(tmp_path / "absent.tsv")


def test_a_lone_carriage_return_ends_no_line(tmp_path):
    read = read_pairs(write(tmp_path, "one\rtwo\teins\rzwei\r\nthree\tdrei\n"))
    assert read.pairs == [Pair("one\rtwo", "eins\rzwei"), Pair("three", "drei")]


def test_labels_are_no_sentences(tmp_path):
    lines = "".join(f"{label}\tText number {n}.\n" for n in range(9) for label in ("pos", "neg"))
    with pytest.raises(ValueError, match=r"look like label<TAB>text: 2 different sources, such as"):
        read_pairs(write(tmp_path, lines))
    assert len(read_pairs(write(tmp_path, lines.replace("pos", "I see"))).pairs) == 18


def test_the_share_of_a_sentence_is_its_words_and_evenly_spread():
    assert sentence_share("I see.") == sentence_share("i SEE!")
    assert sentence_share("I see.") != sentence_share("I saw.")
    assert sentence_share("?!") != sentence_share("...")
    shares = [sentence_share(f"sentence {i}") for i in range(2000)]
    assert 0.22 < sum(share < 0.25 for share in shares) / 2000 < 0.28
    # The split is promised to be the same everywhere and always.
    assert sentence_share("I see.") == pytest.approx(0.7751824298157363, abs=1e-15)


def test_what_is_held_out_anywhere_is_trained_on_nowhere(tmp_path):
    data = in_file(tmp_path, "a.tsv", *(f"Sentence {i}." for i in range(500)), "T one", "V one.")
    other = in_file(tmp_path, "b.tsv", "sentence 7", "Sentence 8!", "T two.")
    validation = in_file(tmp_path, "v.tsv", "v one", "Sentence 3?", "t three")
    test = in_file(tmp_path, "t.tsv", "T one.", "t two", "T three")
    split = split_pairs([data, other], [validation], [test], 0.1, 0.2)

    def words(pairs):
        return {pair.source.lower().strip(".!?") for pair in pairs}

    assert len(split.train) == 2
    trained = words(pair for pairs in split.train for pair in pairs)
    validated = words(pair for pairs in split.validation.values() for pair in pairs)
    tested = words(pair for pairs in split.test.values() for pair in pairs)
    assert not trained & validated
    assert not trained & tested
    assert not validated & tested
    assert {"t one", "t two", "t three"} <= tested
    assert {"v one", "sentence 3"} <= validated | tested
    files = [data, other, validation, test]
    assert trained | validated | tested == words(pair for file in files for pair in file.pairs)
    assert 0.14 < len(split.test["a"]) / 502 < 0.26
    assert 0.06 < len(split.validation["a"]) / 502 < 0.15


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"validation_share": -0.1}, r"validation_share must be in \[0, 1\); got -0.1"),
        ({"test_share": 1.0}, r"test_share must be in \[0, 1\); got 1.0"),
        ({"validation_share": 0.5, "test_share": 0.5}, "must leave something to train on"),
    ],
)
def test_shares_that_cannot_be_are_refused(shares, message):
    with pytest.raises(ValueError, match=message):
        Data([], **shares)
