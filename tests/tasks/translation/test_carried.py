"""What a translation takes over, and pairs that teach it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from random import Random

import pytest
import torch

from conftest import PAIRS, SIZES
from qkv.tasks.tokens import Tokens
from qkv.tasks.trainer.run import train
from qkv.tasks.trainer.settings import Settings
from qkv.tasks.translation import Translator
from qkv.tasks.translation.carried import FOR_NUMBERS, MARKS, Carried, carried, spelled
from qkv.tasks.translation.figures import chinese_forms, in_chinese
from qkv.tasks.translation.options import Data, Options
from qkv.tasks.translation.pairs import Pair
from qkv.tasks.translation.task import TranslationTask
from qkv.tasks.translation.varied import Drawing


def read_of(text: str, *, chinese: bool = True) -> Carried:
    return carried(text, lambda word: len(word) // 2, chinese=chinese)


def taken_of(read: Carried) -> set[str]:
    return {thing.source for thing in read.things.values()}


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("See https://example.org/a?b=1.", ["https://example.org/a?b=1"]),
        ("See www.example.org, then go.", ["www.example.org"]),
        ("Ask anna.k@mail.example.org!", ["anna.k@mail.example.org"]),
        ("It is on example.com/help.", ["example.com/help"]),
        ("Open /usr/local/bin or ~/a/b.txt.", ["/usr/local/bin", "~/a/b.txt"]),
        ("Open C:\\data\\new.", ["C:\\data\\new"]),
        ("The A380 and my_file.txt of GitHub", ["A380", "my_file.txt", "GitHub"]),
        ("It costs $1,250,000 and 12,500.50.", ["1,250,000", "12,500.50"]),
        ("Call 555-0199-22 or 8005550199.", ["555-0199-22", "8005550199"]),
        ("NumPy 2.6.0 is out.", ["NumPy", "2.6.0"]),
        ("Ms Kowalczyk and Mr Li met.", ["Kowalczyk"]),
        ("Kowalczyk and Kowalczyk met.", ["Kowalczyk"]),
        ("On 5 May, at 7:45, 12 men, 3.5 % and 1,5 came.", ["5", "7:45", "12", "3.5", "1,5"]),
        ("The 2nd and 3rd of the 1990s, at 7pm or 18:00h.", ["2nd", "3rd", "7", "18:00h"]),
        ("From -5 to 8-10 degrees, 1990–1995", ["-5", "8-10", "1990–1995"]),
        ("It is 5km or 80kg from 20°, 3x.", ["5km", "80kg", "20"]),
        ("A 3.5m wall, 1,200m off, 10–15m high", ["3.5m", "1,200m", "10–15m"]),
        ("4.5V, 1.5GB, 2.4GHz, -3.5C, 9.58s", ["4.5V", "1.5GB", "2.4GHz", "-3.5C", "9.58s"]),
        ("20m2 at 100km/h for 150hp and 50k men", ["20m2", "100km/h", "150hp", "50k"]),
        ("In the 30s, 3d, 2x4 and 1.5abcd at 7a.m.", []),
        ("$3.5m, £1.2bn, €200k, US$1M, 5bn men", ["3.5m", "1.2bn", "200k", "1M", "5bn"]),
        ("$3-4m, $30k-40k, 1.5-2 million", ["3-4m", "30k-40k", "1.5-2 million"]),
        ("It is 10km-20km or 5ft–7in.", ["10km-20km", "5ft–7in"]),
        ("30,000-40,000 from 10:00-11:30", ["30,000-40,000", "10:00-11:30"]),
        ("It was 3:1 at 12:30:45 in 1,2,3.", ["3:1", "12:30:45", "1,2,3"]),
        ("On 2024-03-05, 1,23,456 had V1.5.", ["2024-03-05", "1,23,456", "V1.5"]),
        ("Step 2:https://a.org/b", ["2", "https://a.org/b"]),
        ("2.7 million of 1,500 billion and 3 thousands", ["2.7 million", "1,500 billion", "3"]),
        ("I LOVE HIPPOPOTAMUSES AND BEES ON THE 2ND OF MAY AT 7PM.", []),
        ("FLIGHT AB204 IS LATE.", ["AB204"]),
        ("She did O’Shaughnessy and O'Shaughnessy in.", []),
        ("He and/or she drives at 60 km/h, e.g. here.", ["60"]),
    ],
)
def test_what_is_taken_over(text, taken) -> None:
    read = read_of(text)
    assert taken_of(read) == set(taken)
    assert read.restored(read.text) == text
    assert all(thing not in read.text for thing in taken if thing.isascii() and len(thing) > 1)


def test_languages_without_myriads_have_the_figures_alone() -> None:
    read = read_of("On the 2nd 2.7 million came.", chinese=False)
    assert taken_of(read) == {"2.7"}
    assert read.written(read.text) == "On the 2nd 2.7 million came."


def test_numbers_have_the_first_marks_and_words_the_last() -> None:
    read = read_of("The A380 of GitHub carries 853 in 2 decks.")
    marks = dict(zip(("A380", "GitHub", "853", "2"), (*MARKS[:-3:-1], *MARKS[:2]), strict=True))
    text = "The A380 of GitHub carries 853 in 2 decks."
    for thing, mark in marks.items():
        text = text.replace(thing, mark)
    assert read.text == text


def test_a_mark_for_each_thing_and_no_more_than_there_are() -> None:
    each = MARKS[::-1]
    read = read_of(" ".join(f"Q{n}" for n in range(11)) + " Q3")
    assert taken_of(read) == {f"Q{n}" for n in range(8)}
    assert read.text == " ".join([*each, "Q8", "Q9", "Q10", "Q3"])
    full = read_of(" ".join([*(f"Q{n}" for n in range(8)), "Q3"]))
    assert full.text == " ".join([*each, each[3]])
    assert read_of(f"a {MARKS[0]} b") == ("a   b", {})
    assert read.written(f"{each[1]}。{each[1]}") == "Q1。Q1"
    assert read_of("Q1").written(MARKS[5] + MARKS[7]) == "Q1"
    assert read_of("Q1 and Q12").marked("Q12和Q1") == f"{each[1]}和{each[0]}"


@pytest.mark.parametrize(
    ("source", "chinese", "others"),
    [
        ("2.7 million", "270万", ["2700000", "2,700,000"]),
        ("8 million", "800万", ["8,000,000"]),
        ("417 million", "4.17亿", ["41700万"]),
        ("1.4 billion", "14亿", ["1,400,000,000"]),
        ("1,200-billion", "1.2万亿", ["12000亿"]),
        ("3 hundred", "300", []),
        ("12 thousand", "1.2万", ["12,000", "12000"]),
        ("27th", "27", []),
        ("1,447", "1,447", ["1447"]),
        ("930,000", "930,000", ["93万", "930000"]),
        ("12.50", "12.50", ["12.5"]),
        ("9:50", "9:50", ["9点50分", "9点50", "9：50"]),
        ("09:05", "09:05", ["9点05分", "9点05"]),
        ("11:00", "11:00", ["11点", "11点整", "11点00分"]),
        ("2024-03-05", "2024-03-05", []),
        ("0", "0", []),
        ("8-10", "8-10", ["8至10", "8～10"]),
        ("30,000-40,000", "30,000-40,000", ["3万至4万", "30000到40000", "3-4万", "3万-40,000"]),
        ("1.5-2.5", "1.5-2.5", ["1.5至2.5"]),
        ("8-10 million", "800万-1000万", ["800至1000万", "8,000,000到1000万"]),
        ("12:30:45", "12:30:45", ["12点30分45秒", "12：30：45"]),
        ("10:00-11:30", "10:00-11:30", ["10点至11点30分", "10:00～11:30"]),
        ("3:1", "3:1", ["3：1", "3比1"]),
        ("1,5", "1,5", []),
        ("3bn", "30亿", ["3,000,000,000"]),
        ("9" * 31, "9" * 31, [f"{int('9' * 31):,}"]),
        (f"{'9' * 31} million", f"{'9' * 25}.{'9' * 6}万亿", ["9" * 31 + "000000"]),
        ("-5", "-5", ["零下5", "负5"]),
        ("-1,200.5", "-1,200.5", ["零下1200.5"]),
    ],
)
def test_numbers_as_chinese_has_them(source, chinese, others) -> None:
    assert in_chinese(source) == chinese
    read = read_of(f"It is {source}.")
    assert read.written(MARKS[0]) == chinese
    for form in (chinese, *others):
        assert read.marked(f"是{form}。") == f"是{MARKS[0]}。"
        assert any(re.fullmatch(one, form) for one in chinese_forms(source))


@pytest.mark.parametrize(
    ("source", "chinese", "others"),
    [
        ("$3.5m", "350万", ["3,500,000"]),
        ("£1.2bn", "12亿", ["1,200,000,000"]),
        ("€200K", "20万", ["200000"]),
        ("$2tn", "2万亿", ["20000亿"]),
        ("$3-4m", "300万-400万", ["300至400万"]),
        ("¥30k-40k", "3万-4万", ["30,000到4万"]),
    ],
)
def test_letters_behind_sums_are_large_words(source, chinese, others) -> None:
    read = read_of(f"It is {source}.")
    assert read.text == f"It is {source[0]}{MARKS[0]}."
    assert read.written(MARKS[0]) == chinese
    for form in (chinese, source[1:], *others):
        assert read.marked(f"是{form}。") == f"是{MARKS[0]}。"
    assert read_of(f"It is {source}.", chinese=False).written(MARKS[-1]) == source[1:]


@pytest.mark.parametrize(
    ("source", "chinese", "others"),
    [
        ("5km", "5公里", ["5千米", "5 km"]),
        ("2.5kg", "2.5公斤", ["2.5千克"]),
        ("1,200m", "1,200m", ["1200m"]),
        ("-3.5C", "-3.5C", ["零下3.5C"]),
        ("10–15mm", "10–15毫米", ["10至15毫米"]),
    ],
)
def test_units_close_behind_go_with_their_numbers(source, chinese, others) -> None:
    read = read_of(f"It is {source}.")
    assert read.text == f"It is {MARKS[-1]}."
    assert read.written(MARKS[-1]) == chinese
    for form in (chinese, source, *others):
        assert read.marked(f"是{form}。") == f"是{MARKS[-1]}。"
    assert read.marked("是15km。") == "是15km。"


def test_the_same_letters_may_be_a_sum_and_a_length() -> None:
    read = read_of("The $3m house is 3m high.")
    assert read.written(read.text) == "The $300万 house is 3m high."


@pytest.mark.parametrize(
    ("source", "target"),
    [("3", "3.5和13、3,000、3:20"), ("3.5", "13.5和3.55"), ("11:00", "11点半、11点20、11点钟")],
)
def test_a_number_is_no_part_of_another(source, target) -> None:
    assert read_of(f"It is {source}.").marked(target) == target


def test_words_are_spelled_as_in_the_source() -> None:
    assert spelled("ibm 和 Nasa 的 gpu", "IBM and NASA met.") == "IBM 和 NASA 的 gpu"


def test_marks_stand_for_what_is_alike_and_for_names() -> None:
    pair = Pair("Tom of IBM has 25 cats, 3 dogs.", "IBM的汤姆有25只猫，三只狗。")
    drawing = Drawing(share=0.99, names={"Tom": "汤姆"}, chinese=True)
    source, target = drawing.varied(pair, Random(1))
    tom, ibm, cats = (word for word in source.split() if word in MARKS)
    assert source == f"{tom} of {ibm} has {cats} cats, 3 dogs"  # and without its full stop
    assert target == f"{ibm}的{tom}有{cats}只猫，三只狗。"
    assert len({tom, ibm, cats}) == 3
    assert Drawing(names={"Tom": "汤姆"}).varied(pair, Random(1)) == pair


def test_numbers_always_have_marks_each_of_them_in_turn() -> None:
    pair = Pair("On 3 May 1,200 saw 5 of Li's 12 at 7:45.", "5月3日7点45分1200人看见了李的5/12。")
    seen = [Drawing(share=0.01, chinese=True).marked(pair, Random(n), 0.0) for n in range(40)]
    for source, target in seen:
        day, men, hour = (source.split()[n].rstrip(".") for n in (1, 3, -1))
        assert {day, men, hour} < set(MARKS[:FOR_NUMBERS])
        # 5 stands once in the source and twice in the target.
        assert source == f"On {day} May {men} saw 5 of Li's {source.split()[8]} at {hour}."
        assert target.startswith(f"5月{day}日{hour}{men}人看见了李的5/")
    assert {source.split()[1] for source, _ in seen} == set(MARKS[:FOR_NUMBERS])


def test_some_sources_have_no_mark_at_their_end() -> None:
    pairs = [Pair("Who? Is it you?", "谁？是你吗？"), Pair("...", "……")] * 500
    seen = Counter(Drawing(share=0.3).of(pairs, Random(2)))
    assert set(seen) == {*pairs, Pair("Who? Is it you", "谁？是你吗？")}
    assert 120 < seen[Pair("Who? Is it you", "谁？是你吗？")] < 180


def test_an_epoch_takes_pairs_as_often_as_is_said() -> None:
    drawn = Drawing([2.0] * 10 + [0.25] * 10).of(PAIRS, Random(0))
    assert all(drawn.count(pair) == 2 for pair in PAIRS[:10])
    assert Drawing([3.0, 1.0]).often([Pair("a", "一二三"), Pair("b", "一")]) == 2.5
    many = Drawing([0.25] * 10_000).of(PAIRS[:1] * 10_000, Random(0))
    assert 2_300 < len(many) < 2_700


def test_an_epoch_takes_a_pair_at_least() -> None:
    times = [1e-9] * 19 + [1e-3]
    drawn = [Drawing(times).of(PAIRS, Random(seed)) for seed in range(9)]
    assert drawn == [[PAIRS[-1]]] * 9
    long = [Pair("very " * 80 + "long", "长")] * 200
    task = TranslationTask(
        [*PAIRS, *long], PAIRS, Options(batch_tokens=40, source_pieces=300), SIZES,
        drawing=Drawing([1e-9] * len(PAIRS) + [1e-3] * len(long)),
    )  # fmt: skip
    for epoch in range(9):
        [batch] = [task.batches(epoch)[n] for n in range(len(task.batches(epoch)))]
        assert len(batch.lengths) == 1


def test_marks_and_digits_are_tokens() -> None:
    texts = ["at 12:45 and 12:45"] * 4
    for kind in ("pieces", "characters"):
        tokens = Tokens.train(kind, texts, 400, lowercase=True, digits=True, marks=MARKS)
        again = Tokens.from_json(tokens.to_json())
        text = f"12 {MARKS[0]}{MARKS[7]}."
        [numbers] = again.encode([text])
        assert [again.readable(n) for n in numbers if again.readable(n) in MARKS] == [
            MARKS[0], MARKS[7],
        ]  # fmt: skip
        assert [again.readable(n) for n in numbers][:2] == ["1", "2"]
        assert again.offsets(text)[0] == (0, 1)


@pytest.fixture(scope="module")
def carrying(tmp_path_factory) -> Translator:
    """A translator that has learnt to take over one thing in a sentence."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("carrying")
    pairs = [Pair(f"{word} is here.", f"{word}在这里。") for word in ("IBM", "NASA", "A1", "B2")]
    options = Options(batch_tokens=40, label_smoothing=0.0, source_pieces=400, vary=0.9)
    task = TranslationTask(pairs * 8, pairs, options, SIZES, drawing=Drawing(share=0.9))
    train(task, folder, Settings(epochs=12, learning_rate=0.02, warmup=10), quiet=True)
    return Translator.load(folder)


