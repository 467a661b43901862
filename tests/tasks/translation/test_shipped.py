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
    (tmp_path / "en-zh-recurrent").mkdir()
    with pytest.raises(ValueError, match="en-zh-recurrent: not a model folder"):
        qkv.Translator.load("en-zh-recurrent")
    with pytest.raises(ValueError, match="no such directory"):
        qkv.Translator.load(tmp_path / "reviews")
