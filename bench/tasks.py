"""What each task reaches with the settings named, how long it takes and how much memory.

Every run is `runner` as a user calls it, a process of its own, start to end. Data come from
RUNNER_DATA; a task whose files are not there is left out, as the table says.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from bench.measure import Row, Spread

MIB = 2**20

CALL = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""
"""Calls a command from a small process: a peak is inherited from whoever forks."""


@dataclass(frozen=True)
class Case:
    """Runs of one setting.

    Attributes:
        words: What follows `runner`.
        runs: What tells the runs apart.
        metric: The final metric that is shown.
        at_least: Least mean that meets the target.
        at_most: Largest one.
        seconds: Longest run that meets the target.
    """

    words: str
    runs: tuple[str, ...] = ("seed=0",)
    metric: str = "test/accuracy"
    at_least: float | None = None
    at_most: float | None = None
    seconds: float | None = None


def seeds(count: int) -> tuple[str, ...]:
    return tuple(f"seed={number}" for number in range(count))


CASES = (
    Case("task=digits", seeds(3), seconds=60),
    Case("task=digits objective=info_nce", seconds=60, metric="test/knn_accuracy"),
    Case("task=mnist", seeds(2), at_least=0.99, seconds=120),
    Case("task=cifar epochs=5"),
    Case("task=diabetes", metric="test/rmse", seconds=60),
    Case("task=friedman", metric="test/rmse", seconds=60),
    Case("task=uci", tuple(f"split={k}" for k in range(5)), "test/rmse", at_most=6.0),
    Case("task=sentiment", seeds(3), at_least=0.74),
    Case("task=trec", seeds(2)),
    Case("task=charlm", metric="test/bpc", seconds=60),
    Case("task=pairs", metric="test/ranking_accuracy", seconds=60),
    Case("task=cartpole objective=ppo", seeds(6), "test/return", at_least=475, seconds=60),
    Case("task=gym", metric="test/return", seconds=60),
)


def rows() -> list[Row]:
    """Metric, seconds and peak memory of every case."""
    return [row for case in CASES for row in rows_of(case)]


def rows_of(case: Case) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as root:
        results = [measured(f"{case.words} {run}", root) for run in case.runs]
    if None in results:
        yield Row(f"{case.words}: its files are not here", Spread(0, 0, 0), "")
        return
    done = [result for result in results if result]
    values = Spread.of([metrics[case.metric] for metrics, _, _ in done])
    mean = values._replace(median=fmean(metrics[case.metric] for metrics, _, _ in done))
    name = f"{case.words}, {len(done)} run{'s' * (len(done) > 1)}"
    yield Row(f"{name}: mean {case.metric}", mean, "", case.at_most, case.at_least)
    yield Row(f"{name}: time", Spread.of([s for _, s, _ in done]), "s", case.seconds)
    yield Row(f"{name}: peak memory", Spread.of([m / MIB for _, _, m in done]), "MiB")


def measured(words: str, root: str) -> tuple[dict[str, float], float, int] | None:
    """Final metrics, seconds and peak bytes of one run; None where its data are missing."""
    runner = ["-m", "runner.cli", *words.split(), f"root={root}", "tracking=off"]
    command = [sys.executable, "-c", CALL, sys.executable, *runner]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        if " is not here: " in done.stderr:
            return None
        raise RuntimeError(f"{words}: {done.stderr}")
    newest = max(Path(root).glob("runs/*/status.json"), key=lambda file: file.stat().st_mtime)
    return json.loads(newest.read_text())["metrics"], seconds, int(done.stdout.split()[-1]) * 1024
