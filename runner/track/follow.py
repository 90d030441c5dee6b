"""The process that follows run directories, and the commands that start it."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

POLL = 2.0
"""Seconds between two looks at the run directories."""

PATIENCE = 30.0
"""Seconds that a command waits at its end for the store."""

HTTP = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
"""A server that is down is found out soon; the next `runner sync` tries again."""

Process = subprocess.Popen[str]


def is_off(uri: Any) -> bool:
    """Whether tracking is switched off; YAML reads a bare `off` as false."""
    return uri in (False, None, "off")


@contextmanager
def following(config: Mapping[str, Any], console: Console) -> Iterator[None]:
    """Replay runs into the store while the body runs, and once more after it."""
    if is_off(config["tracking"]):
        yield
        return
    process = start(Path(config["root"]), config["tracking"])
    try:
        yield
    finally:
        with console.status("bringing the results into MLflow"):
            reason = finish(process)
        if reason:
            console.print(
                f"Not in MLflow yet: {reason}.\nNothing is lost; `runner sync` brings it in later.",
                highlight=False,
                soft_wrap=True,
            )


def start(root: Path, uri: str) -> Process:
    """Start the replaying process; it ends when its standard input is closed."""
    runs = (root / "runs").absolute()
    runs.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "runner.track", str(root.absolute()), uri],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=runs,
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
    reason = _try_replay(root, uri)
    while not closed.wait(POLL):
        reason = _try_replay(root, uri)
    if reason := _try_replay(root, uri):
        sys.stdout.write(reason)
        sys.exit(1)


def _wait_for_end(closed: threading.Event) -> None:
    sys.stdin.read()
    closed.set()


def _try_replay(root: Path, uri: str) -> str:
    """Replay; returns what went wrong, for the store may be down, locked or full."""
    from runner.track.store import replay

    try:
        replay(root, uri)
    except Exception as error:
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
    return ""
