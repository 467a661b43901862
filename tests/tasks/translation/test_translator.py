"""The translator from outside: texts in, translations out, folders."""

import json
import shutil

import pytest
import torch

import qkv
from conftest import PAIRS, make_task
from qkv.models import SequenceToSequence
from qkv.tasks.translation import Translator
from qkv.tasks.translation.search import beam_search

SENTENCE = "My old friends live in Beijing now."


def test_it_translates_what_it_has_learnt(translator):
    for beam in (1, 5):
        results = translator.translate([pair.source for pair in PAIRS], beam=beam)
        assert [result.text for result in results] == [pair.target for pair in PAIRS]


def test_a_translation_says_what_was_read_and_written(translator):
    [result] = translator.translate([f"  {SENTENCE.upper()} "], beam=3)
    assert result.source == f"  {SENTENCE.upper()} "
    assert result.text == "我的老朋友现在住在北京。"
    assert result.tokens == (*"我的老朋友现在住在北京。", "</s>")
    assert result.source_tokens[-1] == "</s>"
    assert "".join(result.source_tokens[:-1]) == SENTENCE.upper().replace(" ", "")
    words = ["".join(result.source_tokens[start:stop]) for start, stop in result.source_spans]
    assert words == [*SENTENCE.upper().split(), "</s>"]
    assert -1 < result.score < 0
    assert result.sentences == (result,)


def test_the_alignment_is_what_the_decoder_used_at_each_step(translator):
    [result] = translator.translate([SENTENCE])
    matrix = result.alignment
    assert isinstance(matrix, qkv.AttentionMatrix)
    assert matrix.shape == (len(result.tokens), len(result.source_tokens))
    model = translator.model
    source = torch.tensor(translator.source.encode([SENTENCE]))
    lengths = torch.tensor([source.shape[1]])
    read = torch.tensor([[1, *translator.target.encode([result.text])[0][:-1]]])
    with torch.no_grad():
        state, weights = model.start(source, lengths), []
        keys = model.decoder.alignment.key(model.encoder(model.source_embedding(source) * 32**0.5))
        for column in range(read.shape[1]):
            _, state = model.decode(read[:, column : column + 1], state)
            asking = state.memory[:, 0]  # the lower layer's state
            compared = torch.tanh(model.decoder.alignment.query(asking) + keys[0])
            weights.append((compared @ model.decoder.alignment.score().weight).softmax(-1))
    torch.testing.assert_close(matrix.dense(), torch.stack(weights), rtol=1e-4, atol=1e-6)
    assert not matrix.dense().requires_grad


def test_where_it_looked_is_found_out_when_it_is_asked_for(translator, monkeypatch):
    asked, matrices = [], translator.model.matrices
    monkeypatch.setattr(
        translator.model, "matrices", lambda *args: asked.append(args) or matrices(*args)
    )
    results = translator.translate([pair.source for pair in PAIRS])
    assert asked == []
    assert results[1].alignment is results[1].alignment
    assert results[1].matrices is results[1].matrices
    assert len(asked) == 1


def test_many_texts_keep_their_order_and_equal_single_ones(translator):
    texts = [pair.source for pair in PAIRS] + ["", "We sleep", "unseen words, 🦆!"]
    together = translator.translate(texts, batch=4)
    assert [result.source for result in together] == texts
    for text, result in zip(texts, together, strict=True):
        [alone] = translator.translate([text])
        assert alone.text == result.text
        assert alone.score == pytest.approx(result.score, abs=1e-5)


@pytest.mark.parametrize("text", ["", " \t\n"])
def test_an_empty_text_gives_an_empty_translation(translator, text):
    [result] = translator.translate([text])
    assert (result.source, result.text, result.tokens, result.source_tokens) == (text, "", (), ())
    assert (result.score, result.alignment, result.sentences) == (0.0, None, ())
    assert translator.translate([]) == []


