"""Models of ONNX made of saved models: what is made, checked and written."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qkv._extras import needed
from qkv.ground.errors import UnsupportedError
from qkv.ground.files import json_bytes, require_writable, write_together
from qkv.tasks.kinds import kind_of
from qkv.tasks.model_folders import CONFIG, TOKENIZER, model_folder, read_format, read_json

FORMAT = "qkv ONNX 1"
OPSET = 23  # the first that has the operator Attention
README = "README.md"
_TALKERS = ("torch.onnx._internal.exporter._registration", "onnxscript")

Axes = Mapping[int, str]  # dimensions that may have any size, by name
_SIZES = ((2, 7), (1, 1), (3, 12))  # of a batch: that a model is made with, and others


@dataclass(frozen=True)
class Graph:
    """One model of ONNX, to be made of a module whose arguments and results are tensors.

    `draw(batch, length)` gives arguments of such a size. `inputs` and `outputs` name arguments and
    results in their order, with the dimensions that may have any size.
    """

    name: str
    module: nn.Module
    draw: Callable[[int, int], tuple[Tensor, ...]]
    inputs: Mapping[str, Axes]
    outputs: Mapping[str, Axes]

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.name}.onnx"

    @torch.no_grad()
    def made(self) -> bytes:
        """The model as it is written to its file."""
        needed("onnxscript")
        dims: dict[str, Any] = {}
        shapes = tuple(
            {dim: dims.setdefault(name, torch.export.Dim(name)) for dim, name in axes.items()}
            for axes in self.inputs.values()
        )
        # Torch keeps how it once took a recurrent layer apart, for the length that it had then.
        for layer in (torch.ops.aten.gru.input, torch.ops.aten.lstm.input):
            layer._dispatch_cache.clear()
        with _quiet():
            made = torch.onnx.export(
                _Arguments(self.module).eval(),
                self.draw(*_SIZES[0]),
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=(shapes,),
                input_names=list(self.inputs),
                output_names=list(self.outputs),
                verbose=False,
            )
        assert made is not None
        model = made.model_proto
        for put, axes in zip(model.graph.input, self.inputs.values(), strict=True):
            fixed = [n for dim, n in axes.items() if put.type.tensor_type.shape.dim[dim].dim_value]
            if fixed:
                raise UnsupportedError(f"export: torch makes no {self.file} of any {fixed[0]}")
        # What torch writes of shapes inside, and of outputs, may be those of the example.
        del model.graph.value_info[:]
        for output, axes in zip(model.graph.output, self.outputs.values(), strict=True):
            for dim, name in axes.items():
                output.type.tensor_type.shape.dim[dim].dim_param = name
        return model.SerializeToString()

    @torch.no_grad()
    def difference(self, content: bytes) -> float:
        """The greatest difference between what onnxruntime and the module compute, for arguments of
        several sizes; infinity where shapes differ or one of them has NaN."""
        session, worst = Session(content), 0.0
        for size in _SIZES:
            arguments = self.draw(*size)
            expected = self.module(*arguments)
            found = session(**dict(zip(self.inputs, arguments, strict=True)))
            for name, right in zip(self.outputs, expected, strict=True):
                worst = max(worst, _difference(found[name], right))
        return worst


def _difference(found: Tensor, right: Tensor) -> float:
    if found.shape != right.shape:
        return inf
    apart = torch.where(found == right, 0.0, (found - right).abs()).nan_to_num(nan=inf, posinf=inf)
    return float(apart.max()) if apart.numel() else 0.0


class _Arguments(nn.Module):
    """A module of any number of arguments: torch names dimensions by the arguments' places."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *arguments: Tensor) -> Any:
        return self.module(*arguments)


class Session:
    """A model of ONNX that onnxruntime runs on the processor.

    Args:
        model: the model, or its file.
        threads: how many; default: torch's number.
    """

    def __init__(self, model: bytes | Path, threads: int | None = None) -> None:
        runtime = needed("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads() if threads is None else threads
        source = model if isinstance(model, bytes) else str(model)
        self.session = runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        self.inputs = [put.name for put in self.session.get_inputs()]
        self.outputs = [put.name for put in self.session.get_outputs()]

    def __call__(self, **tensors: Tensor) -> dict[str, Tensor]:
        """The outputs by name. What the model has no use for may be given."""
        feed = {name: tensors[name].numpy() for name in self.inputs}
        found = self.session.run(self.outputs, feed)
        return {n: torch.from_numpy(one) for n, one in zip(self.outputs, found, strict=True)}


@dataclass(frozen=True)
class Exported:
    """What a saved model becomes: its graphs, and a program in Python that runs them."""

    graphs: tuple[Graph, ...]
    usage: str


def write_export(path: str | Path, out: str | Path) -> dict[str, float | None]:
    """Writes a folder with models of ONNX made of a saved model.

    Args:
        path: the model's folder, or the name of one that ships.
        out: the folder to write: a new or empty one, or one that holds such an export, which is
            replaced.

    Returns:
        For each file the greatest difference from the saved model on a sample, as onnxruntime
        computes it; None where onnxruntime is missing.

    Raises:
        ValueError: an argument breaks its rule; the text names both.
        UnsupportedError: torch fixes a size that must be free, as of layers of the cell "rnn".
        ImportError: a package is missing; the text says which.
        OSError: a file cannot be written; what there was stays.
    """
    kind, folder = kind_of(path, "export"), Path(out)
    check_out(folder)
    source = model_folder(path)
    exported = kind.exported(kind.model.load(path))
    contents = {graph.file: graph.made() for graph in exported.graphs}
    differences = {
        graph.file: graph.difference(contents[graph.file]) if find_spec("onnxruntime") else None
        for graph in exported.graphs
    }
    config = read_json(source, CONFIG)
    config |= {"format": FORMAT, "exported": config["format"], "opset": OPSET}
    texts = {CONFIG: json_bytes(config), README: _readme(exported, contents).encode()}
    if (source / TOKENIZER).is_file():
        texts[TOKENIZER] = (source / TOKENIZER).read_bytes()
    before = set(folder.glob("*.onnx"))
    write_together(folder, texts | contents)  # the config appears last
    for stale in before - {folder / name for name in contents}:
        stale.unlink()
    return differences


def check_out(folder: Path) -> None:
    """Raises ValueError where a folder holds something that is no export, OSError where nothing can
    be written to it."""
    rule = "export: out must be a new or empty folder, or one that holds an export"
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{rule}; {folder} is a file")
    require_writable(folder)
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / CONFIG).is_file() or read_format(folder) != FORMAT:
        raise ValueError(f"{rule}; {folder} holds something else")


def _readme(exported: Exported, contents: Mapping[str, bytes]) -> str:
    files = "\n".join(f"* `{file}`: {_listed(content)}" for file, content in contents.items())
    return f"""\
# A model of ONNX

Made by `qkv export`, for opset {OPSET}. Dimensions with a name may have any size.

{files}

```python
{exported.usage}```
"""


def _listed(content: bytes) -> str:
    """What a model takes and gives, with all dimensions."""
    graph = needed("onnx").load_from_string(content).graph
    return " to ".join(", ".join(map(_shaped, puts)) for puts in (graph.input, graph.output))


def _shaped(put: Any) -> str:
    dims = (dim.dim_param or str(dim.dim_value) for dim in put.type.tensor_type.shape.dim)
    return f"`{put.name}` [{', '.join(dims)}]"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch and its optimizer say of themselves."""
    loggers = [logging.getLogger(name) for name in _TALKERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
