"""A user's own texts: files that nobody prepared, and what is recommended."""

import gzip

import pytest
from test_lab_texts import TEXTS

from qkv.cli.run import run
from qkv.lab.intervals import shares
from qkv.lab.linear import linear_record
from qkv.lab.own.table import read_columns
from qkv.lab.own.texts import CONDITION, own_texts_study, read_own_texts
from qkv.lab.own.words import recommendation
from qkv.lab.session import conduct
from qkv.lab.study import NO_ADVICE
from qkv.lab.verdicts import HOLDS, UNKNOWN

LINES = "".join(f"{one.label}\t{one.text}\n" for one in TEXTS)
ROWS = [("neg", "dull, long"), ("pos", 'a "gem"')]


def written(tmp_path, name, content):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    data = content.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'id,Text,Sentiment\n1,"dull, long",neg\n2,"a ""gem""",pos\n'),
        ("a.csv", '\ufefflabel;text\r\nneg;dull, long\r\npos;"a ""gem"""\r\n'),
        ("a.csv.gz", 'what,is it\n"dull,\n long",neg\n"a ""gem""",pos\n"a",pos\n"b",pos\n'),
        ("a.csv", 'shop_rating,shop,full text\nneg,x,"dull, long"\npos,y,"a ""gem"""\n'),
        ("a.csv", 'v1,v2,,,\nneg,"dull, long",,,\npos,"a ""gem""",,,\npos,"b",,," more"\n'),
        ("a.tsv", 'neg\tdull, long\n\npos\ta "gem"\n'),
        ("a.txt", 'text\tlabel\ndull, long\tneg\na "gem"\tpos\n'),
        ("a.tsv", 'neg\t7\tdull,  long\npos\t8\ta "gem"\n'),
        ("a.tsv", 'neg\tdull, long\r\npos\ta "gem"\r\n'),
    ],
)
def test_the_columns_are_found(name, content, tmp_path):
    assert read_columns(written(tmp_path, name, content), "classify").rows[:2] == ROWS


def test_pairs_are_two_columns_in_their_order(tmp_path):
    path = written(tmp_path, "a.csv", "zh,note,en\n茶,x,tea\n")
    assert read_columns(path, "translate").rows == [("tea", "茶")]
    assert read_columns(written(tmp_path, "b.tsv", "tea\t茶\n"), "translate").rows == [
        ("tea", "茶")
    ]


@pytest.mark.parametrize("line", ["tea\t茶\tby somebody\n", "7\ttea\t8\t茶\n"])
def test_lists_of_sentences_have_more_than_their_pairs(line, tmp_path):
    path = written(tmp_path, "a.tsv", 3 * line)
    assert read_columns(path, "translate").rows == 3 * [("tea", "茶")]


def test_empty_rows_and_cells_are_counted(tmp_path):
    content = "label,text\na,b\n,\n , \na,\n,b\na\nb,c\n"
    columns = read_columns(written(tmp_path, "a.csv", content), "classify")
    assert columns.rows == [("a", "b"), ("b", "c")]
    assert columns.skipped == 3  # rows of nothing at all are no rows


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", "", "there is nothing in it"),
        ("a.csv", "\n\n", "there is nothing in it"),
        ("a.csv", "text,label\n", "a header and nothing below it"),
        ("a.csv", "a,b,c,d\n1,2,3,4\n", "which of its 4 columns are meant? Name them label"),
        ("a.tsv", "only text\n" * 99, "which of its 1 columns are meant"),
        ("a.csv", 'text,label\n"open,pos\n', "not a CSV file: unexpected end of data"),
        ("a.tsv", LINES[:500], "different texts; with fewer than 60 nothing can be told"),
        ("a.tsv", "".join(f"pos\ttext {n}\n" for n in range(99)), "there is only one label, 'pos'"),
        ("a.tsv", "".join(f"{n}\ttext {n}\n" for n in range(99)), "look like source<TAB>target"),
        ("a.tsv", "".join(f"{n % 40}\ttext {n}\n" for n in range(99)), "there is no label with 5"),
    ],
)
def test_what_cannot_serve_is_one_line(name, content, told, tmp_path, capsys):
    path = written(tmp_path, name, content)
    assert run(["compare", "--data", str(path), "--task", "classify", "--out", str(tmp_path)]) == 1
    errors = capsys.readouterr().err
    assert told in errors
    assert str(path) in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--data", "FILE"], "--data and --task must be given together"),
        (["--data", "FILE", "--task", "paint"], "--task must be one of classify, translate"),
        (["--data", "absent", "--task", "classify"], "there is no file 'absent'"),
        (["cost", "--data", "FILE", "--task", "classify"], "leave the names of studies out"),
    ],
)
def test_mistakes_are_one_line(options, told, tmp_path, capsys):
    path = written(tmp_path, "a.tsv", LINES)
    options = [option.replace("FILE", str(path)) for option in options]
    assert run(["compare", *options, "--out", str(tmp_path / "out")]) == 2
    assert told in capsys.readouterr().err


def test_every_label_is_on_every_side_and_copies_stay_together(tmp_path):
    more = "".join(f"rare\tan odd one, {word}\n" for word in "abcde")
    copies = "".join(f"pos\t{one.text.upper()}!\n" for one in TEXTS[:20])
    path = written(tmp_path, "a.tsv", LINES + more + copies + "once\talone\n")
    own = read_own_texts(path)
    sides = own.split.train, own.split.validation, own.split.test
    for side in sides:
        assert {one.label for one in side} == {"neg", "pos", "rare"}
    assert sum(map(len, sides)) == len(TEXTS) + 5
    assert any("20 texts stand there several times" in told for told in own.told)
    assert any("1 labels of fewer than 5" in told for told in own.told)
    assert own.commonest in ("neg", "pos")


