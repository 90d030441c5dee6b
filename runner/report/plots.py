"""The plots of a report, as PNG files held in memory."""

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from runner.report.curves import Curve, curve
from runner.report.series import (
    Line,
    Point,
    axes,
    by_objective,
    front,
    is_log,
    labelled,
    line,
    numeric_keys,
    points,
)
from runner.report.settings import Setting
from runner.report.tables import Report
from runner.report.verdicts import Contest
from runner.statistics import Interval

COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#000000",
    "#8c6d31",
    "#7f7f7f",
    "#6a3d9a",
)
"""Told apart by eyes that do not see all colours; then again with another line and marker."""

LINES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D")
STYLE: Any = {
    "text.parse_math": False,  # a name may hold dollars
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 120,
}
NOTHING = Interval(math.nan, math.nan, 0)

WIDTH, HEIGHT = 4.2, 3.4
LEFT, EDGE, BOTTOM, TOP = 0.8, 0.15, 0.5, 0.35
"""Inches of a panel, and around its axes."""

TICKS = 5

PANELS = 24
"""Most panels of a figure."""

Style = dict[str, Any]
Draw = Callable[[Axes, Contest], None]


class Plot(NamedTuple):
    """A figure.

    Attributes:
        name: Of its file, without ending.
        title: What it shows.
        png: The picture.
    """

    name: str
    title: str
    png: bytes


def figures(report: Report, runs: Path, metrics: Sequence[str] = ()) -> list[Plot]:
    """Every plot that there is something to show on.

    Args:
        report: What is shown.
        runs: The folder of all runs, whose events the learning curves are of.
        metrics: Two metrics of the Pareto plot, instead of training time and what judges.
    """
    found = report.contests
    if not found:
        return []
    styles = _styles(found)
    with mpl.rc_context(STYLE):
        made = [_curves(found, styles, runs)]
        made += [_against(found, key, styles) for key in numeric_keys(found)]
        made += [_heat_map(found)] if len([c for c in found if c.latest]) > 1 else []
        made.append(_pareto(found, styles, metrics))
    return made


