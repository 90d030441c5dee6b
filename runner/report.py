"""Tables of results."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from rich.table import Table

from runner.console import console
from runner.statistics import interval

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
    for run, status in results:
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
    table = Table(
        "setting",
        "seeds",
        *names,
        title_justify="left",
        title="test metrics, mean ± 95 % confidence interval over seeds",
    )
    for setting, runs in settings.items():
        finished = [metrics for metrics in runs if metrics]
        cells = (str(interval([m[n] for m in finished if n in m])) for n in names)
        table.add_row(setting, f"{len(finished)}", *cells)
    console.print(table)
