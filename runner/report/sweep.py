"""The table that a run and a sweep end with."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from rich.table import Table

from runner.console import console
from runner.report.terminal import print_table
from runner.statistics import interval

SHORT = 8
"""Digits of a digest that are shown."""

TITLE = "test metrics, mean ± 95 % confidence interval over seeds"

Result = tuple[dict[str, Any], dict[str, Any]]
"""What was planned (run.json) and how it stands (status.json)."""


def print_run(metrics: dict[str, float], path: str) -> None:
    """The final metrics of one run."""
    table = Table("metric", "value", title="final metrics", title_justify="left")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.4g}")
    console.print(table)
    console.print(f"run {path}")


def print_sweep(results: Iterable[Result]) -> None:
    """Test metrics of each setting of a sweep: mean and 95 % confidence interval over its seeds."""
    settings: dict[str, list[dict[str, float]]] = defaultdict(list)
    planned = []
    for run, status in results:
        planned.append(run)
        settings[run["setting"]].append(status.get("metrics", {}))
    names = list(
        dict.fromkeys(
            name
            for runs in settings.values()
            for metrics in runs
            for name in metrics
            if name.startswith("test/")
        )
    )
    rows = []
    for setting, runs in settings.items():
        finished = [metrics for metrics in runs if metrics]
        cells = (str(interval([m[n] for m in finished if n in m])) for n in names)
        rows.append([setting, f"{len(finished)}", *cells])
    print_table(TITLE, ["setting", "seeds", *names], rows, telling=2)
    console.print(origin_line(planned))


def origin_line(planned: Iterable[dict[str, Any]]) -> str:
    """Which code and which data runs are of, by the beginnings of their digests."""
    kinds = ("code", "data")
    found: dict[str, dict[str, None]] = {kind: {} for kind in kinds}
    for run in planned:
        for kind in kinds:
            found[kind][run.get(kind, "?")[:SHORT] or "none"] = None
    return "  ".join(f"{kind} {' '.join(found[kind])}" for kind in kinds)
