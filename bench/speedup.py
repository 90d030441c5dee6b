"""What two slots are worth: real trainings on our pool, beside Hydra's basic launcher.

Trainings of task=digits with the model of its config, five epochs each, one thread each, with all
that belongs to a run. The basic launcher does one after the other in one process; so does one bare
process, and two bare processes side by side do half each: build and train in a loop, no launcher.
All are warm before the clock starts (imports, the fork server's too, and one training); composing
the configs is no part of it but for the basic launcher, which does it job by job. Slow ones train
fewer: a number is one training's. The speed-up of our pool is the basic launcher's time over ours,
that of bare processes is one's time over two's.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from bench.launchers import SLOTS, place, planned_in, runner_on
from bench.measure import Row, Spread, ratios
from runner.job import Job, execute
from runner.launch.launch import run_all
from runner.launch.pool import Limits, Pool
from runner.launch.slots import Slot

AT_LEAST = 0.9
ROUNDS = 3
POOL, PAIR, ALONE = 34, 34, 10
"""Trainings a round: of the pool, of two processes together, of what does one after another."""

WORDS = ["task=digits", "epochs=5"]


def rows() -> list[Row]:
    """Seconds a training, the two speed-ups and their ratio."""
    seconds: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, measure in MEASURED.items():
            seconds.setdefault(name, []).append(measure())
    ours = ratios(seconds["basic launcher"], seconds["our pool"])
    bare = ratios(seconds["one bare process"], seconds["two bare processes"])
    share = [
        (basic / pool) / (one / two)
        for basic, pool, one, two in zip(*seconds.values(), strict=True)
    ]
    return [
        *(Row(f"{name}: a training", Spread.of(values), "s") for name, values in seconds.items()),
        Row("our pool: speed-up", ours),
        Row("two bare processes: speed-up", bare),
        Row("our pool's speed-up / theirs", Spread.of(share), at_least=AT_LEAST),
    ]


def in_processes(name: str, processes: int, count: int) -> float:
    """Seconds a training of processes that start to train at the same moment."""
    command = [sys.executable, "-m", "bench.speedup", name, str(count // processes)]
    pipe = subprocess.PIPE
    begun = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(processes)
    ]
    for process in begun:
        until(process, "ready")
    start = time.perf_counter()
    for process in begun:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in begun:
        until(process, "done")
    seconds = time.perf_counter() - start
    for process in begun:
        process.communicate()
    return seconds / count


def until(process: subprocess.Popen[str], word: str) -> None:
    """Wait until a process says a word."""
    assert process.stdout is not None
    if not any(line.strip() == word for line in process.stdout):
        raise AssertionError(f"{process.args} ended before it was {word}")


MEASURED = {
    "basic launcher": lambda: in_processes("basic", 1, ALONE),
    "our pool": lambda: in_processes("pool", 1, POOL),
    "one bare process": lambda: in_processes("bare", 1, ALONE),
    "two bare processes": lambda: in_processes("bare", 2, PAIR),
}


def wait_for_go() -> None:
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()


def bare(root: Path, count: int) -> None:
    """Trainings in a loop."""
    first, *jobs = planned_in(root, *WORDS, f"seed=range(0,{count + 1})")
    execute(first)
    wait_for_go()
    for job in jobs:
        execute(job)


def pool(root: Path, count: int) -> None:
    """Trainings on our pool."""
    first, *jobs = planned_in(root, *WORDS, f"seed=range(0,{count + 1})")
    for job in (first, *jobs):
        job.plan()
    with Pool([Slot(threads=1)] * SLOTS, Limits()) as executor:
        executor.check([first.config])
        run_all(executor, [first], retries=0)
        wait_for_go()
        run_all(executor, jobs, retries=0)
    if not all(job.is_done() for job in jobs):
        raise AssertionError(jobs[0].directory.status)


def basic(root: Path, count: int) -> None:
    """Trainings on Hydra's basic launcher."""

    def task(config: DictConfig) -> dict[str, float]:
        composed = OmegaConf.merge({"hydra": HydraConfig.get()}, config)
        assert isinstance(composed, DictConfig)
        return execute(Job.of(composed))

    with runner_on("basic", task) as application:
        words = [[*WORDS, *place(root), f"seed={seed}"] for seed in range(count + 1)]
        application.launcher.launch(words[:1], 0)
        wait_for_go()
        for done in application.launcher.launch(words[1:], 1):
            _ = done.return_value  # raises what went wrong


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        {"bare": bare, "pool": pool, "basic": basic}[sys.argv[1]](Path(folder), int(sys.argv[2]))
        print("done", flush=True)  # noqa: T201
