"""What it costs to plan a sweep: its jobs composed, signed and told apart.

A grid of task=digits over three objectives, two models and many seeds, beside as many compositions
by Hydra itself, of which 50 are measured: a number is one job's. The memory is the peak of a
process that makes a sweep of 10,000 jobs as the command line does, plans every run directory, hands
them to an executor that runs none, and reports; fsync is left out of it, which costs time and not
memory.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.launchers import place, planned_in, runner_on
from bench.measure import Row, Spread, interleaved, memory, ratios
from runner.launch.executor import Ended, Executor, Work
from runner.launch.launcher import ExecutorLauncher
from sweeps.sweep import SweepFailed, sweep

JOBS, COMPOSED, MANY = 1000, 50, 10_000
SECONDS_LIMIT, MEMORY_LIMIT_MB = 5, 500
ROUNDS = 5

AXES = ["task=digits", "objective=cross_entropy,mae,focal", "model=mlp,linear"]
BLOCKS = 6


class Nowhere(Executor):
    """Runs nothing, and says so of every job."""

    def __init__(self) -> None:
        self.jobs: list[Work] = []

    def submit(self, jobs: Sequence[Work]) -> None:
        self.jobs += jobs

    def poll(self, patience: float) -> list[Ended]:
        jobs, self.jobs = self.jobs, []
        return [Ended(job, "it was not run") for job in jobs]

    def cancel(self, jobs: Sequence[Work]) -> None: ...

    def check(self, configs: list[dict[str, Any]]) -> None: ...

    @property
    def capacity(self) -> None:
        return None

    @property
    def running(self) -> list[Work]:
        return []


class NowhereLauncher(ExecutorLauncher):
    def executor(self, device: str, folder: Path) -> Executor:
        return Nowhere()


def grid(count: int) -> list[str]:
    """The overrides of so many jobs, or of a few more."""
    return [*AXES, f"seed=range(0,{-(-count // BLOCKS)})"]


def rows() -> list[Row]:
    """Seconds to plan, the same beside Hydra's composition, and the memory of a large sweep."""
    with tempfile.TemporaryDirectory() as folder:
        ways = {"ours": lambda: ours(Path(folder)), "hydra": lambda: hydra(Path(folder))}
        seconds = interleaved(ways, ROUNDS)
    one = [1000 * value / COMPOSED for value in seconds["hydra"]]
    mine = [1000 * value / JOBS for value in seconds["ours"]]
    return [
        Row(f"{JOBS:,} jobs planned", Spread.of(seconds["ours"]), "s", SECONDS_LIMIT),
        Row("a job planned", Spread.of(mine), "ms"),
        Row("a job composed by Hydra", Spread.of(one), "ms"),
        Row("composed by Hydra / planned", ratios(one, mine)),
        *of_many(),
    ]


def ours(root: Path) -> Callable[[], object]:
    def timed() -> None:
        if len(planned_in(root, *grid(JOBS))) < JOBS:
            raise AssertionError("a job is missing")

    return timed


def hydra(root: Path) -> Callable[[], object]:
    def timed() -> None:
        with runner_on("local") as application:
            for seed in range(COMPOSED):
                words = ["task=digits", "objective=mae", f"seed={seed}", *place(root)]
                application.loader.load_sweep_config(application.config, words)

    return timed


def of_many() -> list[Row]:
    """Peak memory and seconds of a coordinator that has many jobs."""
    command = [sys.executable, "-m", "bench.planning"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    peak, seconds = float(said[-2]), float(said[-1])
    name = f"a sweep of {MANY:,} jobs"
    return [
        Row(f"{name}: peak memory", Spread.of([peak]), "MB", MEMORY_LIMIT_MB),
        Row(f"{name}: time of all but the jobs", Spread.of([seconds]), "s"),
    ]


def measure_memory(root: Path) -> tuple[float, float]:
    """Peak memory in MB and seconds of a sweep whose jobs do not run."""
    os.fsync = lambda _: None  # type: ignore[assignment]
    start = time.perf_counter()
    launcher = NowhereLauncher(retries=0, stop_on_failure=False)
    with runner_on("local") as application, suppress(SweepFailed):
        sweep([*grid(MANY), *place(root)], application.config, application.loader, launcher)
    if len(list(root.glob("runs/*/status.json"))) < MANY:
        raise AssertionError("a run is missing")
    return memory("VmHWM") / 1e6, time.perf_counter() - start


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(*measure_memory(Path(folder)))  # noqa: T201
