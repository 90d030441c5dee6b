"""SLURM's own state, as its commands tell it; no heavy imports, no memory.

squeue knows what waits and runs, scontrol what ended in the last minutes, sacct what ended at any
time, where the cluster keeps accounts. A job's id, "12" or "12_3" in an array, is noted in its run
directory.
"""

import json
import re
import subprocess
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from objectives.errors import InputError
from runner.rundir import RunDir, State, read_json, write_whole

NOTE = "slurm.json"
"""In a run directory: its job's id, output file and code, when it was submitted, and the attempt
before it."""

UNKNOWN = re.compile(r"Invalid job id|Job \S+ not found")
"""What SLURM says of a job that it has forgotten, or that never was."""

PASSING = re.compile(r"contact slurm controller|timed out|in standby mode", re.IGNORECASE)
"""In what a command says that could not even ask."""

LIVE = {
    "PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "COMPLETING", "REQUEUED", "REQUEUE_HOLD",
    "REQUEUE_FED", "RESIZING", "SIGNALING", "SPECIAL_EXIT", "STAGE_OUT", "STOPPED",
}  # fmt: skip
"""States of jobs that may go on."""

CANCELLED = "cancelled"
"""Reason of a job that someone stopped: it has not failed, and is not to be tried again."""

MOST = 1000
"""Most ids in one command line."""


class Unreachable(InputError):
    """SLURM did not answer, or with an error; it may do so later."""

    def __init__(self, said: str):
        super().__init__(f"SLURM does not answer: {said}")


def note(run: RunDir, job: str, output: Path, code: Iterable[Path]) -> None:
    """Note in a run directory which job has it."""
    noted = {
        "job": job,
        "submitted": time.time(),
        "output": str(output),
        "code": [str(place) for place in code],
        "attempt": read_json(run.path / "status.json")["attempt"],
    }
    write_whole(run.path / NOTE, json.dumps(noted, indent=1))


def noted(run: RunDir) -> dict[str, Any] | None:
    """What `note` noted; None for a run that was never submitted."""
    try:
        return read_json(run.path / NOTE)
    except FileNotFoundError:
        return None


def queue(ids: Collection[str]) -> dict[str, str]:
    """The states of those jobs that wait, run or are being requeued; others are left out.

    Raises:
        Unreachable: SLURM does not answer.
    """
    found: dict[str, str] = {}
    arrays = sorted({job.partition("_")[0] for job in ids})
    for some in _portions(arrays):
        said = _said(
            "squeue", "--noheader", "--array", "--format=%i %T", f"--jobs={','.join(some)}"
        )
        found |= dict(line.split() for line in said.splitlines())
    return {job: found[job] for job in ids if job in found}


def ended(job: str) -> str:
    """How a job ended: COMPLETED, FAILED, TIMEOUT, CANCELLED, OUT_OF_MEMORY, NODE_FAIL, ...

    Returns:
        The state; "" where it has not ended, or nobody knows any more.

    Raises:
        Unreachable: SLURM does not answer.
    """
    said = re.search(r"\bJobState=(\w+)", _said("scontrol", "--oneliner", "show", "job", job))
    state = said[1] if said else _accounted(job)
    return "" if state in LIVE else state


def cancel(ids: Collection[str]) -> None:
    """Have SLURM stop jobs; those under way get SIGTERM and, for a checkpoint, some time.

    Raises:
        Unreachable: SLURM does not answer.
    """
    for some in _portions(list(ids)):
        _said("scancel", "--quiet", *some)


def max_array_size() -> int:
    """The most jobs of one array.

    Raises:
        Unreachable: SLURM does not answer.
    """
    said = re.search(r"\bMaxArraySize\s*=\s*(\d+)", _said("scontrol", "show", "config"))
    return max(1, int(said[1])) if said else 1


def has_failed(status: dict[str, Any], entry: dict[str, Any]) -> bool:
    """Whether the attempt of a submission has failed, by its run's record."""
    return bool(status["state"] == State.FAILED and status["attempt"] > entry["attempt"])


def why(key: str, how: str, status: dict[str, Any], output: str) -> str:
    """Why a job is over whose run neither ended well nor failed.

    Args:
        key: The job's id.
        how: How SLURM says that it ended; "" where it does not know.
        status: The run's record.
        output: The job's output file.
    """
    stopped = status["state"] == State.INTERRUPTED
    if stopped and "SIGTERM" in status["reason"] and how in {"", "FAILED"}:
        return CANCELLED
    if stopped and how in {"", "COMPLETED", "FAILED"}:
        return str(status["reason"])
    if how in {"COMPLETED", "FAILED"}:
        return f"job {key} left no record; see {output}"
    return f"killed by SLURM: {how}" if how else f"SLURM no longer knows job {key}; it died"


def _portions(ids: list[str]) -> Iterator[list[str]]:
    for first in range(0, len(ids), MOST):
        yield ids[first : first + MOST]


def _said(program: str, *words: str) -> str:
    """What a command printed; nothing for a job that SLURM does not know."""
    try:
        result = subprocess.run(
            [program, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
        )
    except FileNotFoundError:
        raise InputError(f"there is no SLURM here: {program} is not on the PATH.") from None
    except subprocess.TimeoutExpired as error:
        raise Unreachable(str(error)) from None
    if result.returncode and not UNKNOWN.search(result.stderr + result.stdout):
        raise Unreachable(result.stderr.strip() or f"{program} failed")
    return result.stdout


def _accounted(job: str) -> str:
    """A job's state in the accounts; "" where the cluster keeps none."""
    command = ["sacct", "--noheader", "--parsable2", "--allocations", "--format=State"]
    try:
        result = subprocess.run(
            [*command, f"--jobs={job}"], capture_output=True, text=True, timeout=120
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    lines = result.stdout.split("\n") if result.returncode == 0 else [""]
    return lines[0].partition(" ")[0]  # of "CANCELLED by 1000"
