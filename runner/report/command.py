"""`runner report`: tables on the terminal, plots and a page, or text for other programs."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from objectives.errors import InputError
from runner.console import console
from runner.identity import source_digest
from runner.places import places
from runner.report.formats import FORMATS
from runner.report.index import Run
from runner.report.select import select
from runner.report.settings import settings
from runner.report.tables import Report, Sheet
from runner.report.terminal import print_table


def report(given: Sequence[str], form: str = "", metrics: Sequence[str] = ()) -> None:
    """Say what came out of runs.

    Args:
        given: Tasks, objectives, experiments and sweeps, and root=PATH; all runs where none is.
        form: One of FORMATS, to standard output; "" prints tables, and writes plots and a page.
        metrics: Two metrics of the Pareto plot, instead of what judges and training time.

    Raises:
        InputError: There are no runs, or none that a word names, or not such metrics.
    """
    words = [word for word in given if "=" not in word]
    root = Path(places(tuple(word for word in given if "=" in word))["root"])
    sys.path.insert(0, str(Path.cwd()))  # a user's own source counts as it does for a run
    selection = select(root, words)
    if selection.unreadable:
        names = ", ".join(selection.unreadable)
        click.echo(f"left out, since they cannot be read: {names}", err=True)
    check_axes(metrics, selection.runs)
    made = Report.of(selection.name, settings(selection.runs, is_current))
    if form:
        click.echo(FORMATS[form](made), nl=False)
        return
    for sheet in made.sheets:
        print_sheet(sheet)
    write(made, root, selection.folder, metrics)


def check_axes(metrics: Sequence[str], runs: Sequence[Run]) -> None:
    """Whether the axes of the Pareto plot are metrics of the runs.

    Raises:
        InputError: They are not.
    """
    if len(metrics) not in {0, 2}:
        raise InputError("--metric is given twice, once an axis of the Pareto plot, or not at all.")
    known = sorted({name for run in runs for name in run.metrics})
    for given in metrics:
        name, _, aim = given.partition(":")
        if aim not in {"", "min", "max"}:
            raise InputError(f"--metric {given}: what comes after the colon is min or max.")
        if not {name, f"test/{name}"} & set(known):
            there = ", ".join(known) or "there are none"
            raise InputError(f"--metric {name} is none of the runs' metrics: {there}.")


def is_current(run: Run) -> bool:
    """Whether the source that a run used is what it would use now."""
    try:
        return run.code == source_digest(tuple(run.targets))
    except InputError:  # it cannot be parsed
        return False


def print_sheet(sheet: Sheet) -> None:
    """A table on the terminal, with its notes."""
    print_table(sheet.title, sheet.columns, sheet.rows, sheet.telling, sheet.strong)
    for note in sheet.notes:
        console.print(note)
    console.print()


def write(made: Report, root: Path, folder: Path, metrics: Sequence[str]) -> None:
    """Plots and a page that holds all."""
    from runner.report.page import page
    from runner.report.plots import figures

    try:
        folder.mkdir(parents=True, exist_ok=True)
        plots = figures(made, root / "runs", metrics)
        for plot in plots:
            (folder / f"{plot.name}.png").write_bytes(plot.png)
        (folder / "report.html").write_text(page(made, plots))
    except OSError as error:
        raise InputError(
            f"the report cannot be written to {folder}: {error.strerror}; "
            "--csv, --latex, --markdown and --json write no file."
        ) from None
    console.print(f"plots and page in {folder / 'report.html'}")
