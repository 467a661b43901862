"""Random and damaged input for what stands around the engine, for as long as asked.

    python scripts/fuzz.py flex --minutes 20      one target
    python scripts/fuzz.py --minutes 5            all of them, one after the other
    python scripts/fuzz.py flex --seed 7          the rounds from seed 7 on, as in another run

A target draws cases from seeds, one after the other; each must be answered rightly or refused with
a reason. A line every ten seconds tells how many were. The first fault ends a target: it is shown
with the smallest case that has it and the seed that repeats it. Exits with 1 where there was one.
The engine's own requests are fuzzed by `python -m qkv.testing.fuzz`.
"""

from __future__ import annotations

import argparse
import random
import sys
import warnings
from pathlib import Path

import torch
from fuzzing import TARGETS
from fuzzing.runner import Runner

FOLDER = Path(__file__).resolve().parent.parent / "build" / "fuzz"


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = _parser().parse_args(arguments)
    seed = random.randrange(2**31) if options.seed is None else options.seed
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    faults = [
        run(name, seed, 60 * options.minutes, options.folder) for name in options.targets or TARGETS
    ]
    return int(any(faults))


def run(name: str, seed: int, seconds: float, folder: Path) -> bool:
    """Fuzzes one target and prints what was found: whether there is a fault."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    target = TARGETS[name](place)
    say = lambda line: print(line, flush=True)  # noqa: E731
    say(f"{name}: {target.about}; seed {seed}")
    runner = Runner(target, say)
    try:
        fault = runner.run(seed, seconds)
    finally:
        target.close()
    say("\n".join([runner.summary(), *runner.reasons()]))
    if fault is not None:
        again = f"python scripts/fuzz.py {name} --seed {fault.seed}"
        say(f"FAULT, repeated by: {again}\n{fault.case}\n{fault.error}")
    return fault is not None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], metavar="TARGET",
                        help=f"any of {', '.join(TARGETS)}; default: all")  # fmt: skip
    parser.add_argument("--minutes", type=float, default=20.0, help="for each; default: 20")
    parser.add_argument("--seed", type=int, help="of the first round; default: drawn")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="default: build/fuzz")
    return parser


if __name__ == "__main__":
    sys.exit(main())
