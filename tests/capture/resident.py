"""What a process takes."""

from __future__ import annotations

import os
from pathlib import Path


def own_bytes() -> int:
    """The memory of this process, with what it has touched of files."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