def test_a_translator_takes_over_what_it_never_saw(carrying, tmp_path) -> None:
    carrying.save(tmp_path / "again")
    for translator in (carrying, Translator.load(tmp_path / "again")):
        thing = "https://example.org/x?y=Is"
        [found] = translator.translate([f"{thing} is here."])
        assert found.text == f"{thing}在这里。"
        assert found.source == f"{thing} is here."
        assert found.source_tokens[0] == found.tokens[0] == thing
        assert found.source_spans[0] == (0, 1)
        again = translator.align(found.source, found.text)
        assert again.tokens == found.tokens
        assert again.score == pytest.approx(found.score, abs=1e-4)


def test_what_is_gone_on_from_carries_as_it_did(carrying, translator) -> None:
    options = Options(batch_tokens=40)
    sizes = {"dropout": 0.0}
    again = TranslationTask(PAIRS, PAIRS, options, sizes, trained=carrying)
    assert again.carries
    held = [Pair("Go to https://a.org.", "去https://a.org。"), Pair("It is 25.", "是25。")]
    for drawing in (None, Drawing([1.0, 1.0])):
        task = TranslationTask(held, held, options, sizes, trained=carrying, drawing=drawing)
        batches = task.batches(0)
        read = [one for number in range(len(batches)) for one in batches[number].source.tolist()]
        for row in [*read, *(source for source, _ in task.held)]:
            assert any(carrying.source.readable(token) in MARKS for token in row)
    with pytest.raises(ValueError, match=r"vary must be 0 .* got 0.5"):
        TranslationTask(PAIRS, PAIRS, Options(vary=0.5), sizes, trained=translator)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"times": [1.0, 2.0]}, r"times must be a positive number for each of 1 training files"),
        ({"times": [0.0]}, r"times must be a positive number"),
        ({"times": [float("nan")]}, r"times must be a positive number"),
    ],
)
def test_wrong_times_are_named(given, message) -> None:
    with pytest.raises(ValueError, match=message):
        Data([Path("a.tsv")], **given)
