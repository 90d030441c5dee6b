"""Jobs in SLURM's queue.

How far they have come is in run directories, where they are in the queue SLURM says; nothing else
is needed to wait for them, so any later process can go on with it.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from runner.launch.executor import CANCELLED, Ended, Executor, Work
from runner.launch.slurm_queue import Arrays
from runner.launch.slurm_state import (
    Unreachable,
    cancel,
    ended,
    has_failed,
    max_array_size,
    note,
    noted,
    queue,
    why,
)
from runner.launch.snapshot import Snapshot, snapshot
from runner.rundir import State, read_json

LOOK = 1.0
"""Seconds between two looks at run directories."""

ASK = 5.0
"""Seconds between two questions to SLURM."""

SETTLE = 60.0
"""Seconds until a network file system shows what a job wrote before it left the queue."""


class Slurm(Executor):
    """Jobs as SLURM's job arrays.

    Args:
        folder: Where submitit's files and the jobs' outputs go; all nodes must see it.
        code: Where copies of the code go, which the jobs run; all nodes must see it.
        partition: Where they queue; None for the cluster's default, here and below.
        account: Whom they are charged to.
        qos: Quality of service.
        time_min: Minutes after which a job is cut off, and requeued from its checkpoint.
        memory_gb: Memory of a job, in GiB.
        cpus: CPUs of a job, and its threads.
        gpus: GPUs of a job.
        constraint: Features that its node must have.
        array_parallelism: The most jobs that run at once; None for no limit.
        extra: Further options of sbatch, by their long names.
        setup: Shell commands before a job starts.
        signal_delay_s: Seconds before the time limit at which a job leaves a checkpoint.
    """

    lasting = True

    def __init__(
        self,
        *,
        folder: Path,
        code: Path,
        partition: str | None = None,
        account: str | None = None,
        qos: str | None = None,
        time_min: int | None = None,
        memory_gb: float | None = None,
        cpus: int = 1,
        gpus: int = 0,
        constraint: str | None = None,
        array_parallelism: int | None = None,
        extra: dict[str, Any] | None = None,
        setup: Sequence[str] = (),
        signal_delay_s: int = 90,
    ):
        options = {
            "job_name": "runner",
            "wckey": None,
            "partition": partition,
            "account": account,
            "qos": qos,
            "time": time_min,
            "mem": None if memory_gb is None else f"{round(1024 * memory_gb)}M",
            "cpus_per_task": cpus,
            "gpus_per_node": gpus or None,
            "constraint": constraint,
            "signal_delay_s": signal_delay_s,
            "stderr_to_stdout": True,
            # srun does not take this over from sbatch since SLURM 22.05
            "srun_args": [f"--cpus-per-task={cpus}"],
        }
        self.folder, self.code, self.setup = folder.absolute(), code.absolute(), setup
        self.arrays = Arrays(
            self.folder, array_parallelism, options, {"requeue": True, **(extra or {})}
        )
        self.snapshot: Snapshot | None = None
        self.unsent: list[Work] = []
        self.under_way: dict[str, Work] = {}
        self.states: dict[str, str] = {}
        self.gone: dict[str, tuple[float, str]] = {}
        self.to_cancel: set[str] = set()
        self.dropped: list[Ended] = []
        self.reached = False
        self.asked = self.looked = float("-inf")

    @property
    def capacity(self) -> int | None:
        return self.arrays.parallelism

    @property
    def running(self) -> list[Work]:
        """The jobs that were running when SLURM was last asked."""
        return [job for key, job in self.under_way.items() if self.states.get(key) == "RUNNING"]

    def __enter__(self) -> Self:
        max_array_size()
        return self

    def submit(self, jobs: Sequence[Work]) -> None:
        """Hand jobs to SLURM; those that it has already are waited for.

        Raises:
            InputError: SLURM is not here, refuses them, or has never answered yet.
        """
        self.unsent += jobs
        try:
            self._send()
            self.reached = True
        except Unreachable:
            if not self.reached:
                raise
        self.asked = float("-inf")

    def poll(self, patience: float) -> list[Ended]:
        """The jobs that ended since the last call; waits so many seconds for the first one."""
        end = time.monotonic() + patience
        while True:
            if time.monotonic() - self.asked >= ASK:
                with suppress(Unreachable):  # what was known stays known
                    self._ask()
            found = self._look()
            left = end - time.monotonic()
            if found or left <= 0:
                return found
            time.sleep(min(left, LOOK))

    def cancel(self, jobs: Sequence[Work]) -> None:
        """Have SLURM stop jobs: those under way leave a checkpoint. `poll` tells when they have."""
        stopped = {job.signature for job in jobs}
        self.to_cancel |= {key for key, job in self.under_way.items() if job.signature in stopped}
        self.dropped += [Ended(job, CANCELLED) for job in self.unsent if job.signature in stopped]
        self.unsent = [job for job in self.unsent if job.signature not in stopped]
        self.asked = float("-inf")

    def _send(self) -> None:
        """Submit what is not in the queue yet."""
        self.unsent = self._adopted(self.unsent)
        if not self.unsent:
            return
        if self.snapshot is None:  # what is tried again later runs the code of now
            used = {target for job in self.unsent for target in job.targets}
            kept = {job.directory.path.parent for job in self.unsent}
            results = [*kept, *(place.parent / "sweeps" for place in kept), self.folder.parent]
            self.snapshot = snapshot(self.code, sorted(used), results)
        runs = [job.directory.path.absolute() for job in self.unsent]
        for array in self.arrays.submit(runs, self.snapshot, self.setup):
            for key, output in array:
                job = self.unsent.pop(0)
                note(job.directory, key, output, self.snapshot.imports)
                self.under_way[key] = job
                self.states[key] = "PENDING"

    def _adopted(self, jobs: Sequence[Work]) -> list[Work]:
        """Take up those jobs that are in the queue; returns the others."""
        notes = [noted(job.directory) or {"job": "", "attempt": 0} for job in jobs]
        states = queue({entry["job"] for entry in notes} - {""})
        others = []
        for job, entry in zip(jobs, notes, strict=True):
            status = read_json(job.directory.path / "status.json")
            if entry["job"] in states and not has_failed(status, entry):
                self.under_way[entry["job"]] = job
                self.states[entry["job"]] = states[entry["job"]]
            else:
                others.append(job)
        return others

    def _ask(self) -> None:
        """Ask SLURM for the states of all jobs, and how those ended that it has no more."""
        self.asked = time.monotonic()
        if self.unsent:
            self._send()
        if self.to_cancel:
            cancel(sorted(self.to_cancel & self.under_way.keys()))
        self.states = queue(self.under_way) if self.under_way else {}
        for key in self.under_way.keys() - self.states.keys() - self.gone.keys():
            how, job = ended(key), self.under_way[key]
            if key not in self.to_cancel and goes_on(how, job):
                self.unsent.append(self.under_way.pop(key))
            else:
                self.gone[key] = time.monotonic(), how
        self.gone = {key: gone for key, gone in self.gone.items() if key not in self.states}

    def _look(self) -> list[Ended]:
        """What has ended, by a look at the run directories now and then."""
        if not self.dropped and time.monotonic() - self.looked < LOOK:
            return []
        self.looked = time.monotonic()
        return self._ended()

    def _ended(self) -> list[Ended]:
        """The jobs that are over, taken from those under way."""
        found, self.dropped = self.dropped, []
        for key, job in list(self.under_way.items()):
            if self.states.get(key) == "PENDING":
                continue
            reason = self._reason(key, job)
            if reason is not None:
                del self.under_way[key]
                self.gone.pop(key, None)
                found.append(Ended(job, reason))
        return found

    def _reason(self, key: str, job: Work) -> str | None:
        """Why a job is over: "" where it ended well, None while it goes on."""
        run = job.directory
        status, entry = read_json(run.path / "status.json"), noted(run) or {"attempt": 0}
        if status["state"] == State.DONE:
            return ""
        if has_failed(status, entry):
            return str(status["reason"])
        if key not in self.gone:
            return None
        since, how = self.gone[key]
        if how == "CANCELLED" or (key in self.to_cancel and not how):
            return CANCELLED
        if time.monotonic() - since < SETTLE or run.is_locked():
            return None
        reason = why(key, how, status, str(entry.get("output")))
        run.give_up(reason)
        return reason


def goes_on(how: str, job: Work) -> bool:
    """Whether a job that left the queue was preempted or came to its time limit.

    It is there no more because the cluster lets nobody requeue.
    """
    status = read_json(job.directory.path / "status.json")
    told = status["state"] == State.INTERRUPTED and "SIGUSR" in status["reason"]
    return how == "PREEMPTED" or (told and how != "CANCELLED")
