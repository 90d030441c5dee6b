"""Full disks: under the runs, and under the store."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.rundir import RunDir, State

from .commands import half_written, history, only_run, runner, runs_of
from .mlflow_view import View, check_run

pytestmark = pytest.mark.full

RUN = "task=digits objective=ldr steps=40 log_every=1 checkpoint_every=0"
FULL = "No space left on device"
KIB = 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"a small disk needs root: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize(
    "free",
    [
        pytest.param(8 * KIB, id="no room to begin"),
        pytest.param(450 * KIB, id="room for one checkpoint"),
    ],
)
def test_run_on_a_full_disk_goes_on_when_there_is_space(
    free: int, disk: Path, tmp_path: Path
) -> None:
    words = f"{RUN} root={disk} tracking=off"
    fill(disk, free)
    said = runner(words, tmp_path, status=1)
    assert FULL in said
    assert "Traceback" not in said
    assert len(said[said.index("runner: ") :].splitlines()) <= 4
    for run in runs_of(disk):
        assert run.status["state"] in {State.PLANNED, State.FAILED, State.INTERRUPTED}
        assert not run.is_locked()
        assert not half_written(run)
    had_checkpoint = any(disk.glob("runs/*/checkpoint.pt"))
    assert had_checkpoint == (free > 100 * KIB)
    (disk / "filler").unlink()
    assert ("going on from step" in runner(words, tmp_path)) == had_checkpoint
    check_steps(only_run(disk))


@pytest.mark.parametrize(
    ("free", "message"),
    [
        pytest.param(8 * KIB, "make room", id="no room to plan"),
        pytest.param(64 * KIB, "2 jobs failed", id="no room to end"),
    ],
)
def test_sweep_on_a_full_disk_says_so(free: int, message: str, disk: Path, tmp_path: Path) -> None:
    words = f"{RUN} root={disk} tracking=off -m seed=0,1"
    fill(disk, free)
    said = runner(words, tmp_path, status=1)
    assert message in said
    assert FULL in said
    assert "Traceback" not in said
    (disk / "filler").unlink()
    runner(words, tmp_path)
    assert [run.state for run in runs_of(disk)] == [State.DONE] * 2


def test_store_on_a_full_disk(disk: Path, tmp_path: Path) -> None:
    """The run ends well; the store is made and filled when there is space."""
    uri = f"sqlite:///{disk}/store.db"
    fill(disk, 100 * KIB)
    said = runner(f"{RUN} tracking={uri}", tmp_path)
    assert "Not in MLflow yet" in said
    assert only_run(tmp_path).state is State.DONE
    (disk / "filler").unlink()
    runner(f"sync tracking={uri}", tmp_path)
    view = View(uri)
    check_run(view, only_run(tmp_path))
    assert len(view.runs) == 1


def fill(disk: Path, free: int) -> None:
    """Leave so many bytes free."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        file.write(b"\0" * (2 * KIB * KIB - free))


def check_steps(run: RunDir) -> None:
    assert run.state is State.DONE
    assert [step for step, metrics in history(run) if "train/loss" in metrics] == list(range(1, 41))