@pytest.mark.parametrize("text", ["a 🦆🦆🦆 b", "Привет", "a\x00", "</s> <unk>", "\udce9t\udce9"])
def test_characters_never_seen_are_translated_somehow(translator, text):
    [result] = translator.translate([text])
    assert "<unk>" not in result.text
    assert "\ufffd" not in result.text
    assert result.alignment.shape == (len(result.tokens), len(result.source_tokens))
    json.dumps(result.source_tokens, ensure_ascii=False).encode()


def test_a_text_is_translated_sentence_by_sentence(translator):
    text = " ".join(pair.source for pair in PAIRS)
    [result] = translator.translate([text])
    assert result.text == "".join(pair.target for pair in PAIRS)
    assert [one.text for one in result.sentences] == [pair.target for pair in PAIRS]
    assert all(one.alignment is not None for one in result.sentences)
    assert (result.alignment, result.matrices) == (None, ())
    assert result.source_tokens == tuple(t for one in result.sentences for t in one.source_tokens)
    assert result.tokens == tuple(t for one in result.sentences for t in one.tokens)
    flat = [result.source_tokens[start:stop] for start, stop in result.source_spans]
    assert flat == [one.source_tokens[a:b] for one in result.sentences for a, b in one.source_spans]
    total = sum(one.score * len(one.tokens) for one in result.sentences)
    assert result.score == pytest.approx(total / len(result.tokens))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We sleep. I drink tea.", "我们睡觉。我喝茶。"),
        ("We sleep.\nI drink tea.", "我们睡觉。\n我喝茶。"),
        ("\n We sleep. \r\n\r\n\tI drink tea.  \n", "\n 我们睡觉。 \r\n\r\n\t我喝茶。  \n"),
        ("  We  sleep.   I\u00a0drink tea. ", "我们睡觉。我喝茶。"),
        ("WE SLEEP. I DRINK TEA.", "我们睡觉。我喝茶。"),
        ("We sl\u00adeep.\u2028I dr\u200bink tea.", "我们睡觉。\u2028我喝茶。"),
    ],
)
def test_a_text_keeps_its_line_breaks_and_needs_no_spaces(translator, text, expected):
    [result] = translator.translate([text])
    assert result.text == expected
    assert [one.text for one in result.sentences] == ["我们睡觉。", "我喝茶。"]
    assert result.source == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1. We sleep. 2. I drink tea.", "1. 我们睡觉。 2. 我喝茶。"),
        ("- We sleep.\n- I drink tea.", "- 我们睡觉。\n- 我喝茶。"),
        ("# We sleep. 🎉\n> I drink tea. ☕", "# 我们睡觉。 🎉\n> 我喝茶。 ☕"),
        ("We sl-\neep. I drink\u00a0\ttea.", "我们睡觉。我喝茶。"),
        ("Ｗｅ　ｓｌｅｅｐ。I drink tea．", "我们睡觉。我喝茶。"),
        ("WE SLEEP.I DRINK TEA.", "我们睡觉。我喝茶。"),
    ],
)
def test_texts_are_read_as_they_are_meant(translator, text, expected):
    [result] = translator.translate([text])
    alone = translator.translate(["We sleep.", "I drink tea."])
    assert result.text == expected
    assert result.source == text
    for one, other in zip(result.sentences, alone, strict=True):
        assert (one.text, one.tokens) == (other.text, other.tokens)
        assert one.score == pytest.approx(other.score, abs=1e-5)
        words = ["".join(one.source_tokens[start:stop]) for start, stop in one.source_spans]
        assert words == [*one.source.split(), "</s>"]


def test_one_sentence_with_something_around_it_holds_what_was_read(translator):
    [result] = translator.translate(["• We  sleep."])
    [alone] = translator.translate(["We sleep."])
    assert (result.source, result.text) == ("• We  sleep.", "• 我们睡觉。")
    assert result.sentences == (alone,)
    assert result.alignment.shape == alone.alignment.shape


