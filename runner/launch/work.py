"""What a worker does, whoever started it."""

from contextlib import suppress

from objectives.errors import InputError
from runner.job import Job, execute
from runner.launch.calls import answer, composed, is_call
from runner.rundir import Done, Interrupted, RunDir, State


def work_on(run: RunDir) -> int:
    """Do a planned run, or a call, in a process of its own; returns the exit status.

    A run is what it was planned as, and refused where the code is no longer that.
    """
    try:
        if is_call(run):
            answer(run)
            return 0
        job = Job.again(run, run.path.name)
        if job.code != run.run["code"]:
            raise InputError("the code has changed since the run was planned; start it again.")
        execute(job)
    except Interrupted:
        return 1
    except Exception as error:
        if run.state is not State.FAILED:  # found before the attempt: it is noted all the same
            with suppress(type(error), Done), run.attempt():
                raise
        return 1
    return 0


def rehearse(run: RunDir) -> None:
    """Do what a worker does before it computes: one that is forked afterwards does it faster."""
    if is_call(run):
        composed(run)
    else:
        Job.again(run, run.path.name)
