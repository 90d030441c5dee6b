"""A user's commands on a real cluster."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.launch.slurm_state import noted
from runner.rundir import State, all_runs

pytestmark = [pytest.mark.full, pytest.mark.slurm]

PATIENCE = 180.0
SMALL = "task=digits device=cpu tracking=off model.width=16 hydra/launcher=slurm"


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(0.2)


def runner(words: str, status: int = 0, **environment: str) -> str:
    """A command to its end; returns what it said."""
    result = subprocess.run(
        [sys.executable, "-m", "runner.cli", *words.split()],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    assert result.returncode == status, result.stdout
    return result.stdout


def states(root: Path) -> list[str]:
    return sorted(run.state for run in all_runs(root))


def test_a_sweep_is_waited_for_and_reported(root):
    words = f"{SMALL} objective=ldr steps=5 -m tau=0.1,0.5 seed=0,1"
    said = runner(words)
    assert "[4/4]" in said
    assert "test/accuracy" in said
    assert states(root) == [State.DONE] * 4
    assert "4 jobs, 4 finished before" in runner(
        f"{SMALL} objective=ldr steps=5 -m tau=0.1,0.5 seed=0,1"
    )


def test_a_failure_is_tried_again_and_told(root):
    said = runner(f"{SMALL} objective=mine steps=3 -m fails=1,0", status=1)
    assert "it is tried again" in said
    assert "1 job failed" in said
    assert "ValueError: as it were" in said
    assert states(root) == [State.DONE, State.FAILED]


def test_submitted_and_collected_later(root):
    words = f"{SMALL} objective=mine steps=200 pause=0.1 hydra.launcher.wait=false -m fails=0,1"
    submitted = runner(words.replace("tracking=off ", ""))
    sweep = re.search(r"runner status (\w+)", submitted)[1]
    until(lambda: State.RUNNING in states(root), "a job to run")
    assert "running" in runner(f"status {sweep}")
    assert "2 under way elsewhere" in submitted or "2 jobs" in submitted
    until(lambda: states(root) == [State.DONE, State.FAILED], "the jobs to end")
    collected = runner(f"collect {sweep}")
    assert "1 done" in collected
    assert "ValueError: as it were" in collected
    assert "test/accuracy" in collected
    assert (root / "runs" / "mlflow.db").exists()
    failed = next(run for run in all_runs(root) if run.state is State.FAILED)
    assert "as it were" in runner(f"logs {noted(failed)['job']}")


def test_a_killed_job_is_settled_without_accounting(root):
    runner(f"{SMALL} objective=mine steps=3 fails=2 hydra.launcher.wait=false -m seed=0")
    (run,) = all_runs(root)
    until(lambda: run.recorded is State.RUNNING and not run.is_locked(), "the process to die")
    until(lambda: " in SLURM" not in runner("collect"), "SLURM to forget it")
    assert run.state is State.FAILED
    assert "job" in run.status["reason"]


def test_jobs_go_on_when_nobody_waits_any_more(root):
    words = f"{SMALL} objective=mine steps=100 pause=0.1 -m seed=0,1"
    command = [sys.executable, "-m", "runner.cli", *words.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as waiting:
        until(lambda: State.RUNNING in states(root), "a job to run")
        waiting.send_signal(signal.SIGINT)
        said = waiting.communicate(timeout=PATIENCE)[0].decode()
    assert "the jobs go on" in said
    again = runner(words)
    assert states(root) == [State.DONE] * 2
    assert {run.status["attempt"] for run in all_runs(root)} == {1}
    assert "[2/2]" in again or "2 finished before" in again


def test_cancelled_and_taken_up_again(root):
    words = f"{SMALL} objective=mine steps=60 pause=0.2 hydra.launcher.array_parallelism=1"
    said = runner(f"{words} hydra.launcher.wait=false -m seed=0,1")
    sweep = re.search(r"runner status (\w+)", said)[1]
    until(lambda: any(run.signs for run in all_runs(root)), "a step")
    assert "cancelled 2 SLURM jobs" in runner(f"cancel {sweep}")
    until(lambda: states(root) == [State.INTERRUPTED, State.PLANNED], "the jobs to stop")
    until(lambda: " in SLURM" not in runner(f"status {sweep}"), "SLURM to be rid of them")
    assert "not begun" in runner(f"status {sweep}")
    assert "nothing of" in runner(f"cancel {sweep}", status=1)
    runner(f"{words} -m seed=0,1")
    assert states(root) == [State.DONE] * 2
    assert sorted(run.status["attempt"] for run in all_runs(root)) == [1, 2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("hydra.launcher.partition=nope", "invalid partition specified: nope"),
        ("hydra.launcher.partitoin=short", "Did you mean hydra.launcher.partition?"),
        ("tau=-1 objective=ldr", "tau=-1 is outside the domain of ldr"),
    ],
)
def test_bad_input(root, words, message):
    said = runner(f"{SMALL} steps=3 {words} -m seed=0,1", status=1)
    assert message in said
    assert "Traceback" not in said


def test_where_there_is_no_slurm(root, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "git").symlink_to(shutil.which("git"))
    said = runner(f"{SMALL} steps=3 -m seed=0,1", status=1, PATH=str(programs))
    assert "there is no SLURM here: scontrol is not on the PATH" in said
    assert not list((root / "runs").glob("*/run.json"))


def test_the_code_that_was_submitted_is_noted(root):
    runner(f"{SMALL} steps=3 -m seed=0")
    (run,) = all_runs(root)
    (attempt,) = json.loads((run.path / "environment.json").read_text())
    assert len(attempt["git_commit"]) == 40
