"""What SLURM knows of jobs, read from its commands; nothing heavy is imported."""

from collections.abc import Sequence
from pathlib import Path

from runner.rundir import RunDir


def task_of(run: RunDir) -> str:
    return ""


def queue(tasks: Sequence[str]) -> dict[str, str]:
    return {}


def cancel(tasks: Sequence[str]) -> None: ...


def outputs_of(run: RunDir) -> list[Path]:
    return []


def settle(run: RunDir) -> None: ...