@pytest.mark.parametrize("text", ["42", "...", "🎉🎉", "https://example.com/a", "5:30 - 6:30!"])
def test_what_has_no_words_stays_as_it_is(translator, text):
    [result] = translator.translate([text])
    assert (result.source, result.text, result.sentences, result.doubt) == (text, text, (), ())


def test_words_of_a_language_with_spaces_keep_them(translator):
    task = make_task()
    spaced = Translator(task.model(), task.source, task.source, 60)
    [result] = spaced.translate(["We sleep. I drink tea.\n They sleep."], beam=1)
    one, two, three = (sentence.text for sentence in result.sentences)
    assert result.text == f"{one} {two}\n {three}"


def test_one_text_that_is_a_batch_of_sentences_equals_single_ones(translator, monkeypatch):
    sizes = []

    def search(model, source, *arguments, **options):
        sizes.append(len(source))
        return beam_search(model, source, *arguments, **options)

    monkeypatch.setattr("qkv.tasks.translation.translator.beam_search", search)
    [result] = translator.translate([" ".join(pair.source for pair in PAIRS)], batch=8)
    assert sizes == [8, 8, 4]
    assert result.text == "".join(pair.target for pair in PAIRS)


def test_the_name_of_the_source_language_is_kept(translator, tmp_path):
    parts = translator.model, translator.source, translator.target, translator.longest
    Translator(*parts, source_language="English").save(tmp_path)
    assert Translator.load(tmp_path).source_language == "English"
    assert translator.source_language is None


def test_ten_thousand_words_without_a_sentence_are_translated(translator):
    [result] = translator.translate(["tea book dog sleep " * 2500], beam=1, batch=64)
    assert len(result.sentences) > 100
    assert sum(len(one.source.split()) for one in result.sentences) == 10_000


def test_saving_and_loading_keeps_the_translator(translator, tmp_path):
    translator.save(tmp_path / "copy")
    names = {path.name for path in (tmp_path / "copy").iterdir()}
    assert names == {"config.json", "model.safetensors", "tokenizer.json"}
    copy = Translator.load(tmp_path / "copy")
    for name, value in translator.model.state_dict().items():
        torch.testing.assert_close(copy.model.state_dict()[name], value, rtol=0, atol=0)
    assert copy.translate([SENTENCE]) == translator.translate([SENTENCE])


def test_half_precision_is_half_as_large_and_loads_as_float32(translator, learnt, tmp_path):
    translator.save(tmp_path, torch.float16)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (tmp_path, learnt)]
    assert sizes[0] < 0.55 * sizes[1]
    copy = Translator.load(tmp_path)
    assert {value.dtype for value in copy.model.state_dict().values()} == {torch.float32}
    assert copy.translate([SENTENCE])[0].text == "我的老朋友现在住在北京。"


@pytest.mark.parametrize("new", [True, False], ids=["new", "existing"])
def test_a_full_disk_leaves_the_folder_as_it_was(translator, learnt, tmp_path, monkeypatch, new):
    folder = tmp_path / "model"
    if not new:
        shutil.copytree(learnt, folder)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    writes = []

    def full(handle):
        writes.append(handle)
        if len(writes) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"cannot write .*model\.safetensors: No space left"):
        translator.save(folder)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before
    assert folder.exists() is not new


def damaged(learnt, tmp_path, file, change):
    folder = tmp_path / "model"
    shutil.copytree(learnt, folder)
    path = folder / file
    path.write_bytes(change(path.read_bytes()))
    return folder


