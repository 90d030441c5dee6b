"""Summaries of run directories, and an index of them so that thousands are read at once.

The index is a file of SQLite beside the runs. It is a copy and never the truth: a run is read again
when its status has changed, and the whole is made anew where it is lost, broken, or of another
version of this module. Where it cannot be written, reports are made without it.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.identity import canonical, targets
from runner.rundir import RunDir, State

FILE = ".index.db"
VERSION = 1
"""Of what is stored; another one is thrown away."""

COLUMNS = "signature TEXT PRIMARY KEY, stamp TEXT, summary TEXT"

DIGITS = 8
"""Of a commit that are kept."""

NO_SETTING = {"seed", "device"}
"""Keys, at any depth, that do not make runs of one setting different."""


@dataclass(frozen=True)
class Run:
    """What a report knows of a run.

    Attributes:
        seed: Its seed.
        code: Digest of the source that it used; "" where it was not noted.
        data: Digest of its data files; "" without any, "?" where it was not noted.
        state: As written down.
        metrics: Final values, `split/name`.
        metric: What judges it, without its split; "" where it was not noted.
        maximize: Whether more of it is better.
        started: When its last attempt began, since the epoch; 0 where none has.
        seconds: How long its last attempt took; NaN where it has not ended.
        commit: Git commit of its last attempt, with a + for changes to it; "" where there is none.
        targets: Dotted names that its config instantiates.
        keys: What its overrides set.
        values: Its config, by dotted key, with the choice for each group.
        space: Where its hyperparameters may be searched.
        identity: Hash of its config without seed and device.
        problem: Hash of the part of its config that says what its data are.
    """

    signature: str
    seed: int
    task: str
    objective: str
    model: str
    experiment: str
    code: str
    data: str
    state: str
    metrics: dict[str, float]
    metric: str
    maximize: bool
    started: float
    seconds: float
    commit: str
    targets: list[str]
    keys: list[str]
    values: dict[str, Any]
    space: dict[str, Any]
    identity: str
    problem: str


def read_runs(root: Path) -> list[Run]:
    """Every run under a root, from the index where that still holds."""
    folder = root / "runs"
    stamps = dict(_stamps(folder))
    known = _load(folder / FILE)
    kept = {name: known[name][1] for name in stamps if known.get(name, ("",))[0] == stamps[name]}
    fresh = {name: run for name in stamps.keys() - kept.keys() if (run := _read(folder / name))}
    found = kept | fresh
    gone = known.keys() - found.keys()
    if fresh or gone:
        rows = [(name, stamps[name], json.dumps(vars(run))) for name, run in fresh.items()]
        _save(folder / FILE, rows, gone)
    return [_alive(folder, found[name]) for name in sorted(found)]


def unreadable(root: Path, runs: Iterable[Run]) -> list[str]:
    """Run directories that are not among the runs that could be read."""
    return sorted({name for name, _ in _stamps(root / "runs")} - {run.signature for run in runs})


def _stamps(folder: Path) -> Iterator[tuple[str, str]]:
    """What changes when a run does."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                status = Path(entry.path, "status.json").stat()
                yield entry.name, f"{status.st_mtime_ns}:{status.st_size}:{status.st_ino}"


def _read(path: Path) -> Run | None:
    """A run from its directory; None where that is not whole."""
    try:
        run, status = (_json(path / name) for name in ("run.json", "status.json"))
        return summary(run, status, _commit(path))
    except (OSError, ValueError, KeyError):
        return None


def summary(run: Mapping[str, Any], status: Mapping[str, Any], commit: str) -> Run:
    """What a report knows of a run, from what its directory says."""
    choices, meaning = run["choices"], run["meaning"]
    monitor = status.get("monitor") or {}
    started = status.get("started", 0.0)
    return Run(
        signature=run["signature"],
        seed=run["seed"],
        task=choices["task"],
        objective=choices["objective"],
        model=choices.get("model") or "",
        experiment=choices.get("experiment") or "",
        code=run.get("code", ""),
        data=run.get("data", "?"),
        state=status["state"],
        metrics=status.get("metrics", {}),
        metric=monitor.get("metric", ""),
        maximize=monitor.get("maximize", True),
        started=started,
        seconds=status.get("ended", float("nan")) - started,
        commit=commit,
        targets=list(targets(meaning)),
        keys=[override.lstrip("+~").partition("=")[0] for override in run["overrides"]],
        values=dict(_flat(meaning)) | choices,
        space=meaning.get("space") or {},
        identity=_hash(meaning),
        problem=_hash(meaning.get("task", {}).get("data")),
    )


def _alive(folder: Path, run: Run) -> Run:
    """The run, with the state that its lock tells where it may have died."""
    if run.state != State.RUNNING:
        return run
    return Run(**{**vars(run), "state": str(RunDir(folder / run.signature).state)})


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _commit(path: Path) -> str:
    """The commit of the last attempt, its first digits; a + says that there were changes."""
    try:
        commit = str(_json(path / "environment.json")[-1].get("git_commit") or "")[:DIGITS]
        changed = _size(path / "code.diff") > 0
    except (OSError, ValueError, LookupError):
        return ""
    return commit + "+" * (changed and bool(commit))


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{prefix}{key}.")
        elif not isinstance(item, list) or not any(isinstance(i, Mapping) for i in item):
            yield f"{prefix}{key}", canonical(item)


def _without_seed(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {key: item for key, item in value.items() if key not in NO_SETTING}
        return {key: _without_seed(item) for key, item in kept.items()}
    return [_without_seed(item) for item in value] if isinstance(value, list) else value


def _hash(value: Any) -> str:
    """Of a config, whatever the seed, and with 1 and 1.0 the same."""
    text = json.dumps(_without_seed(canonical(value)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _load(file: Path) -> dict[str, tuple[str, Run]]:
    """Stamps and summaries by signature; {} where there is no index that can be used."""
    if not file.exists():
        return {}
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as store:
            if store.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                return {}
            rows = store.execute("SELECT signature, stamp, summary FROM runs")
            return {name: (stamp, Run(**json.loads(text))) for name, stamp, text in rows}
    except (sqlite3.Error, ValueError, TypeError):
        return {}


def _save(file: Path, rows: list[tuple[str, str, str]], gone: set[str]) -> None:
    """Bring the index up to date: anew where it is broken, not at all where it is read-only."""
    try:
        _update(file, rows, gone)
    except sqlite3.OperationalError:
        return
    except sqlite3.DatabaseError:
        with suppress(OSError, sqlite3.Error):
            file.unlink()
            _update(file, rows, gone)


def _update(file: Path, rows: list[tuple[str, str, str]], gone: set[str]) -> None:
    with closing(sqlite3.connect(file)) as store, store:
        if store.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            store.execute("DROP TABLE IF EXISTS runs")
            store.execute(f"PRAGMA user_version = {VERSION}")
        store.execute(f"CREATE TABLE IF NOT EXISTS runs ({COLUMNS})")
        store.executemany("DELETE FROM runs WHERE signature = ?", [(name,) for name in gone])
        store.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?)", rows)
