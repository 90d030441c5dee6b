"""What the plots show: values worked by hand, and axes as matplotlib has them."""

import math

import numpy as np
import pytest
from made import make_run
from matplotlib.figure import Figure

from runner.report import plots
from runner.report.command import is_current
from runner.report.curves import band, curve, history
from runner.report.index import read_runs
from runner.report.series import axes, by_objective, front, is_log, line, points
from runner.report.settings import settings
from runner.report.tables import Report


def report_on(root):
    return Report.of("all", settings(read_runs(root), is_current))


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn."""
    figures: list[Figure] = []
    monkeypatch.setattr(plots, "png", lambda figure: figures.append(figure) or b"")
    return figures


def test_a_curve_is_the_mean_over_seeds_at_steps_that_all_have(tmp_path):
    for seed, values in enumerate([(1.0, 3.0, 9.0), (3.0, 7.0)]):
        events = [(10 * step, {"val/accuracy": v}) for step, v in enumerate(values)]
        make_run(tmp_path, "a", "ldr", seed, val=1, test=1, events=[*events, (0, {"x": 1})])
    (setting,) = report_on(tmp_path).settings
    found = curve(setting, "val/accuracy", tmp_path / "runs")
    assert found.steps == [0, 10]
    assert found.mean.tolist() == [2.0, 5.0]
    # standard deviations √2 and 2√2, t(0.975, 1) = 12.7062: half = 12.7062 · √2 / √2, and twice it
    assert found.half == pytest.approx([12.7062, 25.4124], rel=1e-4)


def test_one_seed_has_no_band_and_none_no_curve():
    mean, half = band(np.array([[1.0, 2.0]]))
    assert mean.tolist() == [1.0, 2.0]
    assert np.isnan(half).all()
    assert band(np.array([]))[0].size == 0


def test_a_torn_last_line_and_a_lost_file_are_tolerated(tmp_path):
    file = tmp_path / "events.jsonl"
    assert history(file, "val/x") == {}
    file.write_text('{"step": 1, "metrics": {"val/x": 2}}\n{"step": 2, "metrics": {"val/x": ')
    assert history(file, "val/x") == {1: 2}


def test_a_line_takes_at_each_value_what_validation_chose_of_the_rest(tmp_path):
    for tau, lr, val, test in [
        (0.1, 1, 0.9, 0.1),
        (0.1, 2, 0.8, 0.9),
        (0.5, 1, 0.2, 0.9),
        (0.5, 2, 0.3, 0.2),
    ]:
        make_run(tmp_path, "a", "ldr", 0, tau=tau, lr=lr, val=val, test=test)
    (contest,) = report_on(tmp_path).contests
    found = line(by_objective(contest)["ldr"], "tau")
    assert found.values == [0.1, 0.5]
    assert [setting.values["lr"] for setting in found.settings] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("space", "values", "log"),
    [
        ({"tau": {"log": [0.05, 5]}}, (0.1, 0.5), True),
        ({"tau": {"linear": [0, 5]}}, (0.001, 0.5), False),
        ({}, (0.1, 0.5), False),
        ({}, (0.001, 0.5), True),
        ({"tau": {"log": [0.05, 5]}}, (0.0, 0.5), False),
    ],
)
def test_an_axis_is_logarithmic_where_its_space_is(tmp_path, space, values, log):
    for tau in values:
        make_run(tmp_path, "a", "ldr", 0, tau=tau, val=0.5, test=0.5, space=space)
    assert is_log("tau", report_on(tmp_path).settings) is log


def test_the_panels_have_lines_bars_and_scales(tmp_path, drawn):
    for seed in range(2):
        for tau in (0.1, 0.5):
            made = {"tau": tau, "val": tau, "test": tau + seed}
            make_run(tmp_path, "a", "ldr", seed, **made, space={"tau": {"log": [0.05, 5]}})
        make_run(tmp_path, "a", "mae", seed, val=0.3, test=0.7)
    plots.figures(report_on(tmp_path), tmp_path / "runs")
    _, against, _ = drawn
    (panel,) = against.axes
    assert panel.get_xscale() == "log"
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("tau", "test/accuracy")
    ldr, level = panel.containers[0], panel.lines[-1]
    assert ldr.lines[0].get_xydata().ravel() == pytest.approx([0.1, 0.6, 0.5, 1.0])
    # of 0.1 and 1.1: standard deviation 1/√2, half 12.7062 · (1/√2) / √2 = 6.3531
    segment = ldr.lines[2][0].get_segments()[0]
    assert segment[1][1] - segment[0][1] == pytest.approx(2 * 6.3531, rel=1e-4)
    assert level.get_ydata() == [0.7, 0.7]


def test_the_front_is_of_what_none_beats_in_both(tmp_path):
    for name, seconds, test in [("w", 1, 0.2), ("x", 2, 0.6), ("y", 3, 0.5), ("z", 4, 0.9)]:
        make_run(tmp_path, "a", name, 0, seconds=seconds, val=0.5, test=test)
    (contest,) = report_on(tmp_path).contests
    by = axes(contest, ())
    assert [(axis.label, axis.sign) for axis in by] == [
        ("training time, s", -1),
        ("test/accuracy", 1),
    ]
    assert [point.objective for point in front(points(contest, by), by)] == ["w", "x", "z"]


def test_the_front_of_errors_goes_down(tmp_path):
    for name, seconds, test in [("w", 1, 0.9), ("x", 2, 0.5), ("y", 3, 0.6), ("z", 4, 0.2)]:
        make_run(tmp_path, "a", name, 0, seconds=seconds, val=0.5, test=test, maximize=False)
    (contest,) = report_on(tmp_path).contests
    by = axes(contest, ())
    assert [point.objective for point in front(points(contest, by), by)] == ["w", "x", "z"]


def test_metrics_of_ones_own_have_a_front_where_it_is_said_what_is_better(tmp_path):
    for name, nll, test in [("w", 1.0, 0.2), ("x", 0.5, 0.6), ("y", 0.1, 0.5)]:
        make_run(tmp_path, "a", name, 0, val=0.5, test=test, more={"test/nll": nll})
    (contest,) = report_on(tmp_path).contests
    unknown = axes(contest, ("nll", "accuracy"))
    assert [(axis.label, axis.sign) for axis in unknown] == [("test/nll", 0), ("test/accuracy", 1)]
    assert front(points(contest, unknown), unknown) == []
    said = axes(contest, ("nll:min", "accuracy"))
    assert [point.objective for point in front(points(contest, said), said)] == ["y", "x"]


def test_the_heat_map_has_the_better_bright_whichever_way_the_metric_goes(tmp_path, drawn):
    for task, maximize in (("a", True), ("b", False)):
        for name, test in (("ldr", 0.9), ("mae", 0.1)):
            make_run(tmp_path, task, name, 0, val=0.5, test=test, maximize=maximize)
    make_run(tmp_path, "a", "gce", 0, val=0.5, test=0.5)
    plots.figures(report_on(tmp_path), tmp_path / "runs")
    panel = drawn[1].axes[0]
    shares = panel.images[0].get_array().filled(math.nan)
    assert [label.get_text() for label in panel.get_yticklabels()] == ["gce", "ldr", "mae"]
    assert shares[:, 0].tolist() == [0.5, 1.0, 0.0]
    assert shares[1:, 1].tolist() == [0.0, 1.0]
    assert math.isnan(shares[0, 1])
    assert [text.get_text() for text in panel.texts] == ["0.5", "", "0.9", "0.9", "0.1", "0.1"]
