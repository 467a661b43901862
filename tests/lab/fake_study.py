"""A study of made figures, and a session with it that is killed in the middle."""

import os
import signal
import sys
import time
from pathlib import Path

from qkv.lab.grid import learning_runs
from qkv.lab.intervals import difference, shares
from qkv.lab.study import Line, Outcome, Plot, Run, Study, Table
from qkv.lab.verdicts import Finding, above_zero
from qkv.tasks.trainer.errors import TrainingError

RIGHT = {"good": 90, "poor": 60}  # of a hundred items
BUDGETS = {"short": {"steps": 10}, "long": {"steps": 20}}


def runs(quick):
    models = [Run(model, "", 0, 1.0, parameters=1000, sizes={"width": 4}) for model in RIGHT]
    seconds = {"short": 1.0, "long": 2.0}
    seeds = 1 if quick else 3
    return learning_runs(
        models, BUDGETS, seconds, tuned="long", rates=(0.1, 0.01, 5.0), seeds=seeds
    )


def measure(run, bench):
    assert not list(bench.folder.iterdir())
    if bench.rate == 5.0:
        raise TrainingError("the loss is nan")
    right = RIGHT[run.model] + run.seed - (10 if bench.rate == 0.1 else 0)
    marks = "".join("1" if place < right else "0" for place in range(100))
    return {"validation": right, "right": marks, "parameters": 1000}


def outcome(results):
    good, poor = (
        shares([record["right"] for record in results.of(model, "short")]) for model in RIGHT
    )
    gap = difference(good, poor)
    finding = Finding("Good is <better> than poor.", f"By {gap} points.", above_zero(gap), [gap])
    line = Line("good", [1, 2], [3.0, 4.0], [2.0, 3.0], [4.0, 5.0])
    plot = Plot("Quality", "words", "per cent", [line], log_x=True)
    return Outcome([finding], [plot], [Table("Figures", ["a|b"], [["4|2"]])], "Take <it>.")


FAKE = Study(
    "fake", "A fake", "Good is better.", "Nobody (2000), table 0", "By the interval.", "Made up.",
    runs, measure, outcome,
)  # fmt: skip
NEEDY = Study(
    "needy", "Needs data", "None.", "Nobody", "None.", "None.", runs, measure, outcome,
    data=("text/absent.tsv",),
)  # fmt: skip


if __name__ == "__main__":
    from dataclasses import replace

    from qkv.lab.report import write_report
    from qkv.lab.session import conduct

    folder, killed_at = Path(sys.argv[1]), int(sys.argv[2])
    report = folder
    if sys.argv[3:]:  # one of two, which begin at once
        report = folder / sys.argv[3]
        report.mkdir()
        while len(list(folder.glob("[ab]"))) < 2:
            time.sleep(0.01)
    done = []

    def dying(run, bench):
        done.append(run)
        if len(done) == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05)  # long enough for another session to find runs to make
        return measure(run, bench)

    study = replace(FAKE, measure=dying)
    conducted = conduct([study], folder, {}, quick=False, say=print)
    write_report(report, conducted, command="qkv compare", quick=False)
