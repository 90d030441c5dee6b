"""A sweep's directory: `sweeps/<id>/`.

    manifest.json  overrides, and the signatures of its members; written once
    members.txt    further members' signatures, a line each, as a search takes them up
    answer.json    what a search has found; there as long as it is finished
    answer/        the same for people: plots, best.yaml
    lock           held by the coordinator for as long as it lives, with its process id and host

The same members are the same sweep. A run belongs to as many sweeps as name it.
"""

import fcntl
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from objectives.errors import InputError
from runner.rundir import RunDir, is_held, read_json, write_whole

MEMBERS, ANSWER = "members.txt", "answer.json"
ANSWERS = "answer"
"""Folder of what is to be shown beside it: plots and tables."""


class SweepDir:
    """One sweep's directory.

    Attributes:
        path: Where it is.
    """

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def of(cls, root: Path, signatures: Iterable[str]) -> "SweepDir":
        """The directory of the sweep that has these members."""
        identity = hashlib.sha256(json.dumps(sorted(signatures)).encode()).hexdigest()[:12]
        return cls(root / "sweeps" / identity)

    def plan(self, signatures: list[str], overrides: list[str], **facts: Any) -> None:
        """Note the members, and further facts, once."""
        if not (self.path / "manifest.json").exists():
            self.path.mkdir(parents=True, exist_ok=True)
            manifest = {
                "id": self.path.name,
                "created": time.time(),
                "overrides": overrides,
                "members": signatures,
                **facts,
            }
            write_whole(self.path / "manifest.json", json.dumps(manifest, indent=1))

    def add(self, signatures: Iterable[str]) -> None:
        """Note further members."""
        with (self.path / MEMBERS).open("a") as file:
            file.writelines(f"{signature}\n" for signature in signatures)

    @property
    def signatures(self) -> list[str]:
        """The members' signatures, each once, in the order of the sweep."""
        file = self.path / MEMBERS
        added = file.read_text().split("\n")[:-1] if file.exists() else []  # the last may be torn
        return list(dict.fromkeys([*self.manifest["members"], *added]))

    @property
    def is_complete(self) -> bool:
        """Whether no further member is to come."""
        return not self.manifest.get("search") or (self.path / ANSWER).exists()

    @property
    def answered(self) -> float:
        """When a search last had an answer; 0 where none has."""
        file = self.path / ANSWER
        return file.stat().st_mtime if file.exists() else 0.0

    @property
    def manifest(self) -> dict[str, Any]:
        """What was noted: id, created, overrides, members; `search` where more are to come."""
        return read_json(self.path / "manifest.json")

    def members(self) -> list[RunDir]:
        """The runs, in the order of the sweep."""
        runs = self.path.parents[1] / "runs"
        return [RunDir(runs / signature) for signature in self.signatures]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the coordinator.

        Raises:
            InputError: Another process is.
        """
        with (self.path / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid, host = self.coordinator() or ("?", "?")
                raise InputError(
                    f"process {pid} on {host} is at work on this sweep; "
                    f"see runner status {self.path.name}, or stop it with runner cancel "
                    f"{self.path.name}."
                ) from None
            lock.truncate(0)
            lock.write(f"{os.getpid()} {socket.gethostname()}")
            lock.flush()
            yield

    def coordinator(self) -> tuple[int, str] | None:
        """Process id and host of the coordinator, where there is one."""
        file = self.path / "lock"
        if not is_held(file):
            return None
        pid, _, host = file.read_text().partition(" ")
        return int(pid), host


def all_sweeps(root: Path) -> list[SweepDir]:
    """Every sweep under a root, oldest first."""
    found = (root / "sweeps").glob("*/manifest.json")
    return [SweepDir(file.parent) for file in sorted(found, key=lambda file: file.stat().st_mtime)]
