"""The model that ships with the package."""

import pytest

import qkv
from qkv.cli.run import run
from qkv.tasks.translation.translator import SHIPPED


def test_it_translates_english_to_chinese_and_looks_where_it_should():
    texts = ["He drinks tea every morning.", "A man in a red shirt is riding a bicycle."]
    tea, man = qkv.Translator.load().translate(texts)
    assert "他" in tea.text
    assert "茶" in tea.text
    assert man.text.endswith("。")
    for translation, token, word in [(tea, "茶", "tea"), (man, "红", "red")]:
        place = translation.source.split().index(word)
        assert (place, translation.text.index(token)) in translation.word_alignment().links


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        ("I like tea.She likes coffee. ", ["I like tea.", "She likes coffee."]),
        ("What?! Mr. Smith has 3.5 kg of rice.", ["What?!", "Mr. Smith has 3.5 kg of rice."]),
        ("“I am here.” He’s in the U.S. now.", ['"I am here."', "He's in the U.S. now."]),
        (
            "- I like fruit,\u00a0e.g. apples…\n- DON’T GO!",
            ["I like fruit, e.g. apples...", "don't go!"],
        ),
        ("1) I like tea; I\tdrink it.", ["I like tea; I drink it."]),
    ],
)
def test_sentences_of_a_text_are_translated_as_they_are_alone(text, alone):
    translator = qkv.Translator.load()
    [whole] = translator.translate([text])
    expected = [translator.translate([one])[0] for one in alone]
    assert [one.text for one in whole.sentences] == [one.text for one in expected]
    assert [one.tokens for one in whole.sentences] == [one.tokens for one in expected]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The house was sold for $3.5m.", "350万美元"),
        ("The company paid £1.2bn.", "12亿英镑"),
        ("They sold 5-10 million cars.", "500万-1000万"),
        ("The job pays $30,000-40,000 a year.", "30,000-40,000美元"),
        ("The race started at 12:30:45.", "12:30:45"),
        ("They won 3:1.", "3:1"),
        ("The wall is 3.5m high.", "3.5m"),
        ("It is 12,345m deep.", "12,345m"),
        ("The battery gives 4.5V.", "4.5V"),
        ("My phone has 1.5GB of memory.", "1.5GB"),
        ("He ran it in 9.58s.", "9.58s"),
        ("The car reached 100km/h.", "100km/h"),
        ("The town has 50k people.", "50k"),
        ("The dog weighs 80kg.", "80公斤"),
        ("Add 250ml of milk.", "250毫升"),
        ("He ran 5km.", "5公里"),
    ],
)
def test_numbers_arrive_whole_with_what_stands_close_behind(text, number):
    [translation] = qkv.Translator.load().translate([text])
    assert number in translation.text
    assert "numbers lost" not in translation.doubt


def test_a_long_address_within_a_sentence_arrives_whole_and_as_it_is():
    address = f"https://www.example.org/{'2024/03/05/Is-it/' * 9}index.html?id=1234567&see=Today.Or"
    [translation] = qkv.Translator.load().translate([f"Today you can read it at {address} here."])
    assert address in translation.text
    assert len(translation.sentences) == 1


def test_its_card_names_data_licences_and_scores():
    card = (SHIPPED / "README.md").read_text(encoding="utf-8")
    for words in ("CC-BY 2.0 FR", "MIT", "tok:zh", "qkv train translate", "Tatoeba, held out"):
        assert words in card


def test_the_recurrent_one_is_loaded_by_its_name(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = qkv.Translator.load("en-zh-recurrent").model.config
    assert (config.encoder, config.decoder, config.feeding) == ("gru", "gru", "upper")
    assert run(["translate", "--model", "en-zh-recurrent", "I drink tea."]) == 0
    assert "茶" in capsys.readouterr().out
    (tmp_path / "en-zh-recurrent" / "training").mkdir(parents=True)
    with pytest.raises(ValueError, match="en-zh-recurrent: not a model folder"):
        qkv.Translator.load("en-zh-recurrent")
    with pytest.raises(ValueError, match="no such directory"):
        qkv.Translator.load(tmp_path / "reviews")
