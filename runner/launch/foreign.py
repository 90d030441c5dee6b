"""Any Hydra launcher as an executor: what waits is launched together, and waited for."""

from collections.abc import Sequence

from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher

from runner.launch.executor import CANCELLED, Ended, Executor, Work


class Foreign(Executor):
    """Jobs on a launcher that is not ours.

    Args:
        launcher: The launcher, set up.
        at_once: Jobs that are launched together.
    """

    def __init__(self, launcher: Launcher, at_once: int):
        self.launcher, self.at_once = launcher, at_once
        self.waiting: list[Work] = []
        self.dropped: list[Ended] = []
        self.number = 0

    @property
    def capacity(self) -> int:
        return self.at_once

    @property
    def running(self) -> list[Work]:
        """None: nobody is asked while they run."""
        return []

    def submit(self, jobs: Sequence[Work]) -> None:
        self.waiting += jobs

    def poll(self, patience: float) -> list[Ended]:
        """Launch what waits, and stay until it has ended."""
        batch, self.waiting = self.waiting[: self.at_once], self.waiting[self.at_once :]
        ended, self.dropped = self.dropped, []
        if not batch:
            return ended
        returned = self.launcher.launch([list(job.overrides) for job in batch], self.number)
        self.number += len(batch)
        for job, one in zip(batch, returned, strict=True):
            error = "" if one.status is JobStatus.COMPLETED else str(one._return_value)
            ended.append(Ended(job, error))
        return ended

    def cancel(self, jobs: Sequence[Work]) -> None:
        gone = {job.signature for job in jobs}
        self.dropped += [Ended(job, CANCELLED) for job in self.waiting if job.signature in gone]
        self.waiting = [job for job in self.waiting if job.signature not in gone]
