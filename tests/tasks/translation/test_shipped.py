"""The model that ships with the package."""

import qkv
from qkv.tasks.translation.translator import SHIPPED

MOST_BYTES = 16 * 2**20


def test_the_folder_holds_its_four_files_and_is_small():
    sizes = {path.name: path.stat().st_size for path in SHIPPED.iterdir()}
    assert set(sizes) == {"README.md", "config.json", "model.safetensors", "tokenizer.json"}
    assert sum(sizes.values()) <= MOST_BYTES


def test_it_translates_english_to_chinese_and_looks_where_it_should():
    texts = ["He drinks tea every morning.", "A man in a red shirt is riding a bicycle."]
    tea, man = qkv.Translator.load().translate(texts)
    assert "他" in tea.text
    assert "茶" in tea.text
    assert man.text.endswith("。")
    for translation, token, word in [(tea, "茶", "tea"), (man, "红", "red")]:
        row = translation.alignment.dense()[translation.tokens.index(token)]
        assert translation.source_tokens[int(row.argmax())] == word


def test_its_card_names_data_licences_and_scores():
    card = (SHIPPED / "README.md").read_text(encoding="utf-8")
    for words in ("CC-BY 2.0 FR", "MIT", "tok:zh", "qkv train translate", "without attention"):
        assert words in card
