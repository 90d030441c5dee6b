"""What carries the jobs of a sweep: `submit`, `poll`, `cancel`.

An executor knows slots or queues and nothing of sweeps, retries or tables; those are in launch.py,
once for all executors.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from runner.job import Job


@dataclass(frozen=True)
class Ended:
    """A job that is over.

    Attributes:
        job: The job.
        reason: Why it did not end well; "" where it did.
    """

    job: Job
    reason: str = ""


class Executor(ABC):
    """Where jobs run; how each ended is in its run directory.

    As a context manager it holds what it needs while jobs are under way. Leaving it by an
    exception gives up at once what cannot go on alone.
    """

    @abstractmethod
    def submit(self, jobs: Sequence[Job]) -> None:
        """Take over jobs whose run directories are planned."""

    @abstractmethod
    def poll(self, patience: float) -> list[Ended]:
        """The jobs that ended since the last call; waits so many seconds for the first one."""

    @abstractmethod
    def cancel(self, jobs: Sequence[Job]) -> None:
        """Ask jobs to stop: those under way leave a checkpoint. `poll` tells when they have."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None: ...
