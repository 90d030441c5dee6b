"""A sweep of 60 short jobs, its processes killed at random moments, loses and repeats nothing."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from runner.rundir import RunDir, State

from .commands import history, runner, runs_of, started, until
from .mlflow_view import View, check_run, default_store

pytestmark = pytest.mark.full

JOBS = 60
SWEEP = "task=digits objective=ldr steps=40 log_every=4 -m tau=0.1,0.2,0.5,1,2,5 seed=range(0,10)"
KILLS = 6


def test_kills_at_random_moments(tmp_path: Path) -> None:
    """The coordinator, the server and workers die by turns; the same command goes on each time."""
    chance = random.Random(7)
    finished: dict[str, list[int]] = {}
    for victim in [coordinator, server, worker, worker, server, coordinator] * (KILLS // 6):
        with started(SWEEP, tmp_path) as sweep:
            known = len(finished)
            until(lambda known=known: len(done(tmp_path)) >= known + 4, "four more jobs")
            time.sleep(chance.uniform(0, 0.3))
            if pid := victim(sweep.pid):
                os.kill(pid, signal.SIGKILL)
            if victim is not coordinator:
                until(lambda known=known: len(done(tmp_path)) >= known + 8, "jobs after the death")
                sweep.kill()
            sweep.communicate()
        until(lambda: not any(run.is_locked() for run in runs_of(tmp_path)), "the workers to stop")
        unchanged(finished, tmp_path)
        finished = {run.path.name: age(run) for run in done(tmp_path)}
    said = runner(SWEEP, tmp_path)
    assert f"{JOBS} jobs, {len(finished)} finished before" in said
    unchanged(finished, tmp_path)
    assert len(done(tmp_path)) == len(runs_of(tmp_path)) == JOBS
    for run in done(tmp_path):
        steps = [step for step, _ in history(run)]
        assert steps == sorted(steps)
        assert len(set(map(str, history(run)))) == len(steps)
    view = View(default_store(tmp_path))
    seen = {check_run(view, run).info.run_id for run in done(tmp_path)}
    assert len(seen) == JOBS
    assert len(view.runs) == JOBS + 1 + 6  # the sweep and its settings


def test_a_worker_that_always_dies_is_a_failed_job(tmp_path: Path) -> None:
    """It is tried again, marked as failed with its signal, and the others are done."""
    (tmp_path / "my_loss.py").write_text(
        "import os\nfrom torch.nn import functional as F\n\n"
        "def deadly(logits, labels, *, kind: float = 0.0):\n"
        "    if kind:\n        os.kill(os.getpid(), 11)\n"
        "    return F.cross_entropy(logits, labels, reduction='none')\n"
    )
    words = "task=digits objective._target_=my_loss.deadly +objective.kind=0,1 steps=3 -m"
    said = runner(f"{words} tracking=off", tmp_path, status=1)
    assert "its process was killed by SIGSEGV" in said
    assert "it is tried again" in said
    assert "1 job failed" in said
    (failed,) = runs_of(tmp_path, State.FAILED)
    assert failed.status["attempt"] == 2
    assert len(done(tmp_path)) == 1


def coordinator(pid: int) -> int:
    return pid


def server(pid: int) -> int:
    """The fork server of a coordinator."""
    return next(p for p in children(pid) if b"runner.launch.server" in command_of(p))


def worker(pid: int) -> int:
    """One of the workers; 0 where there is none just now."""
    return next(iter(children(server(pid))), 0)


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def done(root: Path) -> list[RunDir]:
    return runs_of(root, State.DONE)


def unchanged(finished: dict[str, list[int]], root: Path) -> None:
    for name, before in finished.items():
        assert age(RunDir(root / "runs" / name)) == before


def age(run: RunDir) -> list[int]:
    """When what a finished run consists of was written."""
    names = ("status.json", "events.jsonl", "checkpoint.pt", "log.txt")
    return [(run.path / name).stat().st_mtime_ns for name in names]
