"""The coordinator's end of the fork server."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Set
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from runner.launch.slots import Slot

Message = dict[str, Any]

POLL = 0.2
"""Seconds between two looks at a silent server."""


class Forks:
    """A fork server of one's own; it and its workers are gone when the body ends."""

    def __init__(self) -> None:
        self.known: dict[str, set[Any]] = {"modules": set(), "targets": set()}

    def __enter__(self) -> Self:
        self.restart()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self._close()

    def restart(self) -> None:
        """Start a server, in a session of its own: Ctrl-C is for the coordinator alone."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runner.launch.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )
        self.buffer = b""
        known, self.known = self.known, {"modules": set(), "targets": set()}
        self.preload(**known)

    def preload(
        self, targets: Set[tuple[str, ...]] = frozenset(), modules: Set[str] = frozenset()
    ) -> None:
        """Have the server import what jobs will need, and read their source.

        Args:
            targets: The dotted names that each config instantiates.
            modules: Further modules.
        """
        news = {
            "modules": modules - self.known["modules"],
            "targets": targets - self.known["targets"],
        }
        if any(news.values()):
            self._say(preload={kind: sorted(names) for kind, names in news.items()})
        for kind, names in news.items():
            self.known[kind] |= names

    def check(
        self, configs: list[dict[str, Any]], slot: Slot
    ) -> tuple[str, list[tuple[str, bool]]]:
        """Build jobs to see whether it can be done.

        What the building has imported, the server imports too.

        Returns:
            What is wrong with one, or "", and the metric by which each is judged.
        """
        self._say(check=configs, environment=slot.environment, threads=slot.threads)
        while True:
            for message in self.messages(POLL):
                if not message:
                    raise RuntimeError("the process that starts the jobs died at its start")
                if "checked" in message:
                    self.preload(modules=set(message["imported"]))
                    monitors = [(str(name), bool(large)) for name, large in message["monitors"]]
                    return str(message["checked"]), monitors
                if "ended" in message:  # the checking process died: the jobs will say why
                    return "", []

    def start(self, run: Path, slot: Slot) -> None:
        """Start a worker for a planned run."""
        self._say(run=str(run), command=sys.argv, **asdict(slot))

    def signal(self, pid: int, number: int) -> None:
        """Send a worker a signal."""
        self._say(signal=number, pid=pid)

    def messages(self, patience: float) -> Iterator[Message]:
        """What the server has said, as it comes, for so many seconds; {} when it has died."""
        assert self.process.stdout is not None
        output = self.process.stdout.fileno()
        if not select.select([output], [], [], patience)[0]:
            return
        content = os.read(output, 65536)
        if not content:
            self._close()
            yield {}
            return
        *lines, self.buffer = (self.buffer + content).split(b"\n")
        yield from map(json.loads, lines)

    def _say(self, **order: Any) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # its death is read from the other pipe
            self.process.stdin.write(json.dumps(order).encode() + b"\n")

    def _close(self) -> None:
        """Let the server end."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
