"""What a sweep would do: its jobs, which are finished already, and how long the rest may take."""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.console import console
from runner.job import Job
from runner.launch.view import duration
from runner.rundir import State, all_runs

WORK = ("epochs", "steps", "batch_size", "subset", "size")
"""Settings that say how much a run computes, where a task has them."""

Kind = tuple[Any, ...]


def print_forecast(jobs: Sequence[Job], capacity: int | None) -> None:
    """A line for each job, and the sum; nothing is written or run.

    Args:
        jobs: The jobs.
        capacity: How many run at once; None where that is not known.
    """
    known = durations(jobs[0].runs.parent)
    left: list[float | None] = []
    for job in jobs:
        state = job.directory.state if job.directory.exists() else State.PLANNED
        seconds = expected(job, known)
        if state is not State.DONE:
            left.append(seconds)
        shown = (
            "" if state is State.DONE else f"  about {duration(max(seconds, 1))}" if seconds else ""
        )
        words = {State.PLANNED: "to be run", State.DONE: "finished before"}
        console.print(f"{words.get(state, state)}{shown}  {job.name}")
    console.print(summary(left, capacity))


def summary(left: Sequence[float | None], capacity: int | None) -> str:
    """The jobs to be run and their time in all, where runs of their kind are known."""
    known = [seconds for seconds in left if seconds is not None]
    jobs = f"{len(left)} job{'s' * (len(left) != 1)} to be run"
    if not known:
        return jobs + ("; no run of their kind tells how long they take" if left else "")
    unknown = len(left) - len(known)
    at_once = min(capacity or 1, len(left))
    total = statistics.fmean(known) * len(left) / at_once
    guessed = f", {unknown} of them of no known kind" if unknown else ""
    return f"{jobs}{guessed}: about {duration(max(total, 1))}, {at_once} at a time"


def durations(root: Path) -> dict[Kind, list[float]]:
    """Seconds of the finished runs under a root, by kind; with and without the objective."""
    found: dict[Kind, list[float]] = defaultdict(list)
    for directory in all_runs(root):
        run, status = directory.run, directory.status
        if status["state"] == State.DONE and status.get("attempt") == 1:
            for kind in kinds(run["choices"], run["meaning"]):
                found[kind].append(status["ended"] - status["started"])
    return found


def expected(job: Job, known: Mapping[Kind, Sequence[float]]) -> float | None:
    """Median seconds of the runs that are most like a job; None where there are none."""
    kind = next((kind for kind in kinds(job.choices, job.config) if kind in known), None)
    return None if kind is None else statistics.median(known[kind])


def kinds(choices: Mapping[str, str], config: Mapping[str, Any]) -> list[Kind]:
    """What a run's time depends on, the closer kind first."""
    work = tuple(config.get(name) for name in WORK)
    like = (choices["task"], choices["model"], choices["algorithm"], *work)
    return [(choices["objective"], *like), like]
