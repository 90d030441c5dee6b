"""What SLURM starts: a worker that goes on after every preemption and every time limit.

SIGUSR2 comes ahead of the time limit, and of a preemption where the cluster is set up so; SIGUSR1
is taken for the same. The run leaves a checkpoint and the job requeues itself. SIGTERM comes when
SLURM ends a job, to requeue it or for good: the run leaves a checkpoint, and SLURM does the rest.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from runner.launch.slurm_state import PASSING
from runner.launch.work import work_on
from runner.rundir import Interrupted, RunDir, State
from runner.stop import SIGNALS, received

REQUEUING = {"SIGUSR1", "SIGUSR2"}
"""Signals after which a job asks to be started again."""

PATIENCE = 120.0
"""Seconds for another process to leave the run, and for SLURM to take a requeue."""


def work(path: str, command: list[str]) -> None:
    """Do a planned run; the job then ends, fails or is requeued as the run did.

    Args:
        path: The run's directory.
        command: What the user typed.
    """
    handle(interrupt)  # after submitit's, which count and end requeues
    signal.signal(signal.SIGCONT, signal.SIG_DFL)
    sys.argv = command
    run, code = RunDir(Path(path)), 1
    try:
        take_threads()
        wait_for(run)
        code = work_on(run)
    except Interrupted:
        pass  # before there was anything to save
    handle(signal.SIG_IGN)
    if run.state is State.DONE:
        return
    cut_off = run.state is not State.FAILED and bool(received)
    if not (cut_off and received[0] in REQUEUING and requeue()):
        sys.exit(code)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Stop at once before training has begun; afterwards leave it to save in peace."""
    if not received:
        received.append(signal.Signals(number).name)
        raise Interrupted(f"stopped by {received[0]} before the first step")


def handle(action: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    """Have every signal that may ask for a stop do this."""
    for number in SIGNALS:
        signal.signal(number, action)


def take_threads() -> None:
    """Compute on as many threads as the job has CPUs."""
    import torch

    torch.set_num_threads(int(os.environ.get("SLURM_CPUS_PER_TASK", 1)))


def wait_for(run: RunDir) -> None:
    """Wait for the worker before this one, whose node may still be at it."""
    end = time.monotonic() + PATIENCE
    while run.is_locked() and time.monotonic() < end:
        time.sleep(1)


def requeue() -> bool:
    """Have SLURM start this job again; returns whether it will: a cluster may forbid it."""
    end = time.monotonic() + PATIENCE
    while True:
        result = subprocess.run(["scontrol", "requeue", job_id()], capture_output=True, text=True)
        sys.stderr.write(result.stderr)
        passing = result.returncode and PASSING.search(result.stderr) and time.monotonic() < end
        if not passing:
            return not result.returncode
        time.sleep(5)


def job_id() -> str:
    """The id of this job: "12", or "12_3" in an array."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ["SLURM_JOB_ID"]
