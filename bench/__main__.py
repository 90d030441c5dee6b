"""Run all benchmarks, print their results and write them to README.md beside this file."""

import datetime
import os
import platform
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from bench import ldr, loop, startup
from bench.measure import Row, Spread

README = Path(__file__).with_name("README.md")
BENCHMARKS = {
    "Training loop: runner / bare PyTorch": loop,
    "Loss: forward and backward pass": ldr,
    "Start of a command": startup,
}
COLUMNS = ("", "median", "quartiles", "target", "")

ABOUT = """\
# Benchmarks

    make bench        # or: python -m bench

rewrites this page. Every number is the median of many rounds; what is compared is measured in
turn within a round, in a new order each time, and a ratio is one round's. The quartiles say how
noisy the machine was. PyTorch uses one thread. Tests never measure time.

"""


def main() -> None:
    """Measure, print, write."""
    console, text = Console(), ABOUT
    text += f"Measured {machine()}.\n"
    for title, benchmark in BENCHMARKS.items():
        with console.status(title):
            rows = [cells(row) for row in benchmark.rows()]
        console.print(table(title, rows))
        text += f"\n## {title}\n\n{benchmark.__doc__}\n{markdown(rows)}"
    README.write_text(text)


def cells(row: Row) -> tuple[str, ...]:
    """A row as text."""
    target = f"≤ {row.limit:g} {row.unit}" if row.limit is not None else ""
    value: Spread = row.value
    return (
        row.what,
        f"{value.median:.3f} {row.unit}",
        f"{value.low:.3f} – {value.high:.3f}",
        target,
        row.verdict,
    )


def table(title: str, rows: list[tuple[str, ...]]) -> Table:
    shown = Table(*COLUMNS, title=title, title_justify="left")
    for row in rows:
        shown.add_row(*row)
    return shown


def markdown(rows: list[tuple[str, ...]]) -> str:
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def machine() -> str:
    """When and on what."""
    today = datetime.datetime.now(datetime.UTC).date()
    return (
        f"on {today}: {os.cpu_count()} cores ({platform.machine()}), "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


if __name__ == "__main__":
    main()
