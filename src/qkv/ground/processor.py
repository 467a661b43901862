"""What Linux says of the processor."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path


def processor_info() -> dict[str, str]:
    """What stands in `/proc/cpuinfo` of the first processor, by name; empty elsewhere."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return {}
    with info.open() as lines:  # they go on for pages, the same for every core
        pairs = [line.partition(":") for line in takewhile(str.strip, lines)]
    return {name.strip(): value.strip() for name, _, value in pairs}
