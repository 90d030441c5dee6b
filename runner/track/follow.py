"""The process that follows run directories, and the commands that start it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runner.console import console
from runner.rundir import State, all_runs, read_json

POLL = 2.0
"""Seconds between two looks at the run directories."""

REST = 3.0
"""Pause after a look that took long, as a multiple of it: jobs need the core more."""

PATIENCE = 30.0
"""Seconds that a command waits at its end for the store."""

HTTP = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
"""A server that is down is found out soon; the next `runner sync` tries again."""

Process = subprocess.Popen[str]


def store_uri(tracking: Any, root: Path) -> str:
    """The store that a `tracking` setting means, "" for none; YAML reads a bare `off` as false."""
    if tracking in (False, None, "off"):
        return ""
    return f"sqlite:///{root.absolute()}/runs/mlflow.db" if tracking == "auto" else str(tracking)


@contextmanager
def following(config: Mapping[str, Any]) -> Iterator[None]:
    """Replay runs into the store while the body runs, and once more after it."""
    root = Path(config["root"])
    uri = store_uri(config["tracking"], root)
    if not uri:
        yield
        return
    process = start(root, uri)
    try:
        yield
    finally:
        with console.status("bringing the results into MLflow"):
            reason = finish(process)
        if reason:
            console.print(
                f"Not in MLflow yet: {reason}.\nNothing is lost; `runner sync` brings it in later."
            )


def start(root: Path, uri: str) -> Process:
    """Start the replaying process; it ends when its standard input is closed."""
    (root / "runs").mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "runner.track", str(root.absolute()), uri],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env=HTTP | os.environ,
    )


def finish(process: Process, patience: float = PATIENCE) -> str:
    """Let the replaying process finish; returns why it could not, or ""."""
    try:
        said, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return f"the store did not answer within {patience:.0f} s"
    return "" if process.returncode == 0 else said.strip() or "the replaying process died"


def main(root: Path, uri: str) -> None:
    """Follow the run directories until standard input is closed, then look once more."""
    os.nice(10)
    closed = threading.Event()
    threading.Thread(target=_wait_for_end, args=[closed], daemon=True).start()
    _attempt(_open_store, root, uri)  # while training starts, not after it has ended
    pause = POLL
    while not closed.wait(pause):
        began = time.monotonic()
        _attempt(_replay_news, root, uri)
        pause = max(POLL, REST * (time.monotonic() - began))
    if reason := _attempt(_replay_news, root, uri):
        sys.stdout.write(reason)
        sys.exit(1)


def _wait_for_end(closed: threading.Event) -> None:
    sys.stdin.read()
    closed.set()


def tracking_record(folder: Path, uri: str) -> dict[str, Any]:
    """What was noted in the directory of a run or sweep about its place in a store."""
    file = folder / "tracking.json"
    record: dict[str, Any] = read_json(file).get(uri, {}) if file.exists() else {}
    return record


def has_news(root: Path, uri: str) -> bool:
    """Whether some run or sweep says more than a store knows."""
    sweeps = (file.parent for file in (root / "sweeps").glob("*/manifest.json"))
    return any(
        run.state is not State.PLANNED and tracking_record(run.path, uri).get("stamp") != run.stamp
        for run in all_runs(root)
    ) or any(tracking_record(folder, uri).get("open", True) for folder in sweeps)


def _attempt(action: Callable[[Path, str], None], root: Path, uri: str) -> str:
    """Act on the store; returns what went wrong, for it may be down, locked or full."""
    try:
        action(root, uri)
    except Exception as error:
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
    return ""


def _open_store(root: Path, uri: str) -> None:
    from runner.track.store import Store

    Store(root, uri).client.search_experiments(max_results=1)


def _replay_news(root: Path, uri: str) -> None:
    if has_news(root, uri):
        from runner.track.store import replay

        replay(root, uri)
