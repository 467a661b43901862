"""What holds of every figure, however it is filled."""

from __future__ import annotations

from matplotlib.figure import Figure


def check_layout(figure: Figure) -> None:
    """Nothing leaves the figure or lies on anything else."""
    figure.canvas.draw()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    boxes += [text.get_window_extent() for text in figure.texts]
    for number, box in enumerate(boxes):
        assert -1 <= box.x0 < box.x1 <= figure.bbox.width + 1
        assert -1 <= box.y0 < box.y1 <= figure.bbox.height + 1
        for other in boxes[:number]:
            apart = other.x0 >= box.x1 or box.x0 >= other.x1 or other.y0 >= box.y1
            assert apart or box.y0 >= other.y1
