"""What a capture tells of itself in short: the functions of other files, asked of one capture."""

from __future__ import annotations

import os
from typing import Any

from torch import Tensor

from ..matrix.rollout import rollout
from .drawn import Patch, draw_head, draw_heads, draw_over_image
from .heads import Heads, key_mass
from .images import ImageLabels
from .labelling import Labelling
from .layers import layer_of, layers_of
from .similarity import Similarity, similarity


class Views:
    """Has `calls` and their labels."""

    calls: Any
    labelling: Labelling

    def key_mass(self) -> dict[str, Tensor]:
        """The weight that each key receives from all queries that are no padding, `[batch, H, Lk]`,
        by the name of the layer: the heavy-hitter score of `qkv.capture.heads.key_mass`."""
        return key_mass(self)

    def similarity(self, queries: int = 128) -> Similarity:
        """How alike the heads of all layers are: see `qkv.capture.similarity.similarity`."""
        return similarity(self, queries)

    def rollout(self, rows: Any, residual: float = 0.5) -> Tensor:
        """How much each position reached chosen positions of the last layer, through all layers of
        self-attention: see `qkv.rollout`, whose arguments and errors these are.

        Raises:
            ValueError: there is no self-attention, or its layers are not of one sequence.
        """
        own = [layer.matrix for layer in layers_of("rollout", self) if layer.kind == "self"]
        return rollout(own, rows, residual)

    def picture(
        self, layer: int | str, head: int, path: str | os.PathLike[str], entry: int = 0
    ) -> None:
        """Draws one head with its labels to a `.png`, `.svg` or `.pdf` file. Needs matplotlib.

        Args:
            layer: its number among the calls, or its name.
            head: its number.
            path: the file; it appears when it is complete.
            entry: of the batch.

        Raises:
            IndexError, KeyError: there is no such layer, head or entry.
            ValueError: another kind of file; weights that are not finite.
            OSError: the file cannot be written.
        """
        draw_head(layer_of("picture", self, layer), head, path, entry)

    def pictures(
        self, path: str | os.PathLike[str], names: Heads | None = None, entry: int = 0
    ) -> None:
        """Draws all heads as small maps in a grid, a row for each layer, to a file as of `picture`.

        Args:
            path: the file; it appears when it is complete.
            names: `qkv.heads(capture)`: what each head does is written below it.
            entry: of the batch.

        Raises:
            IndexError: there is no such entry.
            ValueError, OSError: as of `picture`.
        """
        draw_heads(layers_of("picture", self), path, names, entry)

    def picture_over_image(
        self,
        layer: int | str,
        head: int | None,
        path: str | os.PathLike[str],
        query: int | Patch | None = None,
        entry: int = 0,
    ) -> None:
        """Draws where a head looks over the image that `label_image` was given, to a file as of
        `picture`.

        Args:
            layer: its number among the calls, or its name.
            head: its number; None: the mean over the heads.
            path: the file; it appears when it is complete.
            query: whose weights: row and column of a patch, or the number of a query, such as 0 for
                a class token; None: the mean over all queries.
            entry: of the batch.

        Raises:
            IndexError, KeyError: there is no such layer, head, query or entry.
            ValueError: the layer's keys have no image; another kind of file.
            OSError: the file cannot be written.
        """
        found = layer_of("picture", self, layer)
        found.entry(entry)  # is there
        _, labels = self.labelling.of(found.call, entry)
        if not isinstance(labels, ImageLabels):
            raise ValueError(
                f"picture: the keys of {found.name} have no image; label_image gives them one"
            )
        draw_over_image(found, head, path, labels, query, entry)
