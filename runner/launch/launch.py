"""Jobs through an executor to their ends: retries, stopping, and what is shown meanwhile."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from runner.launch.executor import CANCELLED, Ended, Executor, Work
from runner.launch.view import view
from runner.rundir import Interrupted, State
from runner.stop import StopSignal

LOOK = 0.1
"""Seconds until a request to stop is noticed, at the most."""


class Feed(Protocol):
    """What decides as a launch goes on which jobs it should run."""

    def __call__(self, launch: "Launch", /) -> bool:
        """Add jobs, or cancel some; returns whether there may be more."""


def run_all(
    executor: Executor,
    jobs: Sequence[Work],
    retries: int = 1,
    stop_on_failure: bool = False,
    feed: Feed | None = None,
) -> None:
    """Run planned jobs to their ends.

    Args:
        executor: What carries them; open.
        jobs: The jobs.
        retries: Further attempts of a job that fails, from its checkpoint.
        stop_on_failure: Whether the first job that fails for good ends all.
        feed: Asked again and again for further ones, and tells of them itself.

    Raises:
        Interrupted: Someone asked to stop. What was under way has left a checkpoint, or goes on
            without us where it can.
    """
    launch = Launch(executor, jobs, retries, stop_on_failure, feed is not None)
    with StopSignal() as stop, view() as show:
        launch.begin()
        more = feed is not None and feed(launch)
        while launch.under_way or more:
            if stop.requested and executor.lasting:
                raise Interrupted(f"{stop.requested}: the jobs go on, runner cancel stops them")
            if stop.requested:
                launch.stop()
            launch.look()
            more = feed is not None and feed(launch) and not launch.stopping
            show(launch)
    if stop.requested:
        raise Interrupted(f"stopped by {stop.requested}")


class Launch:
    """The jobs of a launch and where they are.

    Attributes:
        under_way: Jobs that wait or run, by signature.
        ended: Jobs that are over for good, in the order in which they ended.
        failed: How many of them failed; one that was asked to stop did not.
        retried: Failed attempts that were followed by another, in their order.
        is_fed: Whether jobs are added to it as it goes on.
    """

    def __init__(
        self,
        executor: Executor,
        jobs: Sequence[Work],
        retries: int,
        stop_on_failure: bool,
        is_fed: bool = False,
    ):
        self.executor, self.retries, self.stop_on_failure = executor, retries, stop_on_failure
        self.is_fed = is_fed
        self.under_way = {job.signature: job for job in jobs}
        self.ended: list[Ended] = []
        self.retried: list[Ended] = []
        self.failures: Counter[str] = Counter()
        self.failed = 0
        self.stopping = False

    def begin(self) -> None:
        """Hand the jobs over."""
        self.executor.submit(list(self.under_way.values()))

    def add(self, jobs: Sequence[Work]) -> None:
        """Take up further jobs."""
        self.under_way |= {job.signature: job for job in jobs}
        self.executor.submit(jobs)

    def cancel(self, jobs: Sequence[Work]) -> None:
        """Ask jobs to stop; that they did is no failure."""
        self.executor.cancel(jobs)

    def look(self) -> None:
        """Take up what has ended."""
        for ended in self.executor.poll(LOOK):
            self.note(ended)

    def note(self, ended: Ended) -> None:
        """A job is over, or is tried again."""
        job = ended.job
        if ended.reason and self.may_retry(ended):
            self.failures[job.signature] += 1
            self.retried.append(ended)
            self.executor.submit([job])
            return
        del self.under_way[job.signature]
        self.ended.append(ended)
        if ended.reason and not self.was_asked(ended):
            with suppress(OSError):  # on a full disk the others go on, and free some
                job.directory.give_up(ended.reason)
            self.failed += 1
            if self.stop_on_failure:
                self.stop()

    def may_retry(self, ended: Ended) -> bool:
        """Whether a job has another attempt."""
        return not self.was_asked(ended) and self.failures[ended.job.signature] < self.retries

    def was_asked(self, ended: Ended) -> bool:
        """Whether a job was asked to stop, by us or by someone else."""
        recorded = ended.job.directory.recorded
        return self.stopping or ended.reason == CANCELLED or recorded is State.INTERRUPTED

    def stop(self) -> None:
        """Start nothing more, and ask what runs to stop."""
        if not self.stopping:
            self.stopping = True
            self.executor.cancel(list(self.under_way.values()))
