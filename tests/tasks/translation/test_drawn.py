"""A translation draws and shows itself."""

from dataclasses import replace

import pytest

from qkv.pictures import figure as figures
from qkv.tasks.translation.drawn import weights_of


def test_the_end_mark_is_a_word_and_words_are_whole(translator):
    [found] = translator.translate(["We drink tea."])
    weights, rows, columns = weights_of(found, merge_words=True)
    assert rows == [*"我们喝茶。", "(end)"]
    assert columns == ["We", "drink", "tea.", "(end)"]
    assert list(weights.shape) == [6, 4]
    pieces = weights_of(found, merge_words=False)[2]
    assert pieces == [*found.source_tokens[:-1], "(end)"]


@pytest.mark.filterwarnings("ignore:no installed font has")
def test_a_picture_is_one_file_for_each_part(translator, tmp_path, monkeypatch):
    drawn = []
    heatmap = figures.heatmap

    def spy(weights, rows, columns, **options):
        drawn.append((rows, columns))
        return heatmap(weights, rows, columns, **options)

    monkeypatch.setattr(figures, "heatmap", spy)
    [found, empty] = translator.translate(["We drink tea.", " "])
    assert found.picture(tmp_path / "a.png", merge_words=True) == [tmp_path / "a.png"]
    assert drawn == [(weights_of(found, True)[1], ["We", "drink", "tea.", "(end)"])]
    assert empty.picture(tmp_path / "b.png") == []
    assert {file.name for file in tmp_path.iterdir()} == {"a.png"}


def test_a_notebook_shows_the_texts_and_the_map(translator):
    [found, empty] = translator.translate(["We drink tea.", " "])
    html = found._repr_html_()
    for part in ("We drink tea.", "<b>我们喝茶。</b>", "<th>drink</th>", "<th>(end)</th>"):
        assert part in html
    assert html.count("<tr>") == 7
    assert "<table" not in empty._repr_html_()
    assert "&lt;i&gt;" in replace(empty, source="<i>")._repr_html_()


def test_without_attention_there_is_nothing_to_draw(translator, tmp_path):
    [found] = translator.translate(["We drink tea."])
    blind = replace(found, look=None)
    with pytest.raises(ValueError, match="this model has no attention"):
        blind.picture(tmp_path / "a.png")
    assert "<table" not in blind._repr_html_()
