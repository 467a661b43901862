"""A kind of model for the command: how it is trained, saved, loaded and measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from qkv.tasks.trainer.settings import Settings


@dataclass(frozen=True)
class Kind:
    """A kind of model: everything about it except its use.

    What needs torch is named as `module:name` and imported at its first use, so that the command
    lists all kinds without waiting for torch.
    """

    name: str
    """What a model of it is, such as "a translator"."""

    format: str
    """What the `config.json` of one says."""

    command: str
    """`qkv train` so called trains it; its help is `about`, and that of its argument `lines`."""

    about: str
    lines: str
    title: str
    """What the help calls the `options`."""

    data: type
    """A dataclass of the data, the field `train` first; like `options` and `sizes` its fields are
    the command's options (see `qkv.models.options`), with `defaults` of this kind's own."""

    options: type
    sizes: type
    defaults: Mapping[str, Any]

    model_at: str
    training_at: str
    evaluation_at: str
    export_at: str

    @property
    def groups(self) -> dict[str, type]:
        """All settings of its training, by the titles of the help."""
        own = {self.title: self.options, "Model": self.sizes}
        return {"Data": self.data, "Training": Settings, **own}

    @property
    def model(self) -> Any:
        """The class of the saved models: `load` takes a folder, or None for the one that ships."""
        return resolve_name(self.model_at)

    @property
    def train(self) -> Callable[..., dict[str, float]]:
        """Trains one: called with data, folder, settings, options and sizes."""
        return resolve_name(self.training_at)

    @property
    def exported(self) -> Callable[[Any], Any]:
        """The `qkv.tasks.onnx_models.Exported` of one."""
        return resolve_name(self.export_at)

    @property
    def evaluate(self) -> Callable[..., Any]:
        """Measures one: called with a folder or None, and a file of data."""
        return resolve_name(self.evaluation_at)
