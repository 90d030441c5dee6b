"""What MLflow costs: bringing runs into a store, and whether jobs notice.

Run directories of 200 finished runs, 100 events of three metrics each, are replayed into a new
SQLite store by a process that has MLflow imported and the store's tables made. Beside it, a sweep
of task=digits, 24 trainings on all cores, with tracking and without it, by turns: the seconds from
the start of the first job to the end of the last, and those of the whole command, which at its end
waits for the store.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.launchers import planned_in
from bench.measure import Row, Spread, ratios
from runner.job import Job
from runner.rundir import all_runs
from runner.track.follow import store_uri

RUNS, EVENTS, METRICS = 200, 100, ("train/loss", "val/accuracy", "val/nll")
LIMIT = 1.10
INGESTS, SWEEPS = 2, 3
SWEEP = ["task=digits", "epochs=10", "device=cpu", "-m", "seed=range(0,24)"]


def rows() -> list[Row]:
    """Runs and metrics a second, and what a sweep takes with tracking."""
    command = [sys.executable, "-m", "bench.ingest"]
    seconds = [float(subprocess.check_output(command, text=True)) for _ in range(INGESTS)]
    took: dict[str, list[tuple[float, float]]] = {"auto": [], "off": []}
    for number in range(SWEEPS):
        for tracking in sorted(took, reverse=bool(number % 2)):
            took[tracking].append(sweep_with(tracking))
    jobs, command_itself = (
        ratios(*([seconds[part] for seconds in took[way]] for way in took)) for part in (0, 1)
    )
    return [
        Row("replayed: runs", Spread.of([RUNS / s for s in seconds]), "/s"),
        Row("replayed: metrics", Spread.of([RUNS * VALUES / s for s in seconds]), "/s"),
        Row("jobs with tracking / without", jobs, limit=LIMIT),
        Row("command with tracking / without", command_itself),
    ]


VALUES = EVENTS * len(METRICS)


def sweep_with(tracking: str) -> tuple[float, float]:
    """Seconds of the jobs of a sweep, and of its command."""
    with tempfile.TemporaryDirectory() as root:
        words = [*SWEEP, f"root={root}", f"tracking={tracking}"]
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "runner.cli", *words], check=True, stdout=subprocess.DEVNULL
        )
        seconds = time.perf_counter() - start
        statuses = [run.status for run in all_runs(Path(root))]
    return max(s["ended"] for s in statuses) - min(s["started"] for s in statuses), seconds


def finished(job: Job) -> None:
    """Leave the directory of a run that has ended."""
    run = job.plan()
    with run.attempt() as events:
        for step in range(EVENTS):
            events.append(step, dict.fromkeys(METRICS, 1 / (step + 1)))
        run.finish(dict.fromkeys(METRICS, 1 / EVENTS))


def replaying(root: Path) -> Callable[[], None]:
    """What brings finished runs into a new store; MLflow is there."""
    from runner.track.store import Store, replay

    uri = store_uri("auto", root)
    for job in planned_in(root, "task=digits", f"seed=range(0,{RUNS})"):
        finished(job)
    Store(root, uri).client.search_experiments(max_results=1)
    return lambda: replay(root, uri)


def measured() -> float:
    """Seconds of a replay."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    with tempfile.TemporaryDirectory() as root:
        replay = replaying(Path(root))
        start = time.perf_counter()
        replay()
        return time.perf_counter() - start


if __name__ == "__main__":
    print(measured())  # noqa: T201
