"""Completion in the shells themselves: scripts sourced, keys typed."""

import os
import pty
import re
import select
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .commands import call, environment

pytestmark = pytest.mark.full

TYPED = [
    ("runner task=digits objective=l", "objective=ldr"),
    ("runner obj", "objective="),
    ("runner objective=ldr mar", "margin="),
    ("runner task=digits objective=ldr,cro", "objective=ldr,cross_entropy"),
    ("runner sh", "show"),
]
"""A line up to the cursor, and the only word that can stand there."""

SHELLS = ("bash", "zsh", "fish")
PATIENCE = 20.0
QUIET = 0.3
"""Seconds without output after which an idle shell waits for keys."""


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    if not shutil.which(request.param):
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.mark.parametrize(("line", "word"), TYPED)
def test_one_candidate(shell: str, line: str, word: str, tmp_path: Path) -> None:
    assert completed(shell, line, tmp_path) == [word]


def test_several_candidates(shell: str, tmp_path: Path) -> None:
    assert completed(shell, "runner objective=ldr ta", tmp_path) == ["task=", "tau="]
    found = completed(shell, "runner task=digits objective=", tmp_path)
    assert {"objective=ldr", "objective=cross_entropy", "objective=info_nce"} <= set(found)


def test_candidates_without_any_match(shell: str, tmp_path: Path) -> None:
    (tmp_path / "objective=zzz").touch()  # no file names where an option is meant
    assert completed(shell, "runner objective=zz", tmp_path) == []


@pytest.mark.parametrize("interactive", ["bash", "zsh"])
def test_keys_typed(interactive: str, tmp_path: Path) -> None:
    """A few letters and a tab, again and again, give the line that was meant: no blank after =."""
    if not shutil.which(interactive):
        pytest.skip(f"{interactive} is not installed")
    with terminal(interactive, tmp_path) as screen:
        screen.type("runner ta\t", until="sk=")
        screen.type("dig\t", until="its")
        screen.type(" obj\t", until="ective=")
        screen.type("l\t", until="dr")
        screen.type(" mar\t", until="gin=")
        screen.type("0.5\x01echo \r", until="runner task=digits objective=ldr margin=0.5\r\n")


def completed(shell: str, line: str, folder: Path) -> list[str]:
    """What a shell that is not interactive offers for a line."""
    source = {
        "bash": BASH.format(words=line, last=line.count(" ")),
        "zsh": ZSH.format(words=line, current=line.count(" ") + 1),
        "fish": f"runner completion fish | source; complete -C '{line}'",
    }[shell]
    plain = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    lines = call(shell, *plain, "-c", source, cwd=folder).splitlines()
    return list(dict.fromkeys(line.partition("\t")[0] for line in lines if line))


BASH = """
source <(runner completion bash)
COMP_WORDS=({words}); COMP_CWORD={last}; COMP_LINE='{words}'; COMP_POINT=${{#COMP_LINE}}
[ "$COMP_CWORD" -lt "${{#COMP_WORDS[@]}}" ] || COMP_WORDS+=('')
compopt() {{ :; }}  # may only be called while a key is pressed
$(complete -p runner | sed 's/.*-F \\([^ ]*\\).*/\\1/') runner
printf '%s\\n' "${{COMPREPLY[@]}}"
"""

ZSH = """
compdef() {{ : }}
compadd() {{ print -l -- ${{(P)@[-1]}} }}  # the real one only works under a cursor
source <(runner completion zsh)
words=({words}) CURRENT={current}
_runner_completion
"""


class Screen:
    """A shell at the other end of a pseudo-terminal."""

    def __init__(self, descriptor: int):
        self.descriptor = descriptor

    def type(self, keys: str, until: str) -> None:
        """Type keys and wait until a text appears; the keys' own echo does not count."""
        self.settle()
        os.write(self.descriptor, keys.encode())
        seen, end = "", time.monotonic() + PATIENCE
        while until not in seen:
            assert time.monotonic() < end, f"after {keys!r}: {seen!r} has no {until!r}"
            seen += self.read(1.0)

    def settle(self) -> None:
        """Wait until the shell says nothing more."""
        while self.read(QUIET):
            pass

    def read(self, patience: float) -> str:
        ready, _, _ = select.select([self.descriptor], [], [], patience)
        text = os.read(self.descriptor, 65536).decode(errors="replace") if ready else ""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]", "", text)


@contextmanager
def terminal(shell: str, folder: Path) -> Iterator[Screen]:
    """An interactive shell with the runner's completion."""
    words = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}[shell]
    child, descriptor = pty.fork()
    if not child:
        os.chdir(folder)
        os.execvpe(shell, words, environment(TERM="xterm", PS1="> ", COLUMNS="200"))
    screen = Screen(descriptor)
    try:
        prepare = "bindkey -e; autoload -Uz compinit; compinit -D; " if shell == "zsh" else ""
        screen.type(f"{prepare}source <(runner completion {shell}); echo re''ady\r", "ready")
        yield screen
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(descriptor)
