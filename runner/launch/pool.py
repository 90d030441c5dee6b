"""A pool of slots on this machine, and the jobs that go through it.

No slot idles while a job waits. A worker that dies costs its own job only, which is tried again
from its checkpoint as often as allowed.
"""

import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from runner.job import Job
from runner.launch.forks import Forks
from runner.launch.slots import Slot
from runner.rundir import Interrupted, State
from runner.stop import StopSignal

POLL = 0.2
"""Seconds between two looks at what does not announce itself."""

ENDED_WELL = {State.DONE, State.PRUNED}


@dataclass
class Attempt:
    """A job under way."""

    job: Job
    slot: Slot
    since: float


@dataclass(frozen=True)
class Limits:
    """What a job may cost.

    Attributes:
        retries: Further attempts after one that failed.
        timeout_min: Minutes of one attempt; None for no limit.
        stop_on_failure: Whether the first job that fails for good ends the sweep.
    """

    retries: int = 1
    timeout_min: float | None = None
    stop_on_failure: bool = False


class Pool:
    """Runs jobs on slots until all have ended.

    Args:
        jobs: Planned jobs.
        slots: Where they run.
        limits: What each may cost.
        shown: Called with the pool whenever a job has started or ended, and every second.

    Attributes:
        waiting: Jobs that have not begun.
        running: Jobs under way, by the process that works on them.
        ended: Jobs that are over, with whether they ended well.
    """

    def __init__(
        self,
        jobs: list[Job],
        slots: list[Slot],
        limits: Limits,
        shown: Callable[["Pool"], None],
    ):
        self.waiting, self.free = deque(jobs), deque(slots)
        self.limits, self.shown = limits, shown
        self.starting: dict[str, Attempt] = {}
        self.running: dict[int, Attempt] = {}
        self.ended: list[tuple[Job, bool]] = []
        self.failures: dict[str, int] = {}
        self.stopping = False

    def run(self) -> None:
        """Work until nothing waits and nothing runs.

        Raises:
            Interrupted: Someone asked to stop; what was under way has left a checkpoint.
        """
        modules = sorted({module for job in self.waiting for module in job.modules})
        with StopSignal() as stop, Forks(modules) as self.forks:
            while self.waiting or self.starting or self.running:
                if stop.requested and not self.stopping:
                    self.stop()
                self.fill()
                for message in self.forks.messages(POLL):
                    self.note(message)
                self.check_times()
                self.shown(self)
        if stop.requested:
            raise Interrupted(f"stopped by {stop.requested}")

    def fill(self) -> None:
        """Start jobs while there are slots; one that another process works on goes to the end."""
        for _ in range(min(len(self.waiting), len(self.free))):
            job = self.waiting.popleft()
            if job.directory.is_locked():
                self.waiting.append(job)
            elif job.is_done():
                self.ended.append((job, True))
            else:
                slot = self.free.popleft()
                self.starting[str(job.directory.path)] = Attempt(job, slot, time.monotonic())
                self.forks.start(job.directory.path, slot)

    def note(self, message: dict[str, object]) -> None:
        """Take up what the server says; {} says that it died."""
        if not message:
            self.begin_again()
        elif "started" in message:
            pid, attempt = int(str(message["started"])), self.starting.pop(str(message["run"]))
            attempt.since = time.monotonic()
            self.running[pid] = attempt
            if self.stopping:
                self.forks.signal(pid, signal.SIGTERM)
        elif "ended" in message:
            self.end(self.running.pop(int(str(message["ended"]))))

    def end(self, attempt: Attempt) -> None:
        """Free the slot; the job is over, or waits for another attempt."""
        self.free.append(attempt.slot)
        job = attempt.job
        well = job.directory.state in ENDED_WELL
        failed = self.failures[job.signature] = self.failures.get(job.signature, 0) + (not well)
        if not well and failed <= self.limits.retries and not self.stopping:
            self.waiting.append(job)
            return
        self.ended.append((job, well))
        if not well and self.limits.stop_on_failure:
            self.stop()

    def stop(self) -> None:
        """Start nothing more, and ask what runs to stop."""
        self.stopping = True
        self.waiting.clear()
        for pid in self.running:
            self.forks.signal(pid, signal.SIGTERM)

    def begin_again(self) -> None:
        """After the death of the server: its workers stop by themselves and are gone on with."""
        for attempt in (*self.starting.values(), *self.running.values()):
            self.free.append(attempt.slot)
            self.waiting.append(attempt.job)
        self.starting.clear()
        self.running.clear()
        self.forks.restart()

    def check_times(self) -> None:
        """Kill what has run for longer than it may."""
        if self.limits.timeout_min is None:
            return
        for pid, attempt in self.running.items():
            if time.monotonic() - attempt.since > 60 * self.limits.timeout_min:
                self.forks.signal(pid, signal.SIGKILL)
