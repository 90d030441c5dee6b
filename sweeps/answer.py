"""What a search has found: printed, as files, as plots."""

import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState
from rich.table import Table

from runner.console import console
from runner.rundir import write_whole
from runner.sweepdir import ANSWER, ANSWERS, SweepDir
from sweeps.study import METRICS, Study

SHOWN = 10
"""Most trials of a front in the printed table."""

DPI = 120

OF_VALUES = "optimization_history", "slice", "contour"
"""Plots that have an axis for the value, and a name for it."""

PANEL = 3.5
"""Inches of a panel of the contour plot, which has one for each pair of parameters."""


def leave(study: Study, folder: SweepDir, command: Callable[[FrozenTrial], str]) -> None:
    """Print the answer and leave it in the sweep's directory.

    Args:
        study: The study.
        folder: The sweep's.
        command: The command line of a trial.
    """
    best = study.best()
    if not best:
        console.print("no trial has a value")
        return
    where = folder.path / ANSWERS
    where.mkdir(exist_ok=True)
    console.print(table(study, best))
    console.print(command(best[0]))
    entries = [entry(study, trial, command(trial)) for trial in best]
    shown = entries[0] if len(study.goal.metrics) == 1 else entries
    write_whole(where / "best.yaml", yaml.safe_dump(shown, sort_keys=False, allow_unicode=True))
    found = importances(study)
    if found:
        shares = ", ".join(f"{name} {share:.2f}" for name, share in found.items())
        console.print(f"importance: {shares}")
    with console.status("plots"):
        plots(study, where)
    answer = {"best": entries, "importances": found, "trials": len(study.trials())}
    write_whole(folder.path / ANSWER, json.dumps(answer, indent=1))


def entry(study: Study, trial: FrozenTrial, command: str) -> dict[str, Any]:
    """A trial as plain values."""
    return {
        "trial": trial.number,
        "values": dict(zip(study.goal.metrics, trial.values, strict=True)),
        "params": dict(trial.params),
        "command": command,
        "metrics": trial.user_attrs.get(METRICS, {}),
    }


def table(study: Study, best: Sequence[FrozenTrial]) -> Table:
    """The best trial, or the front, beside how many there were."""
    states = [trial.state for trial in study.trials()]
    counts = ", ".join(
        f"{states.count(state)} {state.name.lower()}"
        for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        if state in states
    )
    what = "best" if len(study.goal.metrics) == 1 else "no other trial is better in every respect"
    shown = Table(title=f"{what} (trials: {counts})", title_justify="left")
    for column in ("trial", *study.goal.metrics, *best[0].params):
        shown.add_column(column)
    for trial in best[:SHOWN]:
        values = [f"{value:.4g}" for value in trial.values]
        params = [
            f"{value:.4g}" if isinstance(value, float) else str(value)
            for value in trial.params.values()
        ]
        shown.add_row(str(trial.number), *values, *params)
    return shown


def importances(study: Study) -> dict[str, float]:
    """How much of the spread of the values each parameter explains; {} where that is unknown."""
    if len(study.goal.metrics) > 1:
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dict(optuna.importance.get_param_importances(study.optuna))
    except (ValueError, RuntimeError):  # too few trials, or all alike
        return {}


def plots(study: Study, folder: Path) -> None:
    """Optuna's plots as HTML and PNG; those that a study is too small for are left out."""
    several = len(study.goal.metrics) > 1
    names = ["pareto_front"] if several else ["optimization_history", "slice"]
    if study.prunes:
        names.append("intermediate_values")
    if not several and len(importances(study)) > 1:
        names += ["param_importances", "contour"]
    for name in names:
        named = {"target_name": study.goal.metrics[0]} if name in OF_VALUES else {}
        try:
            draw(study.optuna, name, folder, named)
        except (ValueError, RuntimeError) as error:
            console.print(f"no plot {name}: {error}")


def draw(study: optuna.Study, name: str, folder: Path, named: Mapping[str, str]) -> None:
    """One plot: plotly's as a page of its own, matplotlib's as a picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot
    from optuna import visualization
    from optuna.visualization import matplotlib as pictures

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        page = getattr(visualization, f"plot_{name}")(study, **named)
        page.write_html(folder / f"{name}.html", include_plotlyjs=True)
        getattr(pictures, f"plot_{name}")(study, **named)
        figure = pyplot.gcf()
        if name == "contour":
            across = PANEL * math.sqrt(len(figure.axes))
            figure.set_size_inches(across, across)
        figure.savefig(folder / f"{name}.png", dpi=DPI, bbox_inches="tight")
        pyplot.close("all")
