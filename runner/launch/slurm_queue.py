"""Handing jobs to SLURM as arrays."""

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from objectives.errors import InputError
from runner.launch.slurm_state import PASSING, Unreachable, max_array_size
from runner.launch.snapshot import Snapshot

DEAF = """sh -c 'trap "" USR1 USR2; exec "$0" "$@"'"""
"""Starts the worker so that no signal ends it before it can take signals."""


class Arrays:
    """Submits arrays of one kind.

    Args:
        folder: Where submitit's files and the jobs' outputs go.
        parallelism: The most jobs of one submission that run at once; None for no limit.
        options: Submitit's parameters.
        extra: Further options of sbatch.
    """

    def __init__(
        self,
        folder: Path,
        parallelism: int | None,
        options: dict[str, Any],
        extra: dict[str, Any],
    ):
        self.folder, self.parallelism = folder, parallelism
        self.options, self.extra = options, extra

    def submit(
        self, runs: Sequence[Path], code: Snapshot, setup: Sequence[str]
    ) -> Iterator[list[tuple[str, Path]]]:
        """Submit runs, array by array.

        There are no more arrays at a time than may run jobs at a time: the limit is shared out
        among as many lanes, and in a lane each array waits for the one before it.

        Args:
            runs: Their directories.
            code: What they run.
            setup: Shell commands before they start.

        Yields:
            For each array the id and the output file of each job, in the order of the runs.

        Raises:
            InputError: SLURM refuses an array.
            Unreachable: SLURM does not answer.
        """
        size = max_array_size() if len(runs) > 1 else 1
        arrays = [runs[first : first + size] for first in range(0, len(runs), size)]
        limit = self.parallelism or len(runs)
        lanes = min(limit, len(arrays))
        previous: dict[int, str] = {}
        for number, array in enumerate(arrays):
            lane = number % lanes
            share = limit // lanes + (lane < limit % lanes)
            jobs = self._submit(array, share, previous.get(lane), [*setup, *exports(code)])
            previous[lane] = jobs[0][0].partition("_")[0]
            yield jobs

    def _submit(
        self, runs: Sequence[Path], share: int, previous: str | None, setup: list[str]
    ) -> list[tuple[str, Path]]:
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        from runner.launch.slurm_job import work

        after = [f"afterany:{previous}"] if previous else []
        dependency = ",".join([*after, *filter(None, [self.extra.get("dependency")])])
        extra = {**self.extra, "dependency": dependency or None}
        executor = SlurmExecutor(self.folder, python=f"{DEAF} {shlex.quote(sys.executable)}")
        executor.update_parameters(
            **self.options,
            array_parallelism=share,
            setup=setup,
            additional_parameters={k: v for k, v in extra.items() if v is not None},
        )
        try:
            with outside_of_jobs():
                jobs = executor.map_array(work, list(map(str, runs)), [sys.argv] * len(runs))
        except (FailedJobError, FailedSubmissionError) as error:
            if PASSING.search(str(error)):
                raise Unreachable(str(error)) from None
            raise InputError(f"SLURM refuses the jobs: {error}") from None
        return [(job.job_id, job.paths.stdout) for job in jobs]


def exports(code: Snapshot) -> list[str]:
    """Shell commands after which Python imports this code, and not what lies where it starts."""
    from runner.environment import CODE_STATE

    path = ":".join(map(str, code.imports))
    return [
        "export PYTHONSAFEPATH=1",
        f"export PYTHONPATH={shlex.quote(path)}${{PYTHONPATH:+:$PYTHONPATH}}",
        f"export {CODE_STATE}={shlex.quote(str(code.state))}",
    ]


@contextmanager
def outside_of_jobs() -> Iterator[None]:
    """Hide that this process is in a job of SLURM's itself: its settings are not for new ones."""
    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    before = dict(os.environ)
    for name in before:
        if name.startswith(("SLURM_", "SRUN_", "SUBMITIT_")) and name != "SLURM_CONF":
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(before)
