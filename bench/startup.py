"""Commands that must answer at once: wall time from the start of the process to its end."""

import os
import subprocess
import sysconfig
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.measure import Row, Spread, interleaved

LIMIT = 0.5
ROUNDS = 20

COMPLETION = {"_RUNNER_COMPLETE": "bash_complete", "COMP_WORDS": "runner obj", "COMP_CWORD": "1"}
COMMANDS: dict[str, tuple[list[str], dict[str, str]]] = {
    "runner --help": (["--help"], {}),
    "runner list objectives": (["list", "objectives"], {}),
    "completion of runner obj": ([], COMPLETION),
}


def rows() -> list[Row]:
    """The time of each command."""
    commands = {name: partial(prepared, *command) for name, command in COMMANDS.items()}
    seconds = interleaved(commands, ROUNDS)
    return [Row(name, Spread.of(values), "s", LIMIT) for name, values in seconds.items()]


def prepared(arguments: list[str], variables: dict[str, str]) -> Callable[[], None]:
    runner = Path(sysconfig.get_path("scripts")) / "runner"

    def called() -> None:
        done = subprocess.run(
            [runner, *arguments], env=os.environ | variables, capture_output=True, check=True
        )
        if not done.stdout:
            raise AssertionError(f"runner {arguments} printed nothing")

    return called
