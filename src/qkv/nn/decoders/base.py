"""What a decoder is."""

from __future__ import annotations

from typing import Any, Protocol, Self

from torch import Tensor, nn

from ...matrix.matrix import AttentionMatrix
from ..padding import check_lengths, check_sequences


class DecoderState(Protocol):
    """All that a decoder keeps between two calls. It is never changed, so one may go back to it."""

    def reorder(self, index: Tensor) -> Self:
        """The state of these entries of the batch, which may repeat or be left out: the hypotheses
        of a beam that go on. `index` is `[B']` of integers."""
        ...

    def spread(self, copies: int) -> Self:
        """The state of so many copies of each entry, side by side, which share what was prepared
        of the encoder's states. From then on `reorder` keeps copies of an entry side by side."""
        ...

    @property
    def batch(self) -> int:
        """How many sequences it is of."""
        ...

    @property
    def copies(self) -> int:
        """How many of them share an entry of the encoder's states."""
        ...


class Decoder(nn.Module):
    """Writes a sequence while it looks at the states that an encoder read.

    A call takes any number of steps: a whole target at once in training, one by one in a search.
    Both give the same, for the caller hands the state on:

        state = decoder.start(states, lengths)
        outputs, state = decoder(embedded, state)

    Neither padding of the states nor any later step is ever seen. Targets of different lengths
    are filled up at their ends; what comes out there is for the loss to ignore.
    """

    def __init__(self, inputs: int, width: int, context_width: int) -> None:
        super().__init__()
        sizes = {"inputs": inputs, "width": width, "context_width": context_width}
        for name, size in sizes.items():
            if type(size) is not int or size < 1:
                kind = type(self).__name__
                raise ValueError(f"{kind}: {name} must be an int >= 1; got {size!r}")
        self.inputs = inputs
        self.width = width
        self.context_width = context_width

    def start(self, states: Tensor, lengths: Tensor | None = None) -> Any:
        """The state before the first step.

        Args:
            states: `[B, Lk, context_width]`, of an encoder.
            lengths: `[B]`: how many of them are real; None means all.
        """
        kind = type(self).__name__
        check_sequences(kind, "states", states, self.context_width)
        if states.ndim != 3:
            got = list(states.shape)
            raise ValueError(f"{kind}: states must be [B, Lk, {self.context_width}]; got {got}")
        check_lengths(kind, lengths, states)
        return self.begin(states, lengths)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Outputs `[B, Lq, width]` after each row of `x` `[B, Lq, inputs]`, and the state after
        the last."""
        self._check(x, state)
        return self.steps(x, state)

    def matrices(self, x: Tensor, state: Any) -> list[AttentionMatrix]:
        """Where the same call would look in the encoder's states: `[B, H, Lq, Lk]` of each layer
        that attends, from below. Row i is the look taken for output i. The state must not be one
        that is spread."""
        self._check(x, state)
        if state.copies > 1:
            raise ValueError(
                f"{type(self).__name__}.matrices: the state must not be spread; "
                f"got one of {state.copies} copies"
            )
        return self.looks(x, state)

    def begin(self, states: Tensor, lengths: Tensor | None) -> Any:
        """As `start`, of what is checked."""
        raise NotImplementedError

    def steps(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """As `forward`, of what is checked."""
        raise NotImplementedError

    def looks(self, x: Tensor, state: Any) -> list[AttentionMatrix]:
        """As `matrices`, of what is checked."""
        raise NotImplementedError

    def _check(self, x: Tensor, state: DecoderState) -> None:
        kind = type(self).__name__
        check_sequences(kind, "x", x, self.inputs)
        if x.ndim != 3 or x.shape[1] == 0:
            raise ValueError(
                f"{kind}: x must be [B, Lq, {self.inputs}] with Lq >= 1; got {list(x.shape)}"
            )
        if x.shape[0] != state.batch:
            raise ValueError(
                f"{kind}: x must be for the batch of its state ({state.batch}); got {x.shape[0]}"
            )
