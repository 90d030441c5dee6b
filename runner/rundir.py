"""The run directory: the truth about a run, and the protocol by which it changes.

`runs/<signature>/` holds

    run.json          signature, what it is the hash of, name, overrides; written once
    config.yaml       the composed config, resolved; written once
    environment.json  versions, git commit, hardware, thread count; one entry an attempt
    code.diff         uncommitted changes of the code that ran
    code/             its files that git does not track
    events.jsonl      metrics, one JSON object a line, append-only; a torn last line is ignored
    checkpoint.pt     state to go on from, with the length of events.jsonl that belongs to it
    status.json       the state below, its reason, the attempt, the final metrics
    lock              held by the worker itself for as long as it lives
    heartbeat         how far the attempt is, at its modification time; may be torn
    log.txt           what the run said, tracebacks included
    output.txt        what its process printed, where it was a worker
    slurm.json        its job in SLURM's queue, where it has one
    tracking.json     its place in each store, and how far it has been replayed

States and the only moves between them:

    planned -> running -> done | failed | interrupted
    failed | interrupted | pruned -> running
    planned | pruned -> failed         where its worker died before it could begin
    planned | interrupted -> pruned    where who asked it to stop says so

A worker that dies leaves "running" behind and loses the lock; whoever looks then sees
"interrupted", and the next attempt may begin. Not every file system tells one host of another's
locks, so a worker of another host is alive as well while its heartbeat is young. Files other than
events.jsonl, log.txt and heartbeat appear whole or not at all. This module needs neither torch nor
MLflow.
"""

import fcntl
import json
import math
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, BinaryIO

from objectives.errors import InputError


class State(StrEnum):
    """Where a run stands."""

    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    PRUNED = "pruned"
    INTERRUPTED = "interrupted"


MOVES = {
    State.PLANNED: {State.RUNNING},
    State.RUNNING: {State.DONE, State.FAILED, State.INTERRUPTED},
    State.FAILED: {State.RUNNING},
    State.INTERRUPTED: {State.RUNNING},
    State.DONE: set(),
    State.PRUNED: {State.RUNNING},
}


TAIL = 16384
"""Bytes at the end of events.jsonl in which the latest event is looked for."""

SIGN_OF_LIFE = 60.0
"""Seconds for which a heartbeat shows that a worker of another host is alive."""

LOOKS = 3
"""Looks at a lock before it counts as held: who asks whether it is held holds it for a moment."""

OWN = ("checkpoint.pt", "status.json", "environment.json")
"""What only the worker writes, again and again."""


class Interrupted(BaseException):
    """The run was asked to stop; it left a checkpoint."""


class Busy(InputError):
    """Another process is at work on the run."""


class Done(InputError):
    """Another process has finished the run."""


