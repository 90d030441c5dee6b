"""A run that was cut off at any moment ends as if it had not been."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from runner.rundir import RunDir, State

from .commands import half_written, has_come_to, history, only_run, runner, runs_of, started, until

pytestmark = pytest.mark.full

STEP_BY_STEP = "log_every=1 checkpoint_every=0 tracking=off"
"""A checkpoint a step: most of the time goes into writing them, so kills hit the writing too."""

ONE_SLOT = f"hydra.launcher.threads_per_job={len(os.sched_getaffinity(0))}"
SWEEP = f"task=digits objective=ldr steps=60 {STEP_BY_STEP} -m tau=0.1,0.5 seed=0,1 {ONE_SLOT}"

ALMOST_ALL = -1
"""All events but the last one: the run is at its last evaluation."""


@pytest.mark.parametrize(
    ("words", "threads", "last_kill"),
    [
        ("task=digits objective=ldr schedule=cosine steps=60", "2", 0.9),
        ("task=digits objective=aldr algorithm=sam steps=60", "1", 0.9),
        ("task=digits objective=info_nce steps=40", "1", ALMOST_ALL),
        ("task=cartpole objective=ppo steps=64", "1", ALMOST_ALL),
        ("task=pairs objective=dpo steps=24", "1", 0.9),
    ],
)
def test_killed_run_equals_an_uninterrupted_one(
    words: str, threads: str, last_kill: float, tmp_path: Path
) -> None:
    whole = uninterrupted(words, tmp_path, OMP_NUM_THREADS=threads)
    expected = history(whole)
    root, moments = tmp_path / "killed", random.Random(words)
    root.mkdir()
    for attempt, share in enumerate((moments.uniform(0.1, 0.9), last_kill), start=1):
        events = len(expected) - 1 if share == ALMOST_ALL else round(share * len(expected))
        delay = 0.0 if share == ALMOST_ALL else moments.uniform(0, 0.02)
        kill_at(words, root, (attempt, events), delay, OMP_NUM_THREADS=threads)
        assert only_run(root, words).status["state"] == State.INTERRUPTED
        assert not only_run(root, words).is_locked()
    said = runner(f"{words} {STEP_BY_STEP}", root, OMP_NUM_THREADS=threads)
    run = only_run(root, words)
    assert "going on from step" in said
    assert run.path.name == whole.path.name
    assert run.status["attempt"] == 3
    assert history(run) == expected
    assert run.status["metrics"] == whole.status["metrics"]
    assert not half_written(run)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_leaves_a_checkpoint(number: signal.Signals, tmp_path: Path) -> None:
    words = "task=digits objective=ldr steps=3000 evaluate_every=10 log_every=1 tracking=off"
    with started(words, tmp_path) as process:
        until(lambda: has_come_to(tmp_path, words, 1, 50), "50 steps")
        process.send_signal(number)
        said, _ = process.communicate(timeout=30)
    run = only_run(tmp_path)
    assert process.returncode != 0
    assert "Traceback" not in said
    assert run.status["state"] == State.INTERRUPTED
    assert number.name in run.status["reason"]
    assert (run.path / "checkpoint.pt").exists()
    step = history(run)[-1][0]
    assert f"going on from step {step}" in runner(words, tmp_path)
    assert run.state is State.DONE
    assert [s for s, metrics in history(run) if "train/loss" in metrics] == list(range(1, 3001))


def test_killed_sweep_does_not_repeat_finished_runs(tmp_path: Path) -> None:
    with started(SWEEP, tmp_path) as sweep:
        until(lambda: done(tmp_path) == 2 and runs_of(tmp_path, State.RUNNING), "two runs")
        sweep.kill()
    until(lambda: not any(run.is_locked() for run in runs_of(tmp_path)), "the worker to stop")
    before = {run.path: age(run) for run in runs_of(tmp_path, State.DONE)}
    assert len(before) == 2
    assert len(runs_of(tmp_path, State.INTERRUPTED)) == 1
    said = runner(SWEEP, tmp_path)
    assert "4 jobs, 2 finished before" in said
    assert done(tmp_path) == 4
    assert {path: age(RunDir(path)) for path in before} == before
    attempts = sorted(run.status["attempt"] for run in runs_of(tmp_path))
    assert attempts == [1, 1, 1, 2]
    assert len(list((tmp_path / "sweeps").iterdir())) == 1


def test_interrupted_sweep_starts_no_further_run(tmp_path: Path) -> None:
    with started(SWEEP.replace("steps=60", "steps=400"), tmp_path) as sweep:
        until(lambda: done(tmp_path) == 1 and runs_of(tmp_path, State.RUNNING), "one run")
        sweep.send_signal(signal.SIGINT)
        said, _ = sweep.communicate(timeout=30)
    assert sweep.returncode != 0
    assert "Traceback" not in said
    states = sorted(run.state for run in runs_of(tmp_path))
    assert states == ["done", "interrupted", "planned", "planned"]


def uninterrupted(words: str, folder: Path, **extra: str) -> RunDir:
    """The run as it is when nobody disturbs it."""
    root = folder / "whole"
    root.mkdir()
    runner(f"{words} {STEP_BY_STEP}", root, **extra)
    return only_run(root, words)


def kill_at(words: str, root: Path, moment: tuple[int, int], delay: float, **extra: str) -> None:
    """Start the run, or go on with it, and kill it a little after an attempt's so many events."""
    with started(f"{words} {STEP_BY_STEP}", root, **extra) as process:
        reached = f"attempt {moment[0]} to log {moment[1]} times"
        until(lambda: has_come_to(root, words, *moment), reached)
        time.sleep(delay)
        process.kill()
    assert process.returncode == -signal.SIGKILL


def done(root: Path) -> int:
    return len(runs_of(root, State.DONE))


def age(run: RunDir) -> list[int]:
    """When what a finished run consists of was written."""
    names = ("status.json", "events.jsonl", "checkpoint.pt", "log.txt")
    return [(run.path / name).stat().st_mtime_ns for name in names]