def _styles(found: Sequence[Contest]) -> dict[str, Style]:
    """How every objective is drawn, the same in all plots."""
    names = sorted({setting.objective for contest in found for setting in contest.settings})
    return {
        name: {
            "color": COLOURS[number % len(COLOURS)],
            "linestyle": LINES[number // len(COLOURS) % len(LINES)],
            "marker": MARKERS[number // len(COLOURS) % len(MARKERS)],
        }
        for number, name in enumerate(names)
    }


def _panels(name: str, title: str, found: Sequence[Contest], draw: Draw) -> Plot:
    """A panel a contest, each with a legend of its own."""
    shown = found[:PANELS]
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    width, height = columns * WIDTH + 2 * (columns == 1), rows * HEIGHT
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(**_margins(width, height, columns, rows))
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    explained: set[str] = set()
    for panel, contest in zip(grid, shown, strict=False):
        draw(panel, contest)
        panel.set_title(contest.name)
        if panel.get_xscale() == "linear":
            panel.locator_params(axis="x", nbins=5)
        explained |= _explain(panel, explained)
    for panel in grid[len(shown) :]:
        panel.set_visible(False)
    return Plot(name, title + _left_out(found), png(figure))


def _left_out(found: Sequence[Contest]) -> str:
    return f" (the first {PANELS} of {len(found)} tasks)" if len(found) > PANELS else ""


def _explain(panel: Axes, known: set[str]) -> set[str]:
    """A legend where there is something that no panel before has explained."""
    labels = set(panel.get_legend_handles_labels()[1])
    if not labels <= known:
        panel.legend(fontsize=7, framealpha=0.6)
    return labels


def _margins(width: float, height: float, columns: int, rows: int) -> dict[str, float]:
    """Room for labels, in shares of a figure of so many inches; a layout engine takes seconds."""
    wide = (width - LEFT * columns - EDGE) / columns
    high = (height - (BOTTOM + TOP) * rows) / rows
    return {
        "left": LEFT / width,
        "right": 1 - EDGE / width,
        "bottom": BOTTOM / height,
        "top": 1 - TOP / height,
        "wspace": LEFT / wide,
        "hspace": (BOTTOM + TOP) / high,
    }


def png(figure: Figure) -> bytes:
    """A figure as a PNG file."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _curves(found: Sequence[Contest], styles: dict[str, Style], runs: Path) -> Plot:
    def draw(panel: Axes, contest: Contest) -> None:
        metric = f"val/{contest.metric}"
        for objective in sorted(contest.best):
            setting = contest.best[objective]
            look = styles[objective] | {"label": labelled(setting, contest)}
            _curve(panel, curve(setting, metric, runs), look)
        panel.set(xlabel="step", ylabel=metric)

    title = "Learning curves of the best settings, mean and 95 % band over seeds"
    return _panels("learning_curves", title, found, draw)


def _curve(panel: Axes, found: Curve, style: Style) -> None:
    if not found.steps:
        return
    few = {"markersize": 3, "marker": style["marker"] if len(found.steps) < 25 else ""}
    panel.plot(found.steps, found.mean, **style | few)
    low, high = found.mean - found.half, found.mean + found.half
    panel.fill_between(found.steps, low, high, color=style["color"], alpha=0.15, linewidth=0)


def _against(found: Sequence[Contest], key: str, styles: dict[str, Style]) -> Plot:
    having = [c for c in found if any(line(s, key) for s in by_objective(c).values())]

    def draw(panel: Axes, contest: Contest) -> None:
        drawn = []
        for objective, settings in by_objective(contest).items():
            if made := line(settings, key):
                _line(panel, made, contest, styles[objective])
                drawn += made.settings
            elif objective in contest.best:
                _level(panel, contest.best[objective], contest, styles[objective])
        panel.set(xlabel=key, ylabel=f"test/{contest.metric}")
        ticks = sorted({setting.values[key] for setting in drawn})
        if is_log(key, drawn):
            panel.set_xscale("log")
            panel.minorticks_off()
            ticks = ticks[:: -(-len(ticks) // TICKS)]
            panel.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])

    title = (
        f"Test metric against {key}, mean ± 95 % interval; whatever else was swept is chosen "
        "on validation; a level line is an objective without values of it"
    )
    return _panels(f"against_{safe(key)}", title, having, draw)


def _line(panel: Axes, made: Line, contest: Contest, style: Style) -> None:
    spreads = [setting.spread(f"test/{contest.metric}") for setting in made.settings]
    means, bars = [spread.mean for spread in spreads], [_bar(spread) for spread in spreads]
    look = style | {"label": made.settings[0].objective, "capsize": 3, "markersize": 4}
    panel.errorbar(made.values, means, bars, **look)


def _bar(found: Interval) -> float:
    """Half the height of an error bar; of no height where one seed says nothing of it."""
    return 0.0 if math.isnan(found.half) else found.half


def _level(panel: Axes, setting: Setting, contest: Contest, style: Style) -> None:
    found = setting.spread(f"test/{contest.metric}")
    if math.isfinite(found.mean):
        plain = {**style, "linestyle": (0, (1, 1)), "marker": ""}
        panel.axhline(found.mean, label=setting.objective, **plain)
        if math.isfinite(found.half):
            low, high = found.mean - found.half, found.mean + found.half
            panel.axhspan(low, high, color=style["color"], alpha=0.08, linewidth=0)


def safe(text: str) -> str:
    """A word that can be a file's name."""
    return "".join(char if char.isalnum() else "_" for char in text)


def _heat_map(found: Sequence[Contest]) -> Plot:
    current = [contest for contest in found if contest.latest]
    shown = current[:PANELS]
    names = sorted({objective for contest in shown for objective in contest.best})
    cells = [
        [c.best[n].spread(f"test/{c.metric}") if n in c.best else NOTHING for c in shown]
        for n in names
    ]
    signs = np.array([1 if contest.maximize else -1 for contest in shown])
    shares = scaled(signs * [[cell.mean for cell in row] for row in cells])
    figure = Figure(figsize=(2.5 + 1.5 * len(shown), 1.8 + 0.42 * len(names)), layout="constrained")
    panel = figure.subplots()
    panel.imshow(shares, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    panel.set_facecolor("#eeeeee")
    for (row, column), share in np.ndenumerate(shares):
        look: Style = {
            "ha": "center",
            "va": "center",
            "color": "black" if share > 0.55 else "white",
        }
        panel.text(column, row, str(cells[row][column]) if share >= 0 else "", **look)
    labels = [f"{contest.name}\ntest/{contest.metric}" for contest in shown]
    panel.set_xticks(range(len(shown)), labels, rotation=30 if len(shown) > 6 else 0)
    panel.set_yticks(range(len(names)), names)
    panel.grid(visible=False)
    title = (
        "Objective × task: test metric of the best setting, mean ± 95 % interval; in a column, "
        "bright is better"
    )
    return Plot("objective_task", title + _left_out(current), png(figure))


def scaled(values: np.ndarray) -> np.ndarray:
    """Each column between 0, its worst, and 1, its best; NaN where there is nothing."""
    kept = np.where(np.isfinite(values), values, np.nan)
    low = np.fmin.reduce(kept, axis=0)
    span = np.fmax.reduce(kept, axis=0) - low
    share = (kept - low) / np.where(span > 0, span, 1)
    return np.where(span > 0, share, np.where(np.isfinite(kept), 1.0, np.nan))


def _pareto(found: Sequence[Contest], styles: dict[str, Style], metrics: Sequence[str]) -> Plot:
    def draw(panel: Axes, contest: Contest) -> None:
        by = axes(contest, metrics)
        shown = points(contest, by)
        for objective in sorted({point.objective for point in shown}):
            own = [point for point in shown if point.objective == objective]
            _scatter(panel, own, {**styles[objective], "linestyle": "", "label": objective})
        edge = front(shown, by)
        panel.plot([p.x.mean for p in edge], [p.y.mean for p in edge], color="black", lw=0.8)
        panel.set(xlabel=by[0].label, ylabel=by[1].label)

    title = (
        "Pareto: every setting by two metrics, mean ± 95 % interval; the line joins those that "
        "none beats in both"
    )
    return _panels("pareto", title, found, draw)


def _scatter(panel: Axes, found: Sequence[Point], style: Style) -> None:
    xs, ys = [point.x for point in found], [point.y for point in found]
    means = [x.mean for x in xs], [y.mean for y in ys]
    bars = [_bar(y) for y in ys], [_bar(x) for x in xs]
    panel.errorbar(*means, *bars, elinewidth=0.7, markersize=5, alpha=0.7, **style)
