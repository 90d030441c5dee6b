"""Commands as a user starts them: processes of their own, in folders of their own."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runner.rundir import RunDir, all_runs, read_events

CHECKOUT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PATIENCE = 240.0
"""Seconds after which a command that should have ended is said to hang."""

History = list[tuple[int, dict[str, float]]]


def environment(**extra: str) -> dict[str, str]:
    """The environment without what would steer the runner, MLflow or make; one thread a process."""
    steering = ("RUNNER_", "_RUNNER_", "MLFLOW_", "HYDRA_", "MAKE", "MFLAGS", "PYTHONPATH")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(steering)}
    path = f"{BIN}{os.pathsep}{kept['PATH']}"
    return kept | {"PATH": path, "OMP_NUM_THREADS": "1"} | extra


def call(*words: str | Path, cwd: Path, status: int = 0, **extra: str) -> str:
    """Run a command to its end and check its exit status; returns all that it printed."""
    result = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=environment(**extra),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    assert result.returncode == status, f"exit status {result.returncode}\n{result.stdout}"
    return result.stdout


def runner(words: str, cwd: Path, status: int = 0, **extra: str) -> str:
    """`runner WORDS` to its end."""
    return call(BIN / "runner", *words.split(), cwd=cwd, status=status, **extra)


@contextmanager
def started(words: str, cwd: Path, **extra: str) -> Iterator[subprocess.Popen[str]]:
    """`runner WORDS` going on; it is dead when the body ends."""
    process = subprocess.Popen(
        [str(BIN / "runner"), *words.split()],
        cwd=cwd,
        env=environment(**extra),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Wait for a condition that another process brings about; returns its value."""
    end = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {patience:.0f} s for {what}"
        time.sleep(0.002)
    return value


def runs_of(root: Path, state: str | None = None) -> list[RunDir]:
    """The runs under a root, those in one state where it is given."""
    return [run for run in all_runs(root) if run.exists() and state in (None, run.state)]


def runs_asked_for(root: Path, words: str) -> list[RunDir]:
    """The runs under a root that a command asked for, without those that they build on."""
    return [run for run in runs_of(root) if set(words.split()) <= set(run.run["overrides"])]


def only_run(root: Path, words: str = "") -> RunDir:
    """The one run under a root, or the one that a command asked for."""
    (run,) = runs_asked_for(root, words)
    return run


def history(run: RunDir) -> History:
    """Every (step, metrics) of a run, in order, without times."""
    return [(e["step"], e["metrics"]) for _, e in read_events(run.path / "events.jsonl")]


def has_come_to(root: Path, words: str, attempt: int, events: int) -> bool:
    """Whether the run that a command asked for is in an attempt and has logged so often, in all."""
    runs = runs_asked_for(root, words)
    if not runs or runs[0].status["attempt"] != attempt:
        return False
    file = runs[0].path / "events.jsonl"
    return file.exists() and file.read_bytes().count(b"\n") >= events


def half_written(run: RunDir) -> list[Path]:
    """Files in a run's directory that were begun and not ended."""
    for file in run.path.glob("*.json"):
        json.loads(file.read_text())
    return [file for file in run.path.iterdir() if file.name.startswith(".")]


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def serving(
    words: list[str], url: str, cwd: Path, **extra: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A web server that answers; it and its workers are dead when the body ends."""
    with (cwd / "server.txt").open("wb") as log:
        server = subprocess.Popen(
            words,
            cwd=cwd,
            env=environment(**extra),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until(lambda: answers(url) or server.poll() is not None, f"{url} to answer")
        assert server.poll() is None, (cwd / "server.txt").read_text()
        yield server
    finally:
        os.killpg(server.pid, 9)
        server.wait()


def answers(url: str) -> bool:
    """Whether a web server is there."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False
