"""Which runs a report is about."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from objectives.errors import InputError
from runner.report.index import Run, read_runs, unreadable
from runner.sweepdir import SweepDir, all_sweeps

KINDS = ("task", "objective", "experiment")


@dataclass(frozen=True)
class Selection:
    """Runs, and where what is said of them belongs.

    Attributes:
        runs: The runs.
        name: What they are.
        folder: Where the report goes.
        unreadable: Run directories of which nothing can be said.
    """

    runs: list[Run]
    name: str
    folder: Path
    unreadable: list[str]


def select(root: Path, words: Sequence[str]) -> Selection:
    """The runs that words name, each a task, an objective, an experiment or a sweep; all without.

    Raises:
        InputError: There are no runs, or none that a word names.
    """
    runs = read_runs(root)
    if not runs:
        raise InputError(f"there are no runs under {root}; name another folder with root=PATH.")
    sweeps, damaged = all_sweeps(root), unreadable(root, runs)
    if not words:
        return Selection(runs, "all runs", root / "report", damaged)
    wanted: set[str] = set()
    for word in words:
        wanted |= _named(word, runs, sweeps)
    folder = root / "report"
    if len(words) == 1 and not _of_kind(words[0], runs):
        folder = _beginning(words[0], sweeps)[0].path / "report"
    chosen = [run for run in runs if run.signature in wanted]
    return Selection(chosen, " ".join(words), folder, damaged)


def _of_kind(word: str, runs: Iterable[Run]) -> set[str]:
    return {run.signature for run in runs if word in (run.task, run.objective, run.experiment)}


def _beginning(word: str, sweeps: Iterable[SweepDir]) -> list[SweepDir]:
    """The sweeps whose names begin so; a path of one will do."""
    name = Path(word).name
    return [sweep for sweep in sweeps if name and sweep.path.name.startswith(name)]


def _named(word: str, runs: list[Run], sweeps: list[SweepDir]) -> set[str]:
    found = _of_kind(word, runs)
    if found:
        return found
    matching = _beginning(word, sweeps)
    if not matching:
        raise InputError(
            f"{word} is nothing to report on; there are {_what_there_is(runs, sweeps)}."
        )
    if len(matching) > 1:
        names = ", ".join(sweep.path.name for sweep in matching)
        raise InputError(f"{word} may be one of the sweeps {names}: give more of its name.")
    return set(matching[0].signatures)


def _what_there_is(runs: list[Run], sweeps: list[SweepDir]) -> str:
    return "; ".join(_lists(runs, sweeps))


def _lists(runs: list[Run], sweeps: list[SweepDir]) -> Iterator[str]:
    for kind in KINDS:
        names = sorted({getattr(run, kind) for run in runs} - {""})
        if names:
            yield f"{kind}s {', '.join(names)}"
    if sweeps:
        yield f"sweeps {', '.join(sweep.path.name for sweep in sweeps[-10:])} (see runner status)"
