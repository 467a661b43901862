"""What `qkv doctor` tells: what is installed, what works and, where something does not, why."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

from qkv._extras import EXTRA_PACKAGES, package_of

_FAILED = 1


@dataclass(frozen=True)
class Entry:
    """A finding: its value, None where it is missing, and what to say about it."""

    value: str | int | None
    note: str = ""
    essential: bool = False

    def __str__(self) -> str:
        value = "missing" if self.value is None else str(self.value)
        return f"{value}  ({self.note})" if self.note else value


Section = dict[str, Entry]


def report(as_json: bool = False) -> int:
    """Print everything that was found and return the command's exit status; needs torch alone."""
    sections = {
        "versions": _versions(),
        "packages": _packages(),
        "implementations": _implementations(),
        "machine": _machine(),
        "data": _models() | {"Chinese font": _font()},
    }
    if as_json:
        print(json.dumps(_as_dicts(sections), ensure_ascii=False, indent=2))
    else:
        print("\n\n".join(f"{title}\n{_lines(sections[title])}" for title in sections))
    entries = [entry for section in sections.values() for entry in section.values()]
    missing = any(entry.essential and entry.value is None for entry in entries)
    return _FAILED if missing else 0


def _as_dicts(sections: dict[str, Section]) -> dict[str, dict[str, dict[str, str | int | None]]]:
    return {
        title: {name: asdict(entry) for name, entry in section.items()}
        for title, section in sections.items()
    }


def _lines(section: Section) -> str:
    width = max(map(len, section))
    return "\n".join(f"  {name:{width}}  {entry}" for name, entry in section.items())


def _versions() -> Section:
    import torch

    import qkv

    return {
        "qkv": Entry(qkv.__version__),
        "torch": Entry(torch.__version__),
        "python": Entry(platform.python_version()),
        "system": Entry(platform.platform()),
    }


def _packages() -> Section:
    return {name: _package(name, purpose) for name, purpose in EXTRA_PACKAGES.items()}


def _package(name: str, purpose: str) -> Entry:
    try:
        return Entry(installed_version(name), f"for {purpose}")
    except PackageNotFoundError:
        return Entry(None, f"for {purpose}; pip install {name}")


def _implementations() -> Section:
    import qkv

    return {
        name: Entry("available") if reason is None else Entry(None, reason)
        for name, reason in qkv.implementations().items()
    }


def _machine() -> Section:
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    count = torch.accelerator.device_count()
    return {
        "processors": Entry(os.cpu_count()),
        "threads": Entry(torch.get_num_threads(), "set OMP_NUM_THREADS to change"),
        "instruction set": Entry(torch.backends.cpu.get_cpu_capability()),
        "native kernels": _kernels(),
        "accelerators": Entry(f"{count} {accelerator.type}" if accelerator else "none"),
    }


def _kernels() -> Entry:
    """Which instruction set they use, and which they could not."""
    from qkv import native

    if native.unavailable_reason() is not None:
        return Entry(None, "see implementations")
    others = [f"{name} is refused by the system" for name in native.refused()]
    return Entry(native.instruction_set(), "; ".join([*others, "set QKV_ISA to change"]))


def _models() -> Section:
    """Every model folder that ships; without the default translator qkv is not whole."""
    from qkv.tasks.translation.translator import SHIPPED

    folders = {config.parent for config in SHIPPED.parent.glob("*/config.json")} | {SHIPPED}
    return {f"model {folder.name}": _model(folder, folder == SHIPPED) for folder in sorted(folders)}


def _model(folder: Path, essential: bool) -> Entry:
    if not folder.is_dir():
        return Entry(None, f"expected in {folder}; reinstall qkv", essential)
    size = sum(file.stat().st_size for file in folder.iterdir())
    return Entry(str(folder), f"{size / 2**20:.1f} MiB", essential)


def _font() -> Entry:
    try:
        from qkv.pictures.fonts import INSTALL_HINT, chinese_font
    except ModuleNotFoundError as missing:
        package = package_of(missing.name or "")
        return Entry(None, f"finding fonts needs {package}; pip install {package}")
    family = chinese_font()
    return Entry(family, "" if family else INSTALL_HINT)
