"""What a report of many runs costs.

Run directories of 5,000 finished runs, made by hand with the config of task=digits in each: 10
tasks of as many objectives at 10 values of a hyperparameter, five seeds each, 20 evaluations a run.
`runner report` is a process of its own, start to end: with its tables alone (`--csv`), and with
plots and page; without an index of the runs, which it then writes, and with one.
"""

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from bench.launchers import place, planned_in
from bench.measure import Row, Spread, interleaved
from runner.report.index import FILE
from runner.rundir import read_json

TASKS, OBJECTIVES, VALUES, SEEDS, EVALUATIONS = 10, 10, 10, 5, 20
LIMIT = 10
ROUNDS = 3


def rows() -> list[Row]:
    """Seconds of a report, with and without an index."""
    with tempfile.TemporaryDirectory() as folder:
        count = fill(Path(folder))
        forms = {"tables": ["--csv"], "tables, plots and page": []}
        ways = {
            f"{form}, {index} index": reported(Path(folder), words, index == "without")
            for form, words in forms.items()
            for index in ("without", "with")
        }
        seconds = interleaved(ways, ROUNDS)
    return [
        Row(f"{count:,} runs: {name}", Spread.of(values), "s", LIMIT)
        for name, values in seconds.items()
    ]


def reported(root: Path, words: list[str], anew: bool) -> Callable[[], Callable[[], object]]:
    command = [sys.executable, "-m", "runner.cli", "report", f"root={root}", *words]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    def prepare() -> Callable[[], object]:
        if anew:
            with contextlib.suppress(FileNotFoundError):
                (root / "runs" / FILE).unlink()
        return lambda: subprocess.run(command, check=True, capture_output=True, env=environment)

    return prepare


def fill(root: Path) -> int:
    """Make the runs; returns how many."""
    pattern = planned(root / "pattern")
    numbers = random.Random(0)
    count = 0
    for task, objective, value, seed in product(
        range(TASKS), range(OBJECTIVES), range(VALUES), range(SEEDS)
    ):
        tau = 0.05 * 1.5**value
        run = made(pattern, f"task{task}", f"objective{objective}", tau, seed)
        write(root / "runs" / f"{count:012x}", run | {"signature": f"{count:012x}"}, numbers)
        count += 1
    return count


def planned(root: Path) -> dict[str, Any]:
    """What the runner notes of a run of task=digits."""
    (job,) = planned_in(root, "task=digits", "objective=ldr", *place(root))
    return read_json(job.plan().path / "run.json")


def made(pattern: dict[str, Any], task: str, objective: str, tau: float, seed: int) -> dict:
    return pattern | {
        "seed": seed,
        "choices": pattern["choices"] | {"task": task, "objective": objective},
        "overrides": [f"task={task}", f"objective={objective}", f"tau={tau}", f"seed={seed}"],
        "meaning": pattern["meaning"] | {"tau": tau, "seed": seed},
    }


def write(folder: Path, run: dict[str, Any], numbers: random.Random) -> None:
    folder.mkdir(parents=True)
    *_, last = values = list(curve(numbers))
    status = {
        "state": "done",
        "attempt": 1,
        "started": 1.0,
        "ended": 10 + numbers.random(),
        "metrics": {
            f"{split}/{name}": last for split in ("val", "test") for name in ("accuracy", "nll")
        },
        "monitor": {"metric": "accuracy", "maximize": True},
    }
    (folder / "run.json").write_text(json.dumps(run, indent=1))
    (folder / "status.json").write_text(json.dumps(status, indent=1))
    (folder / "environment.json").write_text(json.dumps([{"git_commit": "0" * 40}]))
    events = [{"step": s, "time": 0, "metrics": {"val/accuracy": v}} for s, v in enumerate(values)]
    (folder / "events.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events))


def curve(numbers: random.Random) -> Iterator[float]:
    for step in range(1, EVALUATIONS + 1):
        yield 1 - 0.5 / step + 0.05 * numbers.random()
