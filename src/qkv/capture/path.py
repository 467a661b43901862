"""The monotonic path through a map of tokens and frames: when each token was said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ground.tensors import integer
from ..matrix.matrix import AttentionMatrix

_BOTH, _TOKEN, _FRAME = range(3)  # what moved on to reach a cell


class MonotonicPath:
    """Collects the cross-attention of a few heads call by call, and finds the path through tokens
    and frames that never goes back and has the most weight (dynamic time warping).

    A call costs little more than the weights of its queries: the path is searched when it is asked
    for, at any time while a model generates.

        path = qkv.observe.monotonic_path()
        with qkv.observe(model, where="decoder.layers.2.encoder_attn", heads=[3, 7], each=path):
            model.generate(features)
        seconds = path.starts() * 0.02

    The rows of a batch must keep their places: not those of beams, which change them.

    Args:
        heads: pairs (layer, head), where layer counts the observed modules in the order of their
            calls; numbers of heads if there is one module. None: all.
        layers: how many modules are observed; they are called in turn.
        skip: how many of the first tokens are left out, such as a prompt.
        frames: how many of the first frames count; None: all.
        normalized: whether each frame's weights are brought to mean 0 and deviation 1 over the
            tokens, so that a frame at which all tokens look counts for none.
        median: over how many neighbouring frames the median is taken, odd; 1: none.

    Raises:
        TypeError, ValueError: an argument that is none of these.

    Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), and
    its implementation of word times.
    """

    def __init__(
        self,
        heads: Sequence[int] | Sequence[tuple[int, int]] | None = None,
        layers: int = 1,
        skip: int = 0,
        frames: int | None = None,
        normalized: bool = True,
        median: int = 7,
    ) -> None:
        self._layers, self._skip = _at_least(layers, 1, "layers"), _at_least(skip, 0, "skip")
        self._heads = None if heads is None else _pairs(heads, self._layers)
        self._frames = None if frames is None else _at_least(frames, 1, "frames")
        self._normalized, self._median = normalized, _at_least(median, 1, "median")
        if self._median % 2 == 0:
            raise ValueError(f"monotonic_path: median must be odd; got {median}")
        self._rows: list[list[Tensor]] = [[] for _ in range(self._layers)]  # of each layer
        self._calls = 0

    def __call__(self, matrix: AttentionMatrix) -> None:
        """Takes the rows of a call, `[B, H, Lq, Lk]` or `[H, Lq, Lk]`: Lq tokens that follow those
        of the calls before.

        Raises:
            ValueError: another batch, other heads or frames than before.
        """
        layer = self._calls % self._layers
        self._calls += 1
        with torch.no_grad():
            rows = matrix.detach().dense(max_bytes=2**34).float()
        rows = rows.reshape(-1, *(1, *rows.shape)[-3:])[..., : self._frames]
        if self._heads is not None:
            own = [head for of, head in self._heads if of == layer]
            if own and max(own) >= rows.shape[1]:
                raise ValueError(
                    f"monotonic_path: head {max(own)} was asked for; there are {rows.shape[1]}"
                )
            rows = rows[:, own]
        before = self._rows[layer]
        if before and (before[0].shape[:2], before[0].shape[3]) != (rows.shape[:2], rows.shape[3]):
            raise ValueError(
                "monotonic_path: every call must have the same batch, heads and frames; got "
                f"{_sizes(rows)} after {_sizes(before[0])}"
            )
        before.append(rows)

    def map(self) -> Tensor:
        """The map that the path goes through, `[B, tokens, frames]`: the mean over the heads.

        Raises:
            ValueError: no token was seen yet.
        """
        layers = [torch.cat(rows, -2) for rows in self._rows if rows]
        tokens = min((rows.shape[-2] for rows in layers), default=0)
        if len(layers) < self._layers or tokens <= self._skip:
            raise ValueError(
                f"monotonic_path: no token was seen behind the first {self._skip}; "
                f"got {tokens} in {len(layers)} of {self._layers} layers"
            )
        weights = torch.cat([rows[..., self._skip : tokens, :] for rows in layers], 1)
        if self._normalized:
            deviation = weights.std(-2, keepdim=True, unbiased=False)
            weights = weights - weights.mean(-2, keepdim=True)
            weights = weights / torch.where(deviation == 0, 1, deviation)
        return _filtered(weights, self._median).mean(1)

    def path(self, entry: int = 0) -> tuple[Tensor, Tensor]:
        """The path of one batch entry: a token and a frame for each of its steps, int64."""
        return warped(-self.map()[entry])

    def starts(self, entry: int = 0) -> Tensor:
        """The frame at which each token begins, `[tokens]`, int64: never before that of the token
        in front of it."""
        tokens, frames = self.path(entry)
        first = F.pad(tokens.diff(), (1, 0), value=1) > 0
        return frames[first]


def warped(cost: Tensor) -> tuple[Tensor, Tensor]:
    """The path of least cost from the first cell to the last, each step one row on, one column on
    or both.

    Args:
        cost: `[rows, columns]`.

    Returns:
        The row and the column of each step. Of equal paths it is the one that moves in columns as
        late as it can.

    Source: Sakoe, Chiba, "Dynamic programming algorithm optimization for spoken word recognition"
    (1978).
    """
    rows, columns = cost.shape
    moves = _moves(cost.double().cpu())
    row, column = rows - 1, columns - 1
    steps = []
    while row >= 0 and column >= 0:
        steps.append((row, column))
        move = moves[row][column]
        row -= move != _FRAME
        column -= move != _TOKEN
    found = torch.tensor(steps[::-1], device=cost.device)
    return found[:, 0], found[:, 1]


def _moves(cost: Tensor) -> list[list[int]]:
    """What moved on to reach each cell, diagonal by diagonal: its cells do not need each other."""
    rows, columns = cost.shape
    total = torch.full((rows + 1, columns + 1), torch.inf, dtype=torch.float64, device="cpu")
    total[0, 0] = 0
    flat, width = total.view(-1), columns + 1
    moves = torch.empty(rows, columns, dtype=torch.int8, device="cpu")
    for diagonal in range(rows + columns - 1):
        row = torch.arange(max(0, diagonal - columns + 1), min(rows, diagonal + 1), device="cpu")
        column = diagonal - row
        place = (row + 1) * width + column + 1
        both, token, frame = flat[place - width - 1], flat[place - width], flat[place - 1]
        by_both = (both < token) & (both < frame)
        by_token = (token < both) & (token < frame)
        move = torch.where(by_both, _BOTH, torch.where(by_token, _TOKEN, _FRAME))
        flat[place] = cost[row, column] + torch.minimum(torch.minimum(both, token), frame)
        moves[row, column] = move.to(torch.int8)
    moves[0, 1:], moves[1:, 0] = _FRAME, _TOKEN
    return moves.tolist()


def _filtered(weights: Tensor, width: int) -> Tensor:
    """The median of neighbouring frames; at the ends the frames are mirrored."""
    side = width // 2
    if side == 0 or weights.shape[-1] <= side:
        return weights
    padded = F.pad(weights.flatten(0, -2), (side, side), mode="reflect")
    return padded.unfold(-1, width, 1).sort(-1).values[..., side].view(weights.shape)


def _sizes(rows: Tensor) -> str:
    batch, heads, _, frames = rows.shape
    return f"{batch} × {heads} × {frames}"


def _pairs(heads: Any, layers: int) -> list[tuple[int, int]]:
    pairs = []
    for head in heads:
        given = (0, head) if integer(head) is not None else head
        if isinstance(given, str) or len(given) != 2 or None in map(integer, given):
            raise TypeError(
                f"monotonic_path: heads must be numbers or pairs (layer, head); got {head!r}"
            )
        layer, number = map(int, given)
        if not (0 <= layer < layers and number >= 0):
            raise ValueError(
                f"monotonic_path: heads must be of layers 0 to {layers - 1}; got {(layer, number)}"
            )
        pairs.append((layer, number))
    if not pairs:
        raise ValueError("monotonic_path: heads must name at least one; got none")
    return pairs


def _at_least(number: Any, least: int, name: str) -> int:
    found = integer(number)
    if found is None:
        raise TypeError(f"monotonic_path: {name} must be an integer; got {number!r}")
    if found < least:
        raise ValueError(f"monotonic_path: {name} must be at least {least}; got {found}")
    return found
