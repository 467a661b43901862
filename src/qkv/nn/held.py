"""Stages inside a module: their parameters become parameters of the module.

A stage is a frozen object that holds tensors; a module owns parameters. `Held` connects them: it
takes a stage apart and makes it anew at each call. So the parameters are saved, moved, cast and
optimised with the module that uses the stage.
"""

from __future__ import annotations

from dataclasses import fields
from functools import reduce
from operator import and_
from typing import Any

from torch import Tensor, nn

from ..biases.tensor import TensorBias
from ..masks.base import Mask
from ..masks.custom import CustomMask
from ..stage.base import Stage


class Held(nn.Module):
    """Anything that `qkv.attention` takes as a stage, as a module whose call returns the stage.

    Every `nn.Parameter` in the stage becomes a parameter of this module, with the name of its
    field; every other tensor becomes a buffer. A callable that is a module becomes a submodule. A
    function is kept as it is: a parameter that it captures gets its gradient, but is no parameter
    of this module.
    """

    def __init__(self, stage: Any) -> None:
        super().__init__()
        self._kind: type[Stage] | None = None
        self._settings: dict[str, Any] = {}
        self._owned: list[str] = []
        if isinstance(stage, Tensor):
            stage = TensorBias(stage)
        if not isinstance(stage, Stage):
            self.function = stage
            return
        self._kind = type(stage)
        for field in fields(stage):  # pyright: ignore[reportArgumentType] - all are dataclasses
            self._take(field.name, getattr(stage, field.name))

    def _take(self, name: str, value: Any) -> None:
        if isinstance(value, Stage):
            value = Held(value)
        if not isinstance(value, (Tensor, nn.Module)):
            self._settings[name] = value
            return
        self._owned.append(name)
        if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
            self.register_buffer(name, value)
        else:
            setattr(self, name, value)

    def forward(self) -> Any:
        """The stage, made of the tensors as they are now."""
        if self._kind is None:
            return self.function
        owned = {name: getattr(self, name) for name in self._owned}
        made = {name: part() if isinstance(part, Held) else part for name, part in owned.items()}
        return self._kind(**self._settings, **made)

    @property
    def says_the_same_anywhere(self) -> bool:
        """Whether it is known to, as of `Stage`."""
        known = self._kind is not None and self._kind.says_the_same_anywhere
        return known and not [*self.parameters(), *self.buffers()]

    def extra_repr(self) -> str:
        kind = "" if self._kind is None else self._kind.__name__
        return ", ".join([kind, *(f"{name}={value!r}" for name, value in self._settings.items())])


def held(stage: Any) -> Held | None:
    """The stage as a module; None stays None."""
    return None if stage is None else Held(stage)


def stage_of(module: Held | None) -> Any:
    """The stage that a module holds; None where there is none."""
    return None if module is None else module()


def all_of(*masks: Any) -> Any:
    """One mask that shows what all of these show. A callable is a mask too; None shows all."""
    masks = tuple(mask for mask in masks if mask is not None)
    if len(masks) < 2:
        return masks[0] if masks else None
    return reduce(and_, map(_mask, masks))


def _mask(asked: Any) -> Any:
    """A function as a mask; anything else as it is, for `&` says what it takes."""
    if isinstance(asked, (Mask, type)) or not callable(asked):
        return asked
    return CustomMask(asked)