def test_texts_without_spaces_are_read_by_characters(tmp_path):
    """As many tokens as characters, and a linear classifier that can tell them apart."""
    letters = {"pos": "好美喜", "neg": "坏丑恨"}
    rest = [chr(0x4E00 + 7 * n) for n in range(300)]
    lines = []
    for n in range(200):
        label = "pos" if n % 2 else "neg"
        text = [rest[(n * 31 + 17 * k) % 300] for k in range(20)] + [letters[label][n % 3]]
        lines.append(f"{label}\t{''.join(text)}\n")
    own = read_own_texts(written(tmp_path, "ZH.TSV", "".join(lines)))
    budget = own_texts_study(own).runs(False)[0].budget
    assert budget["tokens"] == 22 * len(own.split.train)
    assert linear_record(own.split, 400)["right"].count("0") == 0


def test_words_that_are_long_codes_are_many_tokens(tmp_path):
    """As of mails with their headers: what is trained on and the forecast go by tokens."""
    lines = [f"{'ab'[n % 2]}\t{' '.join([f'{n:04}' + 64 * 'x'] * 10)}\n" for n in range(100)]
    own = read_own_texts(written(tmp_path, "codes.tsv", "".join(lines)))
    budget = own_texts_study(own).runs(False)[0].budget
    assert budget["tokens"] == len(own.split.train) * (1 + 10 * 68 / 3.4)


def test_capitals_name_the_same_kinds_of_files(tmp_path):
    path = written(tmp_path, "MINE.CSV", "label,text\nneg,dull\n")
    assert read_columns(path, "classify").rows == [("neg", "dull")]
    packed = tmp_path / "B.TSV.GZ"
    packed.write_bytes(gzip.compress(b"neg\tdull\n"))
    assert read_columns(packed, "classify").rows == [("neg", "dull")]


def test_a_quick_look_goes_from_a_file_to_the_report(tmp_path, capsys, one_thread, monkeypatch):
    monkeypatch.setattr("qkv.lab.own.texts._QUICK_TOKENS", 3_000)
    path = written(tmp_path, "mine.csv", "label,text\n" + LINES.replace("\t", ","))
    out = tmp_path / "out"
    command = ["compare", "--data", str(path), "--task", "classify", "--quick", "--out", str(out)]
    assert run(command) == 0
    output = capsys.readouterr().out
    assert NO_ADVICE in output
    assert "Your texts: mine.csv" in (out / "report.md").read_text()
    assert run(command) == 0  # nothing is run again
    assert "5 of them done" in capsys.readouterr().err


def made(tmp_path, accuracy):
    """The outcome of a study whose runs are right so often, in per cent."""
    own = read_own_texts(written(tmp_path, "a.tsv", "".join(
        f"{'pos' if n % 3 else 'neg'}\ttext number {n}\n" for n in range(3000)
    )))  # fmt: skip
    count = len(own.split.test)

    def measure(run, bench):
        right = round(accuracy(run.model) * count / 100) + run.seed
        figures = {"RNN": 10.0, "LSTM": 20.0, "self-attention": 10.0, "hybrid": 40.0}
        marks = "1" * right + "0" * (count - right)
        return {
            "validation": right, "right": marks, "parameters": run.parameters,
            "training": figures.get(run.model, 1.0),
        }  # fmt: skip

    study = own_texts_study(own)
    study = type(study)(**{**vars(study), "measure": measure})
    (done,) = conduct(
        [study], tmp_path / "out", {"a.tsv": own.path}, quick=False, say=lambda _: None
    )
    return done


def test_the_recommendation_says_what_is_uncertain(tmp_path):
    accuracies = {"LSTM": 90, "hybrid": 90, "self-attention": 80, "RNN": 70}
    done = made(tmp_path, lambda model: accuracies.get(model, 60))
    advice = done.outcome.advice
    assert advice.startswith("LSTM is the best here: 90.2 [")
    assert "LSTM and hybrid cannot be told apart here (hybrid 0 [0, 0] points worse)." in advice
    assert "Self-attention is 10.0 [" in advice
    assert "points worse and trains 2.0 times as fast." in advice
    assert advice.endswith("Take the LSTM.")
    verdicts = [finding.verdict for finding in done.outcome.findings]
    assert verdicts == [UNKNOWN, HOLDS, HOLDS]
    assert len(done.results.of("LSTM", CONDITION)) == 3


def test_what_always_answers_or_is_linear_may_be_as_good(tmp_path):
    advice = made(tmp_path / "a", lambda model: 66).outcome.advice
    assert "None of them can be told from always giving the commonest label" in advice
    advice = made(tmp_path / "b", lambda model: 90).outcome.advice
    assert "But a linear classifier" in advice
    assert "the best is 0 [0, 0] points better" in advice


def test_the_quicker_of_those_alike_is_recommended():
    alike = {"LSTM": shares(["1" * 90 + "0" * 10] * 3), "RNN": shares(["1" * 89 + "0" * 11] * 3)}
    told = recommendation(alike, {"LSTM": 20.0, "RNN": 5.0}, "%", "points")
    assert "the RNN trains 4.0 times as fast as the LSTM: take that" in told.words
    risk = f"{told.gaps['RNN'].high:.1f}"
    assert told.words.endswith(f"or the LSTM where up to {risk} points are worth the time.")
    assert told.finding("points").found == f"LSTM, in points: {told.gaps['RNN']} above RNN."
