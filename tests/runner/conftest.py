"""The command line called in this process, in an empty folder."""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner import cli


@dataclass(frozen=True)
class Said:
    """What a command left: exit status, standard output, standard error and messages."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, without tracking."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNNER_TRACKING", "off")
    monkeypatch.delenv("RUNNER_ROOT", raising=False)
    monkeypatch.delenv("RUNNER_DATA", raising=False)
    return tmp_path


@pytest.fixture
def command(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Call `runner` with arguments."""

    def call(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["runner", *arguments])
        monkeypatch.setattr(sys, "path", list(sys.path))
        code: object = 0
        handlers = logging.root.handlers[:]
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
        logging.root.handlers[:] = handlers  # Hydra's --info leaves one on this stdout
        said = capsys.readouterr()
        message = code if isinstance(code, str) else ""
        status = 1 if isinstance(code, str) else int(code or 0)  # type: ignore[call-overload]
        return Said(status, said.out, said.err + message)

    return call
