"""MLflow shows what the run directories say: once, and whatever happens to the store."""

import contextlib
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.rundir import State
from runner.track.follow import tracking_record

from .commands import (
    environment,
    free_port,
    only_run,
    runner,
    runs_of,
    serving,
    started,
    until,
)
from .conftest import SWEEP
from .mlflow_view import View, check_run, check_sweep, default_store

pytestmark = pytest.mark.full

RUN = "task=digits objective=ldr epochs=2 log_every=5"
LATER = "Not in MLflow yet"


def test_default_store_has_the_sweep_as_a_tree(swept: Path) -> None:
    check_sweep(View(default_store(swept)), swept)


def test_nothing_is_doubled_when_brought_in_again(swept: Path) -> None:
    before = View(default_store(swept)).snapshot()
    assert "is up to date" in runner("sync", swept)
    assert View(default_store(swept)).snapshot() == before


def test_sweep_started_again_adds_nothing(swept: Path) -> None:
    before = View(default_store(swept)).snapshot()
    assert "4 jobs, 4 finished before" in runner(SWEEP, swept)
    assert View(default_store(swept)).snapshot() == before


def test_server_that_was_down(tmp_path: Path) -> None:
    """What was run without it comes in later, once; what another root runs with it, at once."""
    url = f"http://127.0.0.1:{free_port()}"
    said = runner(f"{SWEEP} tracking={url}", tmp_path)
    assert LATER in said
    assert {run.state for run in runs_of(tmp_path)} == {State.DONE}
    assert "not brought up to date" in runner(f"sync tracking={url}", tmp_path, status=1)
    with mlflow_server(url, tmp_path):
        assert "is up to date" in runner(f"sync tracking={url}", tmp_path)
        check_sweep(View(url), tmp_path)
        before = View(url).snapshot()
        runner(f"sync tracking={url}", tmp_path)
        assert View(url).snapshot() == before
        other = tmp_path / "other"
        other.mkdir()
        assert LATER not in runner(f"{RUN} tau=0.1 seed=0 tracking={url}", other)
        check_run(View(url), only_run(other))
        for run in runs_of(tmp_path):
            check_run(View(url), run)
    assert not (tmp_path / "runs" / "mlflow.db").exists()


def test_store_locked_by_another_program(tmp_path: Path) -> None:
    runner(f"{RUN} tracking=auto", tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "runs" / "mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert LATER in runner(f"{RUN} seed=1", tmp_path)
    assert {run.state for run in runs_of(tmp_path)} == {State.DONE}
    runner("sync", tmp_path)
    view = View(default_store(tmp_path))
    for run in runs_of(tmp_path):
        check_run(view, run)
    assert len(view.runs) == 2


def test_run_killed_after_its_metrics_were_seen(tmp_path: Path) -> None:
    """It starts anew, there being no checkpoint; what was seen of its first attempt is gone."""
    words = "task=digits objective=info_nce steps=400 evaluate_every=0.01 log_every=1"
    runner("task=digits objective=ldr steps=1", tmp_path)  # makes the store
    (first,) = runs_of(tmp_path)

    def seen() -> bool:
        others = [run.path for run in runs_of(tmp_path) if run.path != first.path]
        return any(tracking_record(path, default_store(tmp_path)).get("offset") for path in others)

    with started(words, tmp_path) as process:
        until(seen, "metrics in the store")
        process.kill()
    (killed,) = runs_of(tmp_path, State.INTERRUPTED)
    assert not (killed.path / "checkpoint.pt").exists()
    runner(words, tmp_path)
    runner("sync", tmp_path)
    view = View(default_store(tmp_path))
    for run in runs_of(tmp_path):
        check_run(view, run)
    assert len(view.runs) == 2


def test_sweep_seen_before_its_runs_began(tmp_path: Path) -> None:
    with started(f"{SWEEP} tracking=off", tmp_path) as sweep:
        until(lambda: runs_of(tmp_path, State.RUNNING), "the first run")
        sweep.kill()
    runner("sync", tmp_path)
    runner(SWEEP, tmp_path)
    check_sweep(View(default_store(tmp_path)), tmp_path)


def test_store_that_was_deleted_is_made_again(swept: Path, tmp_path: Path) -> None:
    shutil.copytree(swept, tmp_path, dirs_exist_ok=True)
    (tmp_path / "runs" / "mlflow.db").unlink()
    shutil.rmtree(tmp_path / "runs" / "mlflow-artifacts")
    runner("sync", tmp_path)
    check_sweep(View(default_store(tmp_path)), tmp_path)


def test_replaying_killed_at_any_moment(tmp_path: Path) -> None:
    runner(f"{SWEEP} tracking=off", tmp_path)
    uri = default_store(tmp_path)
    with replaying(tmp_path, uri) as process:
        until(lambda: any((tmp_path / "runs").glob("*mlflow.db*")), "a database begun")
        time.sleep(0.2)
        process.kill()
    for count in (1, 3, 5):
        with replaying(tmp_path, uri) as process:
            until(lambda n=count: stored(tmp_path) >= n, f"{count} runs in the store")
            process.kill()
    runner("sync", tmp_path)
    check_sweep(View(uri), tmp_path)


@contextmanager
def mlflow_server(url: str, folder: Path) -> Iterator[None]:
    """A tracking server with a database and artifacts of its own."""
    words = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    places = ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
    places += ["--artifacts-destination", str(folder / "server-artifacts")]
    host, port = url.removeprefix("http://").split(":")
    words += [*places, "--host", host, "--port", port]
    lean = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # else eight more processes
    with serving(words, f"{url}/health", folder, **lean):
        yield


@contextmanager
def replaying(root: Path, uri: str) -> Iterator[subprocess.Popen[bytes]]:
    """The process that replays run directories, by itself."""
    words = [sys.executable, "-m", "runner.track", str(root), uri]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, env=environment()) as process:
        yield process


def stored(root: Path) -> int:
    """How many runs the default store has; 0 where it is not ready."""
    file = root / "runs" / "mlflow.db"
    if not file.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as store:
        try:
            return int(store.execute("SELECT count(*) FROM runs").fetchone()[0])
        except sqlite3.OperationalError:
            return 0