def changed(**fields):
    return lambda content: json.dumps(json.loads(content) | fields).encode()


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", lambda content: content[:20], "config.json cannot be read"),
        ("config.json", lambda content: b"[]", "config.json must hold a JSON object; got list"),
        ("config.json", lambda content: b"\xff\xfe", "config.json cannot be read"),
        ("config.json", changed(format="gpt2"), "its format is 'gpt2', not 'qkv translator 1'"),
        ("config.json", changed(family="t5"), "family must be 'sequence-to-sequence'; got 't5'"),
        ("config.json", changed(model={}), "not a translator that qkv can load"),
        ("config.json", changed(model=None), "not a translator that qkv can load"),
        ("config.json", changed(longest="many"), "not a translator that qkv can load"),
        ("config.json", changed(length_penalty=-1), "length_penalty must be a number >= 0"),
        ("config.json", changed(longest=0), "longest must be an int >= 8; got 0"),
        ("tokenizer.json", lambda content: b"{}", "'source' is missing"),
        ("tokenizer.json", changed(source={"kind": "pieces"}), "not a tokenizer"),
        ("model.safetensors", lambda content: content[:-9], "model.safetensors cannot be read"),
        ("model.safetensors", lambda content: b"", "model.safetensors cannot be read"),
        ("model.safetensors", lambda content: b"PK\x03\x04" * 99, "cannot be read"),
    ],
)
def test_a_damaged_folder_is_refused_by_name(learnt, tmp_path, file, change, message):
    folder = damaged(learnt, tmp_path, file, change)
    with pytest.raises(ValueError, match=message) as caught:
        Translator.load(folder)
    assert str(caught.value).startswith(f"{folder}: ")


def test_a_folder_that_is_none_is_refused(tmp_path, learnt):
    with pytest.raises(ValueError, match="absent: not a model folder: no such directory"):
        Translator.load(tmp_path / "absent")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer.json, model.safetensors missing"):
        Translator.load(tmp_path)


def test_weights_of_another_model_or_of_none_are_refused(learnt, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(learnt, folder)
    translator = Translator.load(learnt)
    config = make_task(width=8).model().config
    translator.model = SequenceToSequence(config)
    translator.save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", folder)
    with pytest.raises(ValueError, match=r"decoder.alignment.key.bias must be \[32\]; got \[8\]"):
        Translator.load(folder)
    translator = Translator.load(learnt)
    with torch.no_grad():
        translator.model.output_bias[5] = torch.nan
    translator.save(folder)
    with pytest.raises(ValueError, match="output_bias holds values that are not finite"):
        Translator.load(folder)


def test_a_model_without_attention_has_no_alignment(translator):
    task = make_task(score="none")
    plain = Translator(task.model().eval(), task.source, task.target, 60)
    [result] = plain.translate(["We sleep."])
    assert (result.alignment, result.matrices) == (None, ())
    assert result.tokens[-1] == "</s>"


def test_wrong_arguments_are_named(translator):
    with pytest.raises(TypeError, match="texts must be a list of str; got one str"):
        translator.translate("We sleep.")
    with pytest.raises(TypeError, match="texts must be a list of str; got bytes in it"):
        translator.translate([b"We sleep."])
    with pytest.raises(ValueError, match="beam must be an int >= 1; got 0"):
        translator.translate(["We sleep."], beam=0)
    with pytest.raises(ValueError, match="batch must be an int >= 1; got 0"):
        translator.translate(["We sleep."], batch=0)
    for value in (-1, float("nan"), float("inf"), "2"):
        with pytest.raises(ValueError, match=r"length_penalty must be a number >= 0; got"):
            translator.translate(["We sleep."], length_penalty=value)


def test_the_length_penalty_of_a_model_is_kept_with_it_and_taken_unless_told(
    translator, tmp_path, monkeypatch
):
    used = []

    def search(*arguments, length_penalty, **options):
        used.append(length_penalty)
        return beam_search(*arguments, length_penalty=length_penalty, **options)

    monkeypatch.setattr("qkv.tasks.translation.translator.beam_search", search)
    parts = translator.model, translator.source, translator.target, translator.longest
    Translator(*parts, length_penalty=1.5).save(tmp_path)
    copy = Translator.load(tmp_path)
    copy.translate([SENTENCE])
    copy.translate([SENTENCE], length_penalty=0)
    translator.translate([SENTENCE])
    assert used == [1.5, 0, 1.0]
    config = json.loads((tmp_path / "config.json").read_text())
    del config["length_penalty"]  # as older folders are
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert Translator.load(tmp_path).length_penalty == 1.0