class RunDir:
    """One run's directory.

    Attributes:
        path: Where it is.
        events: The file of metrics, open for the holder of the lock.
    """

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def plan(cls, runs: Path, run: dict[str, Any], config: str) -> "RunDir":
        """The directory of a run, made if it is not there yet.

        Args:
            runs: The folder of all runs.
            run: `signature`, `code`, `data`, `meaning`, `name`, `setting`, `seed`, `choices`,
                `overrides`.
            config: The resolved config as YAML.
        """
        directory = cls(runs / run["signature"])
        if not (directory.path / "status.json").exists():
            directory.path.mkdir(parents=True, exist_ok=True)
            write_whole(directory.path / "config.yaml", config)
            write_whole(directory.path / "run.json", json.dumps(run, indent=1))
            status = json.dumps({"state": State.PLANNED, "attempt": 0}, indent=1)
            write_whole(directory.path / "status.json", status, new=True)
        return directory

    def exists(self) -> bool:
        """Whether the run was ever planned."""
        return (self.path / "status.json").exists()

    @property
    def run(self) -> dict[str, Any]:
        """What was planned: signature, name, choices, overrides."""
        return read_json(self.path / "run.json")

    @property
    def status(self) -> dict[str, Any]:
        """The status record, with "interrupted" for a worker that died."""
        status = read_json(self.path / "status.json")
        if status["state"] == State.RUNNING and not self.is_locked():
            status |= {"state": State.INTERRUPTED, "reason": "the process died"}
        return status

    @property
    def state(self) -> State:
        return State(self.status["state"])

    @property
    def recorded(self) -> State:
        """The state as it was written down, by whoever may be dead by now."""
        return State(read_json(self.path / "status.json")["state"])

    @property
    def stamp(self) -> list[Any]:
        """Changes whenever there is something new to know about the run."""
        events = self.path / "events.jsonl"
        size = events.stat().st_size if events.exists() else 0
        return [self.state, self.status["attempt"], size]

    @property
    def signs(self) -> dict[str, Any]:
        """What `beat` wrote last; {} where there is nothing, or nothing whole."""
        try:
            return read_json(self.path / "heartbeat")
        except (FileNotFoundError, ValueError):
            return {}

    def silent_for(self) -> float:
        """Seconds since the last sign of life, or since the attempt began."""
        try:
            last: float = (self.path / "heartbeat").stat().st_mtime
        except FileNotFoundError:
            last = read_json(self.path / "status.json").get("started", -math.inf)
        return time.time() - last

    def is_locked(self) -> bool:
        """Whether a worker is alive and writes here."""
        return self.exists() and (is_held(self.path / "lock") or self._is_alive_elsewhere())

    def _is_alive_elsewhere(self) -> bool:
        """Whether a worker of another host, whose lock may not be seen here, gave a sign lately."""
        status = read_json(self.path / "status.json")
        here = status.get("host") == socket.gethostname()
        return status["state"] == State.RUNNING and not here and self.silent_for() < SIGN_OF_LIFE

    def _hold(self, lock: IO[str]) -> None:
        for _ in range(LOOKS):
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.01)
        else:
            raise Busy(f"{self.path} is being written by another process.")
        if self._is_alive_elsewhere():
            raise Busy(f"{self.path} is being written by a process on another host.")

    @contextmanager
    def attempt(self) -> Iterator["Events"]:
        """Hold the lock, run, and leave an exit record whatever happens.

        Raises:
            Busy: Another process is at work on this run.
            Done: Another process has finished it.
        """
        with (self.path / "lock").open("w") as lock:
            self._hold(lock)
            before = read_json(self.path / "status.json")
            if before["state"] == State.DONE:
                raise Done(f"{self.path} is done.")
            for file in OWN:
                for partial in self.path.glob(f".{file}.*"):  # of a worker that was killed
                    partial.unlink()
            (self.path / "heartbeat").unlink(missing_ok=True)
            state = State(before["state"])
            if state is State.RUNNING:  # whoever wrote this is dead: the lock was free
                state = State.INTERRUPTED
            self._move(
                state,
                State.RUNNING,
                attempt=before["attempt"] + 1,
                pid=os.getpid(),
                host=socket.gethostname(),
                started=time.time(),
            )
            with Events(self.path / "events.jsonl") as events, self._exit_record():
                yield events

    @contextmanager
    def _exit_record(self) -> Iterator[None]:
        try:
            yield
        except (Interrupted, KeyboardInterrupt) as reason:
            self._leave(State.INTERRUPTED, str(reason) or "stopped by hand")
            raise
        except BaseException as error:
            self._leave(State.FAILED, f"{type(error).__name__}: {error}")
            raise

    def _leave(self, state: State, reason: str) -> None:
        """Note why a run ended, unless it had ended before: a signal may come late."""
        if read_json(self.path / "status.json")["state"] == State.RUNNING:
            self._move(State.RUNNING, state, reason=reason)

    def finish(self, metrics: dict[str, float], **facts: Any) -> None:
        """Mark the run as done, with its final metrics, and what else the status should hold."""
        self._move(State.RUNNING, State.DONE, metrics=metrics, **facts)

    def give_up(self, reason: str) -> None:
        """Mark a run as failed whose worker died and left no record, or never began one.

        A run that has ended otherwise, or that another worker writes, stays as it is.
        """
        with suppress(InputError), (self.path / "lock").open("a") as lock:
            self._hold(lock)
            status = read_json(self.path / "status.json")
            if status["state"] in {State.PLANNED, State.RUNNING, State.PRUNED}:
                ended = {"state": State.FAILED, "reason": reason, "ended": time.time()}
                self._write_status({"started": time.time(), **status, **ended})

    def prune(self, reason: str) -> None:
        """Mark a run as pruned that was asked to stop; another sweep may go on with it."""
        with suppress(InputError), (self.path / "lock").open("a") as lock:
            self._hold(lock)
            status = read_json(self.path / "status.json")
            if status["state"] in {State.PLANNED, State.RUNNING, State.INTERRUPTED}:
                ended = {"state": State.PRUNED, "reason": reason, "ended": time.time()}
                self._write_status({"started": time.time(), **status, **ended})

    def beat(self, sign: dict[str, Any]) -> None:
        """Give a sign of life: how far the attempt is, written in place."""
        file = os.open(self.path / "heartbeat", os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            os.ftruncate(file, os.pwrite(file, json.dumps(sign).encode(), 0))
        finally:
            os.close(file)

    def _move(self, old: State, new: State, **facts: Any) -> None:
        if new not in MOVES[old]:
            raise InputError(f"{self.path} is {old}: it cannot become {new}.")
        kept = read_json(self.path / "status.json") if new is not State.RUNNING else {}
        ended = {} if new is State.RUNNING else {"ended": time.time()}
        self._write_status({**kept, **ended, "state": new, **facts})

    def _write_status(self, status: dict[str, Any]) -> None:
        write_whole(self.path / "status.json", json.dumps(status, indent=1))


def is_held(lock: Path) -> bool:
    """Whether a process holds a lock file."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


class Events:
    """events.jsonl, open for appending."""

    def __init__(self, path: Path):
        self.file = path.open("ab")

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def rewind(self, length: int) -> None:
        """Forget what came after a checkpoint, so that no metric appears twice."""
        self.file.truncate(length)
        self.file.seek(0, os.SEEK_END)

    def append(self, step: int, metrics: dict[str, float]) -> None:
        event = {"step": step, "time": round(time.time(), 3), "metrics": metrics}
        self.file.write(json.dumps(event).encode() + b"\n")
        self.file.flush()

    def commit(self) -> int:
        """Make what was appended durable; returns its length in bytes."""
        self.file.flush()
        os.fsync(self.file.fileno())
        return self.file.tell()


def read_events(path: Path, start: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Events from a byte offset on, each with the offset behind it."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n"):
                return
            start += len(line)
            yield start, json.loads(line)


def last_event(path: Path) -> dict[str, Any] | None:
    """The latest whole event, found from the end of the file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            lines = file.read().split(b"\n")[1 if file.tell() > TAIL else 0 : -1]
    except FileNotFoundError:
        return None
    return json.loads(lines[-1]) if lines else None


def read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def write_whole(
    path: Path, content: str | Callable[[BinaryIO], object], *, new: bool = False
) -> None:
    """Write a file so that it appears whole or not at all, whatever is cut off meanwhile.

    After a loss of power the file is there as it is now or as it was before.

    Args:
        path: The file.
        content: Its text, or a function that writes it to an open file.
        new: Leave a file that is there already, by then, as it is.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            if isinstance(content, str):
                file.write(content.encode())
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
        if new:
            with suppress(FileExistsError):
                path.hardlink_to(partial)
        else:
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def all_runs(root: Path) -> list[RunDir]:
    """Every run under a root, oldest first."""
    found = (root / "runs").glob("*/run.json")
    return [RunDir(file.parent) for file in sorted(found, key=lambda file: file.stat().st_mtime)]


def run_directory(described: Any) -> Path | None:
    """The run that a path names, by its directory or its checkpoint; None where it names none."""
    if not isinstance(described, str):
        return None
    path = Path(described).parent if described.endswith("/checkpoint.pt") else Path(described)
    return path if (path / "config.yaml").is_file() else None
