"""A pool of slots on this machine.

No slot idles while a job waits. A worker that dies costs its own job only.
"""

import errno
import os
import shutil
import signal
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from objectives.errors import InputError
from runner.identity import targets
from runner.launch.executor import CANCELLED, Ended, Executor, Work
from runner.launch.forks import Forks
from runner.launch.slots import Slot, slots
from runner.rundir import State

POLL = 0.2
"""Seconds between two looks at what does not announce itself."""

DEATHS = 5
"""Deaths of the server in a row, with no job that ended between them, that are too many."""

ROOM = 2**20
"""Bytes that a record needs, amply."""

NOT_BEGUN = {State.PLANNED, State.PRUNED}


@dataclass
class Attempt:
    """A job under way.

    Attributes:
        job: The job.
        slot: Where it runs.
        since: When it began.
        killed: Why it was killed; "" where it was not.
    """

    job: Work
    slot: Slot
    since: float
    killed: str = ""


@dataclass(frozen=True)
class Limits:
    """What one attempt may cost before it is killed; None for no limit.

    Attributes:
        timeout_min: Minutes in all.
        silent_min: Minutes without a step.
        memory_gb: Resident memory, in GiB.
    """

    timeout_min: float | None = None
    silent_min: float | None = None
    memory_gb: float | None = None

    def exceeded(self, attempt: Attempt, pid: int) -> str:
        """Which limit an attempt has exceeded, or ""."""
        age = time.monotonic() - attempt.since
        if self.timeout_min and age > 60 * self.timeout_min:
            return f"it took longer than timeout_min={self.timeout_min}"
        if self.silent_min and min(age, attempt.job.directory.silent_for()) > 60 * self.silent_min:
            return f"it made no step for silent_min={self.silent_min}"
        if self.memory_gb and resident(pid) > self.memory_gb * 2**30:
            return f"it used more than memory_gb={self.memory_gb}"
        return ""


