"""Jobs on this machine: the pool, and what a terminal shows of it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.live import Live
from rich.table import Table

from runner.console import console
from runner.job import Job, outcome
from runner.launch.pool import Attempt, Limits, Pool
from runner.launch.slots import slots
from runner.rundir import last_event

SHOWN = 20
"""Most running jobs in the table."""


def run_jobs(
    jobs: list[Job],
    jobs_per_gpu: int = 1,
    threads_per_job: int | None = None,
    gpus: list[str] | None = None,
    retries: int = 1,
    timeout_min: float | None = None,
    stop_on_failure: bool = False,
) -> None:
    """Run planned jobs; how each ended is in its run directory.

    Args:
        jobs: The jobs.
        jobs_per_gpu: See `slots`, as are the next two.
        threads_per_job: Threads of a job.
        gpus: The GPUs to use.
        retries: See `Limits`, as are the next two.
        timeout_min: Minutes of one attempt.
        stop_on_failure: Whether the first failure ends the sweep.

    Raises:
        Interrupted: Someone asked to stop.
    """
    if not jobs:
        return
    for job in jobs:
        job.plan()
    places = slots(jobs[0].config["device"], jobs_per_gpu, threads_per_job, gpus)
    limits = Limits(retries, timeout_min, stop_on_failure)
    with shown() as show:
        Pool(jobs, places, limits, show).run()


@contextmanager
def shown() -> Iterator["View"]:
    """A line for every job that ends; on a terminal a table of what runs below them."""
    if not console.is_terminal:
        yield View(None)
        return
    with Live(console=console, transient=True, auto_refresh=False) as live:
        yield View(live)


class View:
    """Shows a pool."""

    def __init__(self, live: Live | None):
        self.live, self.told, self.drawn = live, 0, 0.0

    def __call__(self, pool: Pool) -> None:
        """Tell what is new."""
        for job, _ in pool.ended[self.told :]:
            console.print(outcome(job))
        self.told = len(pool.ended)
        if self.live and time.monotonic() - self.drawn > 0.5:
            self.drawn = time.monotonic()
            self.live.update(table(pool), refresh=True)


def table(pool: Pool) -> Table:
    """What runs, and how many jobs wait, are done and failed."""
    failed = sum(not well for _, well in pool.ended)
    counts = f"{len(pool.waiting)} waiting, {len(pool.running)} running"
    counts += f", {len(pool.ended) - failed} done, {failed} failed"
    shown = Table("running", "step", "metrics", title=counts, title_justify="left", expand=True)
    for attempt in list(pool.running.values())[:SHOWN]:
        shown.add_row(attempt.job.name, *progress(attempt))
    return shown


def progress(attempt: Attempt) -> tuple[str, str]:
    """Step and latest metrics of a job."""
    event = last_event(attempt.job.directory.path / "events.jsonl")
    if event is None:
        return "", "starting"
    metrics = "  ".join(f"{name} {value:.4g}" for name, value in event["metrics"].items())
    return str(event["step"]), metrics
