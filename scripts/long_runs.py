"""Long runs: thousands of calls from threads, workers, interrupts, too little memory.

    python scripts/long_runs.py                          all of them; takes several minutes
    python scripts/long_runs.py mixed --size 100000      one, ten times as long

`--size` is the number of calls (mixed), items (workers), interrupts of each kind (interrupted), or
steps between 1 MiB and 1 GiB (exhausted). Exits with 1 where something did not hold. Linux alone.
"""

from __future__ import annotations

import argparse
import sys
import traceback
import warnings

from lasting import RUNS, SIZES


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="*", choices=[[], *RUNS], metavar="RUN",
                        help=f"any of {', '.join(RUNS)}; default: all")  # fmt: skip
    parser.add_argument("--size", type=int, help=f"how long; default: {SIZES}")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    failed = 0
    for name in options.runs or RUNS:
        try:
            lines = RUNS[name](options.size or SIZES[name])
        except Exception:
            failed, lines = 1, ["FAULT", traceback.format_exc()]
        print("\n".join(f"{name}: {line}" for line in lines), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
