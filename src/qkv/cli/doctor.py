"""`qkv doctor`: what is installed, what works and, where something does not, why."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import typer

from qkv.cli.packages import OPTIONAL_PACKAGES
from qkv.tasks.optional import INSTALL

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


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show versions, implementations, machine, model and fonts; exit with 1 if qkv cannot work."""
    report = {
        "versions": _versions(),
        "packages": _packages(),
        "implementations": _implementations(),
        "machine": _machine(),
        "data": _models() | {"Chinese font": _font()},
    }
    if as_json:
        typer.echo(json.dumps(_plain(report), ensure_ascii=False, indent=2))
    else:
        typer.echo("\n\n".join(f"{title}\n{_lines(report[title])}" for title in report))
    entries = [entry for section in report.values() for entry in section.values()]
    if any(entry.essential and entry.value is None for entry in entries):
        raise typer.Exit(_FAILED)


def _plain(report: dict[str, Section]) -> dict[str, dict[str, dict[str, str | int | None]]]:
    return {
        title: {name: asdict(entry) for name, entry in section.items()}
        for title, section in report.items()
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
    return {name: _package(name, purpose) for name, purpose in OPTIONAL_PACKAGES.items()}


def _package(name: str, purpose: str) -> Entry:
    try:
        return Entry(installed_version(name), f"for {purpose}")
    except PackageNotFoundError:
        return Entry(None, f"for {purpose}; {INSTALL}")


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
        "accelerators": Entry(f"{count} {accelerator.type}" if accelerator else "none"),
    }


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
        return Entry(None, f"finding fonts needs {missing.name}; {INSTALL}")
    family = chinese_font()
    return Entry(family, "" if family else INSTALL_HINT)
