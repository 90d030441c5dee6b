"""Run benchmarks, print their results and write them to README.md beside this file."""

import datetime
import os
import platform
import re
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from bench import (
    charlm,
    embeddings,
    ingest,
    launch,
    ldr,
    logprobs,
    loop,
    objectives,
    pipeline,
    planning,
    policies,
    report,
    search,
    speedup,
    startup,
    tasks,
    tpe,
)
from bench.measure import Row

README = Path(__file__).with_name("README.md")
BENCHMARKS = {
    "loop": ("Training loop: runner / bare PyTorch", loop),
    "ldr": ("Loss: forward and backward pass", ldr),
    "objectives": ("Losses: ours / a library's", objectives),
    "embeddings": ("Losses of pairs: large batches", embeddings),
    "logprobs": ("Log-probabilities: large vocabulary", logprobs),
    "policies": ("Policies: runner / trl", policies),
    "startup": ("Start of a command", startup),
    "launch": ("Launch: what a job costs", launch),
    "speedup": ("Launch: two slots / one process", speedup),
    "planning": ("Planning a sweep", planning),
    "report": ("Report of many runs", report),
    "search": ("Search: what a trial costs", search),
    "tpe": ("Search: TPE beside random search", tpe),
    "ingest": ("MLflow: ingest", ingest),
    "pipeline": ("Augmented images: runner / DataLoader", pipeline),
    "charlm": ("Next characters: runner / plain PyTorch", charlm),
    "tasks": ("Tasks: results, time, memory", tasks),
}
COLUMNS = ("", "median", "quartiles", "target", "")

ABOUT = """\
# Benchmarks

    make bench                        # or: python -m bench, an hour
    python -m bench loop ldr          # some of them, by the names of their modules

rewrites the sections of this page. Every number is the median of many rounds; what is compared is
measured in turn within a round, in a new order each time, and a ratio is one round's. The
quartiles say how noisy the machine was. Ratios are of one PyTorch thread. Tests never measure time.
"""


def main(names: list[str]) -> None:
    """Measure, print, write: all benchmarks, or those named."""
    sections = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", README.read_text(), re.M | re.S))
    console = Console()
    for name in names or BENCHMARKS:
        title, benchmark = BENCHMARKS[name]
        with console.status(title):
            rows = [cells(row) for row in benchmark.rows()]
        console.print(table(title, rows))
        sections[title] = f"\n{benchmark.__doc__}\nMeasured {machine()}.\n\n{markdown(rows)}\n"
        titles = [title for title, _ in BENCHMARKS.values() if title in sections]
        text = "".join(f"\n## {title}\n{sections[title].rstrip()}\n" for title in titles)
        README.write_text(ABOUT + text)


def cells(row: Row) -> tuple[str, ...]:
    """A row as text."""
    value = row.value
    return (
        row.what,
        f"{value.median:.4g} {row.unit}".strip(),
        f"{value.low:.4g} – {value.high:.4g}",
        row.target,
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
    main(sys.argv[1:])