class Pool(Executor):
    """Runs jobs on slots, each in a process of its own.

    Args:
        slots: Where they run.
        limits: What each may cost.

    Attributes:
        waiting: Jobs that have no slot yet.
        starting: Jobs that the server was told of, by run directory.
        attempts: Jobs under way, by the process that works on them.
    """

    def __init__(self, slots: list[Slot], limits: Limits):
        self.free, self.limits = deque(slots), limits
        self.waiting: deque[Work] = deque()
        self.starting: dict[str, Attempt] = {}
        self.attempts: dict[int, Attempt] = {}
        self.ended: list[Ended] = []
        self.deaths = 0

    def __enter__(self) -> Self:
        self.forks = Forks().__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.forks.__exit__(kind, *rest)

    def check(self, configs: list[dict[str, Any]]) -> list[tuple[str, bool]]:
        """As it says, in a process of its own; what it imports, the server has from then on."""
        self.forks.preload({targets(config) for config in configs})
        message, monitors = self.forks.check(configs, self.free[0])
        if message:
            raise InputError(message)
        return monitors

    def submit(self, jobs: Sequence[Work]) -> None:
        self.waiting.extend(jobs)
        self.forks.preload({job.targets for job in jobs})
        self.fill()

    def poll(self, patience: float) -> list[Ended]:
        end = time.monotonic() + patience
        while True:
            self.fill()
            for message in self.forks.messages(min(POLL, patience)):
                self.note(message)
            self.enforce()
            if self.ended or time.monotonic() >= end:
                ended, self.ended = self.ended, []
                return ended

    def cancel(self, jobs: Sequence[Work]) -> None:
        gone = {job.signature for job in jobs}
        self.ended += [Ended(job, CANCELLED) for job in self.waiting if job.signature in gone]
        self.waiting = deque(job for job in self.waiting if job.signature not in gone)
        for attempt in self.starting.values():
            if attempt.job.signature in gone:
                attempt.killed = CANCELLED
        for pid, attempt in self.attempts.items():
            if attempt.job.signature in gone:
                self.forks.signal(pid, signal.SIGTERM)

    @property
    def capacity(self) -> int:
        return len(self.free) + len(self.starting) + len(self.attempts)

    @property
    def running(self) -> list[Work]:
        return [attempt.job for attempt in self.attempts.values()]

    def fill(self) -> None:
        """Start jobs while there are slots; one that another process works on goes to the end."""
        for _ in range(min(len(self.waiting), len(self.free))):
            job = self.waiting.popleft()
            if job.directory.is_locked():
                self.waiting.append(job)
            elif job.is_done():
                self.ended.append(Ended(job))
            else:
                slot = self.free.popleft()
                self.starting[str(job.directory.path)] = Attempt(job, slot, time.monotonic())
                self.forks.start(job.directory.path, slot)

    def note(self, message: dict[str, Any]) -> None:
        """Take up what the server says; {} says that it died."""
        if not message:
            self.begin_again()
        elif "started" in message:
            attempt = self.starting.pop(message["run"])
            attempt.since = time.monotonic()
            self.attempts[message["started"]] = attempt
            if attempt.killed:
                self.forks.signal(message["started"], signal.SIGTERM)
        elif message.get("ended") in self.attempts:
            self.end(self.attempts.pop(message["ended"]), message["status"])

    def end(self, attempt: Attempt, status: int) -> None:
        """Free the slot, and note how the job ended."""
        self.free.append(attempt.slot)
        directory = attempt.job.directory
        if directory.state is State.DONE:
            reason, self.deaths = "", 0
        elif status < 0:
            name = signal.Signals(-status).name
            reason = attempt.killed or f"its process was killed by {name}" + hint(-status)
        elif directory.recorded in {*NOT_BEGUN, State.RUNNING}:
            reason = no_record(directory.path, status)
        else:
            reason = directory.status["reason"]
        self.ended.append(Ended(attempt.job, reason))

    def begin_again(self) -> None:
        """After the death of the server: its workers stop by themselves and are gone on with."""
        self.deaths += 1
        if self.deaths >= DEATHS:
            raise RuntimeError(f"the process that starts the jobs died {DEATHS} times in a row")
        for attempt in (*self.starting.values(), *self.attempts.values()):
            self.free.append(attempt.slot)
            self.waiting.append(attempt.job)
        self.starting.clear()
        self.attempts.clear()
        self.forks.restart()

    def enforce(self) -> None:
        """Kill what has exceeded a limit."""
        for pid, attempt in self.attempts.items():
            if not attempt.killed and (why := self.limits.exceeded(attempt, pid)):
                attempt.killed = why
                self.forks.signal(pid, signal.SIGKILL)


def no_record(folder: Path, status: int) -> str:
    """Why a worker that ended by itself has left no record."""
    full = shutil.disk_usage(folder).free < ROOM
    return os.strerror(errno.ENOSPC) if full else f"its process ended with status {status}"


def hint(number: int) -> str:
    return " (by hand, or by the kernel for want of memory)" if number == signal.SIGKILL else ""


def resident(pid: int) -> int:
    """Bytes of memory that a process has in use; 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def local_pool(
    device: str,
    jobs_per_gpu: int = 1,
    threads_per_job: int | None = None,
    gpus: list[str] | None = None,
    gpu_memory_gb: float | None = None,
    **limits: float | None,
) -> Pool:
    """The pool of this machine.

    Args:
        device: See `slots`, as for the next four.
        jobs_per_gpu: Jobs that share a GPU.
        threads_per_job: Threads of a job.
        gpus: The GPUs to use.
        gpu_memory_gb: Memory of a GPU that a job may use.
        limits: See `Limits`.
    """
    places = slots(device, jobs_per_gpu, threads_per_job, gpus, gpu_memory_gb)
    return Pool(places, Limits(**limits))
