"""The code as it is now, copied: what queued jobs run, whatever is edited meanwhile."""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from runner.git import git
from runner.identity import INSTALLED, OURS, own_files

CHECKOUT = Path(__file__).resolve().parents[2]
"""Where this runner is from."""

LARGEST = 10_000_000
"""Bytes; a larger file that git does not track is no code."""

STATE = "state.json"

Copies = dict[str, Path]
"""Files by where they go."""


@dataclass(frozen=True)
class Snapshot:
    """Code that nobody changes any more.

    Attributes:
        imports: The folders from which it is imported, for PYTHONPATH.
        state: A file with the commit that it is near, and how it differs.
    """

    imports: tuple[Path, ...]
    state: Path


def snapshot(folder: Path, targets: Iterable[str], results: Iterable[Path] = ()) -> Snapshot:
    """Copy the working directory's code and the runner's own.

    Of a git repository these are the files that it tracks, and those that it does not ignore; of
    another folder conf/, the Python files, and the packages in use. Packages that are installed
    are left out. A copy is named by its content, so that none is ever changed.

    Args:
        folder: Where copies are kept.
        targets: The dotted names in use; their files are copied wherever they are.
        results: Folders that hold no code.
    """
    from runner.environment import code_state

    left_out = {place.resolve() for place in (folder, *results)}
    copies: Copies = {}
    imports: list[str] = []
    names: dict[Path, str] = {}
    for place, used in places(targets).items():
        top = repository(place)
        found, base = (loose(place, used), place) if top is None else (tracked(top), top)
        if base not in names:
            names[base] = f"{base.name}-{len(names)}"
            kept = (file for file in found if left_out.isdisjoint(file.parents))
            copies |= {f"{names[base]}/{file.relative_to(base)}": file for file in kept}
        imports.append(str(Path(names[base]) / place.relative_to(base)))
    copy = stored(folder, copies, json.dumps(code_state(Path.cwd())))
    existing = (copy / name for name in imports)
    return Snapshot(tuple(place for place in existing if place.is_dir()), copy / STATE)


def places(targets: Iterable[str]) -> dict[Path, set[str]]:
    """Folders from which own code is imported, first comes first, with what is in use of each."""
    here = Path.cwd().resolve()
    found = {here: {"conf"}}
    if INSTALLED.isdisjoint(CHECKOUT.parts):
        found.setdefault(CHECKOUT, set()).update({*OURS, "hydra_plugins", "conf"})
    own = [file.resolve() for file in own_files(targets)]
    for entry in (Path(entry).resolve() for entry in sys.path):
        for file in own:
            if file.is_relative_to(entry) and INSTALLED.isdisjoint(file.parts):
                found.setdefault(entry, set()).add(file.relative_to(entry).parts[0])
    return found


def repository(folder: Path) -> Path | None:
    """The top of the git repository that a folder belongs to."""
    top = git(folder, "rev-parse", "--show-toplevel").removesuffix("\n")
    ignored = git(folder, "check-ignore", ".")
    return Path(top).resolve() if top and not ignored else None


def tracked(top: Path) -> Iterator[Path]:
    """The files of a repository that it tracks or does not ignore, those of submodules included."""
    for name in set(git(top, "ls-files", "-z").split("\0")) - {""}:
        file = top / name
        if file.is_dir() and not file.is_symlink():
            yield from tracked(file)
        elif file.exists():
            yield file
    for name in git(top, "ls-files", "-z", "--others", "--exclude-standard").split("\0"):
        file = top / name
        if name and file.is_file() and file.stat().st_size <= LARGEST:
            yield file


def loose(place: Path, used: Iterable[str]) -> Iterator[Path]:
    """The Python files of a folder that is no repository, and what is in use below it."""
    yield from place.glob("*.py")
    for name in used:
        for file in (place / name).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file


def stored(folder: Path, copies: Copies, state: str) -> Path:
    """The copy of these files, and of the state that they are in, made unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    partial, digest = Path(mkdtemp(prefix=".partial-", dir=folder)), hashlib.sha256(state.encode())
    try:
        (partial / STATE).write_text(state)
        for name, file in sorted(copies.items()):
            target = partial / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target, follow_symlinks=not file.is_dir())
            digest.update(name.encode() + b"\0")
            digest.update(b"" if target.is_dir() else hashlib.sha256(target.read_bytes()).digest())
        copy = folder / digest.hexdigest()[:12]
        if not copy.exists():
            partial.chmod(0o755)
            partial.rename(copy)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return copy.absolute()
