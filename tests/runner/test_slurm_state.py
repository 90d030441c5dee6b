"""SLURM's state as its commands tell it, with and without accounts; the commands are imitated."""

from collections.abc import Callable
from pathlib import Path

import pytest

from objectives.errors import InputError
from runner.launch.slurm_state import Unreachable, cancel, ended, queue

FORGOTTEN = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"
DOWN = "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1"


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace SLURM's commands by shell scripts; those not named are absent."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def install(**scripts: str) -> None:
        for name, script in scripts.items():
            file = tmp_path / name
            file.write_text(f"#!/bin/sh\n{script}\n")
            file.chmod(0o755)

    return install


@pytest.mark.parametrize(
    ("scontrol", "sacct", "how"),
    [
        ("echo 'JobId=7 JobState=TIMEOUT Reason=TimeLimit'", None, "TIMEOUT"),
        ("echo 'JobId=7 JobState=RUNNING Reason=None'", None, ""),
        (FORGOTTEN, None, ""),
        (FORGOTTEN, "echo 'Slurm accounting storage is disabled' >&2; exit 1", ""),
        (FORGOTTEN, "echo OUT_OF_MEMORY", "OUT_OF_MEMORY"),
        (FORGOTTEN, "echo 'CANCELLED by 1000'", "CANCELLED"),
        (FORGOTTEN, "true", ""),
    ],
)
def test_how_a_job_ended(say, scontrol, sacct, how):
    say(scontrol=scontrol, **({"sacct": sacct} if sacct else {}))
    assert ended("7") == how


def test_the_queue_is_asked_once_for_all_jobs(say, tmp_path):
    say(squeue=f'echo "$@" >> {tmp_path}/asked; echo "7_0 RUNNING"; echo "7_1 PENDING"; echo "8 X"')
    assert queue(["7_0", "7_1", "7_2", "9"]) == {"7_0": "RUNNING", "7_1": "PENDING"}
    (asked,) = (tmp_path / "asked").read_text().splitlines()
    assert asked.endswith("--jobs=7,9")


def test_a_queue_that_has_forgotten_a_job_is_no_error(say):
    say(squeue=FORGOTTEN, scancel=FORGOTTEN)
    assert queue(["7"]) == {}
    cancel(["7"])


def test_a_controller_that_is_down(say):
    say(squeue=DOWN, scontrol=DOWN, scancel=DOWN)
    for question in (lambda: queue(["7"]), lambda: ended("7"), lambda: cancel(["7"])):
        with pytest.raises(Unreachable, match="Unable to contact"):
            question()


def test_a_machine_without_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="there is no SLURM here: squeue is not on the PATH"):
        queue(["7"])
