"""One step of learning: what a batch changes."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from qkv.tasks.trainer.average import averaged
from qkv.tasks.trainer.muon import Muon
from qkv.tasks.trainer.processes import Processes, launched_precision
from qkv.tasks.trainer.settings import SEQUENCES, Settings
from qkv.tasks.trainer.task import Loss, Task


class Learner:
    """A model, its optimisers and, where one is asked for, the average of its weights.

    `best` is what is validated and saved: the average, or the model.
    """

    def __init__(self, task: Task[Any], settings: Settings, processes: Processes) -> None:
        self.task, self.settings, self.processes = task, settings, processes
        self.precision = settings.precision or launched_precision()
        torch.manual_seed(settings.seed)
        self.model: nn.Module = task.model()
        self.shared = self._shared()
        if processes.rank:  # all start from the same weights and drop different units
            torch.manual_seed(settings.seed + processes.rank * 1_000_003)
        self.optimizers = _optimizers(self.model, settings, half=self.precision == "bf16")
        self.average = averaged(self.model, settings.average) if settings.average else None
        self.best: nn.Module = self.model if self.average is None else self.average.module

    def gradients(self, batches: list[Any], weight: float = 1.0) -> list[Loss]:
        """Add the gradients of these batches, `weight` times their summed losses.

        Between processes gradients are averaged, once, with those of the last batch.
        """
        self.shared.train()
        self.model.zero_grad()
        losses = [
            self._gradient(batch, weight, last=number == len(batches))
            for number, batch in enumerate(batches, 1)
        ]
        if self.settings.share == SEQUENCES:
            self.processes.average_gradients(self.model)
        return losses

    def _shared(self) -> nn.Module:
        """The model on its device. Where processes share batches it is wrapped, and gradients are
        averaged as they are found: amid the exchanges of layers that share sequences they cannot
        be.

        Raises ValueError where such layers meet a setting that says otherwise.
        """
        if self.settings.share == SEQUENCES:
            return self.model.to(self.processes.device)
        if self.processes.count > 1 and _shares_sequences(self.model):
            raise ValueError(
                f"train: share must be {SEQUENCES} for a model whose layers have a group; "
                f"got {self.settings.share!r}"
            )
        return self.processes.prepare(self.model)

    def _gradient(self, batch: Any, weight: float, last: bool) -> Loss:
        half = torch.autocast(
            self.processes.device.type, torch.bfloat16, enabled=self.precision == "bf16"
        )
        with nullcontext() if last else self.processes.alone(self.shared):
            with half:
                loss = self.task.loss(self.shared, self.processes.to_device(batch))
            (weight * loss.total).backward()
        return Loss(loss.total.detach(), loss.count)

    def step(self, rate: float, count: float) -> Tensor:
        """Follow the gradient of the mean loss over the `count` items of all processes.

        Returns the norm of that gradient, before it is clipped; where it is not finite nothing is
        changed.
        """
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        for parameter in parameters:
            parameter.grad.mul_(self.processes.count / count)  # pyright: ignore[reportOptionalMemberAccess]
        norm = nn.utils.clip_grad_norm_(parameters, self.settings.clip)
        if norm.isfinite():
            for optimizer in self.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate
                optimizer.step()
            if self.average is not None:
                self.average.update_parameters(self.model)
        return norm

    def is_finite(self) -> bool:
        """Whether all weights are."""
        return all(bool(parameter.isfinite().all()) for parameter in self.model.parameters())

    def state(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        return {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "average": None if self.average is None else self.average.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        if self.average is not None:
            self.average.load_state_dict(state["average"])


def _shares_sequences(model: nn.Module) -> bool:
    """Whether layers of a model have a group: those of `qkv.nn` say so."""
    found = (getattr(module, "sharing", None) for module in model.modules())
    return any(not getattr(sharing, "alone", True) for sharing in found)


def _optimizers(model: nn.Module, settings: Settings, half: bool) -> list[torch.optim.Optimizer]:
    """AdamW for all parameters, or for those that Muon does not take; with `half` Muon's products
    are in bfloat16, as the model's are."""
    rate, decay = settings.learning_rate, settings.weight_decay
    taken = _layer_weights(model) if settings.optimizer == "muon" else []
    optimizers: list[torch.optim.Optimizer] = []
    if taken:
        dtype = torch.bfloat16 if half else None
        optimizers.append(Muon(taken, rate, weight_decay=decay, dtype=dtype))
    numbers = {id(parameter) for parameter in taken}
    rest = [p for p in model.parameters() if id(p) not in numbers]
    # Biases and gains are not drawn towards zero: they have no scale to be bounded.
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return [*optimizers, torch.optim.AdamW(groups, lr=rate, fused=True)] if groups else optimizers


def _layer_weights(model: nn.Module) -> list[Tensor]:
    """The weights of linear and convolutional layers: they map vectors to vectors, as rows of an
    embedding do not."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    layers = [module for module in model.modules() if isinstance(module, kinds)]
    return list(dict.fromkeys(one.weight for one in layers if one.weight.requires_grad))
