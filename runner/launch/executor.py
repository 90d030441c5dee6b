"""What carries the jobs of a sweep: `submit`, `poll`, `cancel`.

An executor knows slots or queues and nothing of sweeps, retries or tables; those are in launch.py,
once for all executors.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from runner.rundir import RunDir

CANCELLED = "cancelled"
"""Reason of a job that was stopped before it had left a record."""


class Work(Protocol):
    """What an executor has to know of a job.

    Attributes:
        targets: The dotted names that it instantiates.
        overrides: What Hydra composes it of.
    """

    @property
    def signature(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def targets(self) -> tuple[str, ...]: ...

    @property
    def overrides(self) -> tuple[str, ...]: ...

    @property
    def directory(self) -> RunDir: ...

    def is_done(self) -> bool: ...


@dataclass(frozen=True)
class Ended:
    """A job that is over, for now.

    Attributes:
        job: The job.
        reason: Why it did not end well; "" where it did.
    """

    job: Work
    reason: str = ""


class Executor(ABC):
    """Where jobs run; how each ended is in its run directory.

    As a context manager it holds what it needs while jobs are under way. Leaving it by an
    exception gives up at once what cannot go on alone.

    Attributes:
        lasting: Whether jobs go on when the coordinator is gone.
    """

    lasting = False

    @abstractmethod
    def submit(self, jobs: Sequence[Work]) -> None:
        """Take over jobs whose run directories are planned."""

    @abstractmethod
    def poll(self, patience: float) -> list[Ended]:
        """The jobs that ended since the last call; waits so many seconds for the first one."""

    @abstractmethod
    def cancel(self, jobs: Sequence[Work]) -> None:
        """Ask jobs to stop: those under way leave a checkpoint. `poll` tells when they have."""

    @property
    @abstractmethod
    def capacity(self) -> int | None:
        """How many jobs run at once at the most; None where that is not known."""

    @property
    @abstractmethod
    def running(self) -> list[Work]:
        """The jobs under way."""

    def check(self, configs: list[dict[str, Any]]) -> list[tuple[str, bool]]:
        """Find bad input of jobs before the first one starts.

        Returns:
            The metric by which each is judged, and whether it should be large; nothing where the
            check itself died, which is the jobs' to explain.

        Raises:
            InputError: A job cannot run.
        """
        from runner.build import check_all

        return [(monitor.metric, monitor.maximize) for monitor in check_all(configs)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None: ...
