"""What a launch shows: a line for every job that ends; on a terminal a table of the rest."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from runner.console import console
from runner.job import outcome
from runner.launch.executor import Ended
from runner.rundir import RunDir, State

if TYPE_CHECKING:
    from runner.launch.launch import Launch

REDRAW = 0.5
"""Seconds between two tables."""

SHOWN = 20
"""Most running jobs in the table."""


@contextmanager
def view() -> Iterator["View"]:
    """A view that suits the console."""
    if not console.is_terminal:
        yield View(None)
        return
    with Live(console=console, transient=True, auto_refresh=False) as live:
        yield View(live)


class View:
    """Shows a launch again and again."""

    def __init__(self, live: Live | None):
        self.live, self.told, self.warned, self.drawn = live, 0, 0, 0.0

    def __call__(self, launch: "Launch") -> None:
        """Tell what is new."""
        for ended in launch.retried[self.warned :]:
            console.print(f"{failure(ended)}\n  it is tried again")
        self.warned = len(launch.retried)
        total = len(launch.ended) + len(launch.under_way)
        for number, ended in enumerate(launch.ended[self.told :], self.told + 1):
            if launch.stopping and ended.job.directory.recorded is State.PLANNED:
                continue  # it never began: nothing to tell
            if launch.is_fed:
                tell_failure(ended)
                continue
            line = failure(ended) if ended.reason else outcome(ended.job.name, ended.job.directory)
            console.print(f"[{number}/{total}] {line}")
        self.told = len(launch.ended)
        if self.live and time.monotonic() - self.drawn >= REDRAW:
            self.drawn = time.monotonic()
            self.live.update(table(launch), refresh=True)


def tell_failure(ended: Ended) -> None:
    """Tell of a job that did not end well; what became of the others, their feed tells."""
    if ended.reason and ended.job.directory.recorded is not State.PRUNED:
        console.print(failure(ended))


def failure(ended: Ended) -> str:
    """Why a job did not end well, and where to look."""
    return f"{ended.job.name}  {ended.reason}  {ended.job.directory.path / 'log.txt'}"


def table(launch: "Launch") -> Table | str:
    """What runs, and how many jobs wait, are done, failed and were stopped."""
    running = launch.executor.running
    done = sum(not ended.reason for ended in launch.ended)
    stopped = len(launch.ended) - done - launch.failed
    counts = (
        f"{len(launch.under_way) - len(running)} waiting, {len(running)} running, "
        f"{done} done, {launch.failed} failed" + (f", {stopped} stopped" if stopped else "")
    )
    return jobs_table(counts, [job.directory for job in running[:SHOWN]])


def jobs_table(title: str, runs: list[RunDir]) -> Table | str:
    """A row for each run under way; the title alone where there is none."""
    if not runs:
        return title
    table = Table(title=title, title_justify="left", expand=console.is_terminal)
    table.add_column("running", ratio=1, no_wrap=True)
    for column in ("step", "loss", "steps/s", "left"):
        table.add_column(column, justify="right", no_wrap=True)
    for run in runs:
        table.add_row(Tail(run.run["name"]), *progress(run))
    return table


class Tail:
    """A line that loses its start where there is no room: a job's name ends with what is swept."""

    def __init__(self, line: str):
        self.line = line

    def __rich_measure__(self, _: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, min(len(self.line), options.max_width))

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        room = options.max_width
        yield Text(self.line if len(self.line) <= room else f"…{self.line[1 - room :]}")


def progress(run: RunDir) -> tuple[str, str, str, str]:
    """Step, loss, speed and time left of a run under way, from its heartbeat."""
    signs = run.signs
    if not signs:
        return "", "", "", "starting"
    speed = (signs["step"] - signs["first"]) / max(time.time() - signs["since"], 1e-9)
    left = (signs["total"] - signs["step"]) / speed if speed else None
    loss = "" if signs["loss"] is None else f"{signs['loss']:.4g}"
    return f"{signs['step']}/{signs['total']}", loss, f"{speed:.0f}", duration(left)


def duration(seconds: float | None) -> str:
    """A time span as people say it."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes}:{rest:02}"
