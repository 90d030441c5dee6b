"""What it costs to launch a job, beside other ways to launch one.

Jobs that do nothing, two at a time: seconds of a launch, less those of a launch of two jobs, which
hold the warm-up, divided by the other jobs. A call is Hydra's contract, a function called with a
composed config, of an application whose config is a single number: the same on our launcher, on
Hydra's joblib launcher, whose processes stay for the next call, and on submitit's local executor,
which gets the function alone and is asked every 10 ms. A fresh process imports torch and ends. A
run is more: a run directory, its config built, one step of a linear model on ten images, metrics,
checkpoint and exit record, as every job of a sweep has them; its data, ten images, are made and not
read. There are 1,002 runs, in three launches, and fewer of the rest: a number is one job's.

The first step: seconds from the order to the fork server to the status "running" in the run's
directory, and to the end of the first step, one job after another on an idle pool.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch
from omegaconf import DictConfig

from bench.launchers import SLOTS, planned_in, smallest_on
from bench.measure import Row, Spread, ratios
from runner.launch.forks import Forks
from runner.launch.launch import run_all
from runner.launch.pool import Limits, Pool
from runner.launch.slots import Slot
from runner.rundir import RunDir, State, read_events
from tasks.vision.images import Original, Split

LIMIT_MS, FIRST_STEP_LIMIT = 30, 0.05
ROUNDS = 3
FIRST_STEPS = 20

TINY = ["task=digits", "model=linear", "steps=1"]
NO_DATA = ["files=[]", "task.data.original._target_=bench.launch.ten_images"]


def ten_images() -> Original:
    """Ten black images of one pixel, of two classes, to train and to test."""
    split = Split(torch.zeros(10, 1, 1, 1, dtype=torch.uint8), torch.arange(10) % 2)
    return Original(split, split, num_classes=2)


def nothing(config: DictConfig | None = None) -> None:
    """The job."""


def runs(count: int, folder: Path) -> float:
    """Whole runs on our pool."""
    root = Path(tempfile.mkdtemp(dir=folder))
    jobs = planned_in(root, *TINY, *NO_DATA, f"seed=range(0,{count})")
    with Pool([Slot(threads=1)] * SLOTS, Limits()) as pool:
        pool.check([jobs[0].config])
        for job in jobs:
            job.plan()
        start = time.perf_counter()
        run_all(pool, jobs, retries=0)
        seconds = time.perf_counter() - start
    if not all(job.is_done() for job in jobs):
        raise AssertionError(jobs[0].directory.status)
    return seconds


def calls(launcher: str, count: int, folder: Path) -> float:
    """Calls of a function on one of Hydra's launchers."""
    settings = {"joblib": {"n_jobs": SLOTS, "verbose": 0}}.get(launcher, {})
    with smallest_on(launcher, folder, nothing, settings) as application:
        start = time.perf_counter()
        done = application.launcher.launch([[f"number={n}"] for n in range(count)], 0)
        seconds = time.perf_counter() - start
    for job in done:
        _ = job.return_value  # raises what went wrong
    return seconds


def submitted(count: int, folder: Path) -> float:
    """Calls of a function on submitit's local executor."""
    from submitit import LocalExecutor

    executor = LocalExecutor(folder)

    def one(_: int) -> None:
        job = executor.submit(nothing)
        while not job.done():
            time.sleep(0.01)
        job.result()

    return two_at_a_time(one, count)


def processes(count: int, folder: Path) -> float:
    """Fresh processes."""
    command = [sys.executable, "-c", "import torch"]
    return two_at_a_time(lambda _: subprocess.run(command, check=True), count)


def two_at_a_time(one: Callable[[int], object], count: int) -> float:
    start = time.perf_counter()
    with ThreadPoolExecutor(SLOTS) as threads:
        list(threads.map(one, range(count)))
    return time.perf_counter() - start


WAYS: dict[str, tuple[Callable[[int, Path], float], int]] = {
    "a run, our pool": (runs, 334),
    "a call, our pool": (partial(calls, "local"), 60),
    "a call, Hydra's joblib launcher": (partial(calls, "joblib"), 60),
    "a call, submitit's local executor": (submitted, 8),
    "a fresh process with torch": (processes, 8),
}
OURS = [name for name in WAYS if "our pool" in name]


def rows() -> list[Row]:
    """Milliseconds a job of every way, ours in the others' ratio, and the time to a first step."""
    ms: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name in WAYS:
            ms[name].append(1000 * in_own_process(name))
    limits = dict.fromkeys(OURS, LIMIT_MS)
    return [
        *(Row(name, Spread.of(values), "ms", limits.get(name)) for name, values in ms.items()),
        *(
            Row(f"{other} / {ours}", ratios(ms[other], ms[ours]), at_least=1)
            for ours in OURS
            for other in WAYS
            if other not in OURS
        ),
        *first_steps(),
    ]


def in_own_process(name: str) -> float:
    command = [sys.executable, "-m", "bench.launch", name]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(said.split()[-1])


def per_job(name: str) -> float:
    """Seconds that a job costs after the warm-up."""
    launch, count = WAYS[name]
    with tempfile.TemporaryDirectory() as folder:
        launch(SLOTS, Path(folder))
        warm_up = launch(SLOTS, Path(folder))
        return (launch(count, Path(folder)) - warm_up) / (count - SLOTS)


def first_steps() -> list[Row]:
    """Seconds from the order to "running" and to the end of the first step."""
    with tempfile.TemporaryDirectory() as root, Forks() as forks:
        words = "log_every=1", f"seed=range(0,{FIRST_STEPS})"
        kinds = {
            "digits": planned_in(Path(root), "task=digits", "steps=1", *words),
            "ten images": planned_in(Path(root), *TINY, *NO_DATA, *words),
        }
        found = []
        for name, jobs in kinds.items():
            forks.preload({jobs[0].targets})
            forks.check([jobs[0].config], Slot(threads=1))
            times = [first_step(forks, job.plan()) for job in jobs]
            for what, values in zip(
                ("running", "first step"), zip(*times, strict=True), strict=True
            ):
                spread = Spread.of(list(values))
                found.append(Row(f"{name}: order to {what}", spread, "s", FIRST_STEP_LIMIT))
    return found


def first_step(forks: Forks, run: RunDir) -> tuple[float, float]:
    """Seconds to "running" and to the first event of a run."""
    ordered = time.time()
    forks.start(run.path, Slot(threads=1))
    while run.recorded is not State.DONE:
        for message in forks.messages(1):
            if message.get("status"):
                raise AssertionError(run.status)
    _, event = next(read_events(run.path / "events.jsonl"))
    return run.status["started"] - ordered, event["time"] - ordered


if __name__ == "__main__":
    print(per_job(sys.argv[1]))  # noqa: T201
