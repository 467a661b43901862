import pytest
import torch

from qkv.pictures import TerminalMap, heatmap, merge_columns

PIECES = ("in", "ter", "est", "ing", ".", "⏎")


@pytest.mark.parametrize("draw", [heatmap, TerminalMap])
@pytest.mark.parametrize(
    ("weights", "rule"),
    [
        ([[0.5, 0.5]], r"weights must be \[rows, columns\].*got weights \[1, 2\], 1 row.*1 column"),
        ([0.5], r"weights must be \[rows, columns\].*got weights \[1\]"),
        ([[-0.5]], "finite and not negative"),
        ([[float("nan")]], "finite and not negative"),
    ],
)
def test_weights_that_cannot_be_drawn_are_refused(draw, weights, rule):
    with pytest.raises(ValueError, match=f"^{draw.__name__}: .*{rule}"):
        draw(weights, ["a"], ["b"])


@pytest.mark.parametrize("draw", [heatmap, TerminalMap])
def test_nothing_to_draw_is_an_error(draw):
    with pytest.raises(ValueError, match=r"nothing to draw; got weights \[0, 1\]"):
        draw(torch.zeros(0, 1), [], ["a"])


def test_merging_sums_the_pieces_and_leaves_what_is_in_no_span():
    weights = torch.tensor([[0.1, 0.2, 0.3, 0.1, 0.1, 0.2], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]])
    merged, labels = merge_columns(weights, PIECES, [(0, 4), (4, 5)])
    assert labels == ("interesting", ".", "⏎")
    torch.testing.assert_close(merged, torch.tensor([[0.7, 0.1, 0.2], [0.0, 0.0, 1.0]]))


def test_merging_keeps_each_rows_sum():
    weights = torch.softmax(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), 1)
    merged, labels = merge_columns(weights, PIECES, [(1, 3), (3, 6)])
    assert labels == ("in", "terest", "ing.⏎")
    torch.testing.assert_close(merged.sum(1), torch.ones(4))


@pytest.mark.parametrize(
    "spans", [[(2, 2)], [(0, 7)], [(0, 3), (2, 4)], [(3, 4), (0, 1)], [(-1, 2)], [(6, 6)]]
)
def test_spans_must_be_in_order_and_in_range(spans):
    with pytest.raises(ValueError, match="spans must be non-empty, in order and within the 6"):
        merge_columns(torch.ones(1, 6), PIECES, spans)
