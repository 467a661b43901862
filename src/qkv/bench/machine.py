"""Where figures come from: processor, instruction sets, threads, versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import torch

import qkv
from qkv.ground.processor import processor_info

_TELLING = ("avx", "fma", "amx", "f16c", "sse4", "asimd", "bf16", "sve", "neon")
_OTHERS = ("openvino", "onnxruntime", "entmax")


def machine() -> dict[str, Any]:
    """The machine and the software, as far as the system tells."""
    described = processor_info()
    return {
        "processor": _model_name(),
        "processors": os.cpu_count(),
        "instruction sets": [
            flag
            for flag in described.get("flags", described.get("Features", "")).split()
            if any(word in flag for word in _TELLING)
        ],
        "torch uses": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "qkv": qkv.__version__,
        "torch": torch.__version__,
        "implementations": qkv.implementations(),
        "packages": {name: _version(name) for name in _OTHERS},
    }


def processor() -> str:
    """The processor with the widest instructions that torch uses on it."""
    return f"{_model_name()} ({torch.backends.cpu.get_cpu_capability()})"


def _model_name() -> str:
    return processor_info().get("model name", platform.processor() or platform.machine())


def free_memory() -> int | None:
    """Bytes that can be had without swapping; None where the system does not tell."""
    info = Path("/proc/meminfo")
    if not info.exists():
        return None
    available = [line for line in info.read_text().splitlines() if line.startswith("MemAvailable:")]
    return 1024 * int(available[0].split()[1]) if available else None


def _version(package: str) -> str | None:
    try:
        return installed_version(package)
    except PackageNotFoundError:
        return None
