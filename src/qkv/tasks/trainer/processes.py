"""The processes that train together, as `accelerate launch` or `torchrun` started them."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from qkv._extras import needed
from qkv.ground.errors import UnsupportedError
from qkv.tasks.trainer.settings import PRECISIONS

Result = TypeVar("Result")

# The others wait while the first one validates, which may take longer than torch's own limit.
_PATIENCE = timedelta(hours=6)
_DROPPED = 0.1  # seconds in which a thread drops a tensor
_SHARED = ("FSDP", "DEEPSPEED", "MEGATRON_LM", "PARALLELISM_CONFIG")  # accelerate's words
_PRECISIONS = {"no": "float32", "bf16": "bf16"}


class Processes:
    """One process, or several that hold a copy of the model each and share batches or sequences.

    The first process (`main`) alone validates and writes files. The group that is made for them
    serves all runs of a program and is left when it ends, however it does.
    """

    def __init__(self, cpu: bool = False) -> None:
        accelerate = needed("accelerate")
        # With "no" accelerate leaves precision alone: its state is shared by all runs of a
        # process, which may differ in it.
        with _left_at_the_end():
            self._accelerator = accelerate.Accelerator(
                cpu=cpu or not torch.accelerator.is_available(),
                mixed_precision="no",
                kwargs_handlers=[accelerate.InitProcessGroupKwargs(timeout=_PATIENCE)],
            )
        _require_copies(self._accelerator.distributed_type.value)
        self.rank: int = self._accelerator.process_index
        self.count: int = self._accelerator.num_processes
        self.device: torch.device = self._accelerator.device
        self.main = self.rank == 0
        launched = int(os.environ.get("WORLD_SIZE", 1))
        if launched != self.count:
            raise UnsupportedError(
                f"train: {launched} processes were launched, and {self.device.type} takes one; "
                "give --cpu, or launch one"
            )

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model on this process's device, wrapped so that gradients are averaged over all."""
        return self._accelerator.prepare_model(model)

    @property
    def group(self) -> Any:
        """Their process group, for layers that share sequences; None for one process."""
        return torch.distributed.group.WORLD if self.count > 1 else None

    def average_gradients(self, model: nn.Module) -> None:
        """Average the gradients of a model that is not wrapped. A parameter that no process has a
        gradient of stays without."""
        if self.count == 1:
            return
        parameters = [p for p in model.parameters() if p.requires_grad]
        rows = self.gather([float(p.grad is not None) for p in parameters])
        for parameter, found in zip(parameters, zip(*rows, strict=True), strict=True):
            if any(found):
                own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = self._accelerator.reduce(own, "mean")

    def alone(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Backward passes in this context leave gradients to this process."""
        return self._accelerator.no_sync(model)

    def to_device(self, batch: Any) -> Any:
        """A batch on this process's device: a tensor, a tuple or dict of them, or what has `to`."""
        return needed("accelerate.utils").send_to_device(batch, self.device)

    def gather(self, values: list[float]) -> list[list[float]]:
        """The values of every process, in order; all give equally many."""
        if self.count == 1:
            return [values]
        own = torch.tensor([values], dtype=torch.float64, device=self.device)
        everyone: Tensor = self._accelerator.gather(own)
        return everyone.tolist()

    def gather_objects(self, value: Any) -> list[Any]:
        """An object of every process, in order."""
        return needed("accelerate.utils").gather_object([value])

    def by_main(self, work: Callable[[], Result]) -> Result:
        """What `work` gives in the first process, in all of them; likewise what it raises."""
        outcome: list[Any] = [None, None]
        if self.main:
            try:
                outcome[0] = work()
            except Exception as error:
                if self.count == 1:
                    raise
                outcome[1] = error
        if self.count > 1:
            outcome = needed("accelerate.utils").broadcast_object_list(outcome)
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]


@contextmanager
def _left_at_the_end() -> Iterator[None]:
    """A group of processes that is made in this context is left when Python ends, before anything
    is torn down: threads of the group that live on could abort it. One that was there before is
    left to whoever made it."""
    ours = not _are_grouped()
    try:
        yield
    finally:
        if ours and _are_grouped():
            atexit.register(_leave)


def _leave() -> None:
    if _are_grouped():
        torch.distributed.destroy_process_group()
        # Torch never frees the wrapper of a model and with it keeps the threads of the group. One
        # of them may yet have to drop the tensor of the last exchange, for which it needs the
        # interpreter: if that ends first, the process is aborted.
        time.sleep(_DROPPED)


def _are_grouped() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _require_copies(kind: str) -> None:
    """Raise UnsupportedError where accelerate was told to share a model among processes. On
    processors it would make copies all the same, and not say so."""
    told = (name for name in _SHARED if os.environ.get(f"ACCELERATE_USE_{name}") == "true")
    sharing = next(told, None if kind == "NO" or kind.startswith("MULTI_") else kind)
    if sharing is not None:
        raise UnsupportedError(
            f"train: each process must hold a copy of the model (data parallel); got {sharing}"
        )


def launched_precision() -> str:
    """The precision that `accelerate launch --mixed_precision` asks for."""
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if asked not in _PRECISIONS:
        raise UnsupportedError(
            f"train: precision must be one of {', '.join(PRECISIONS)}; got {asked} from accelerate"
        )
    return _PRECISIONS[asked]
