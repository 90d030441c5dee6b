"""Settings, choices, comparisons and ranks of runs whose statistics are worked by hand."""

import math

import pytest
from made import OTHER_CODE, make_run

from runner.report.command import is_current
from runner.report.index import read_runs
from runner.report.settings import MISSING, settings
from runner.report.tables import Report

SEEDS = range(6)


def report_on(root):
    return Report.of("all", settings(read_runs(root), is_current))


def only(items):
    (item,) = items
    return item


def test_seeds_are_replicates_and_their_interval_is_students(tmp_path):
    for seed, value in enumerate([0.1, 0.2, 0.3]):
        make_run(tmp_path, "digits", "ldr", seed, test=value, val=0.5)
    setting = only(report_on(tmp_path).settings)
    # mean 0.2, standard deviation 0.1; t(0.975, 2) = 4.302653; 4.302653 · 0.1 / √3 = 0.248414
    assert setting.spread("test/accuracy").mean == pytest.approx(0.2)
    assert setting.spread("test/accuracy").half == pytest.approx(0.248414, rel=1e-5)
    assert [run.seed for run in setting.finished] == [0, 1, 2]


def test_what_was_swept_tells_settings_apart_and_an_objective_without_it_has_none(tmp_path):
    make_run(tmp_path, "digits", "ldr", 0, tau=0.1, test=0.1, val=0.1)
    make_run(tmp_path, "digits", "ldr", 0, tau=0.5, test=0.1, val=0.1)
    make_run(tmp_path, "digits", "ldr", 0, hidden={"tau": 1}, test=0.1, val=0.1)
    make_run(tmp_path, "digits", "mae", 0, test=0.1, val=0.1)
    found = [(s.objective, s.values["tau"]) for s in report_on(tmp_path).settings]
    assert found == [("ldr", 0.1), ("ldr", 0.5), ("ldr", 1.0), ("mae", MISSING)]


def test_one_value_for_all_is_not_swept_and_1_is_1_point_0(tmp_path):
    for seed, tau in enumerate([1, 1.0]):
        make_run(tmp_path, "digits", "ldr", seed, tau=tau, test=0.1, val=0.1)
    setting = only(report_on(tmp_path).settings)
    assert setting.values == {}
    assert len(setting.finished) == 2


def test_what_a_preset_changed_without_an_override_is_another_setting(tmp_path):
    for seed in range(2):
        make_run(tmp_path, "digits", "ldr", seed, hidden={"lr": 0.1}, test=0.1, val=0.1)
        make_run(tmp_path, "digits", "ldr", seed, hidden={"lr": 0.2}, test=0.2, val=0.1)
    found = [(dict(s.values), len(s.finished)) for s in report_on(tmp_path).settings]
    assert found == [({"lr": 0.1}, 2), ({"lr": 0.2}, 2)]


@pytest.mark.parametrize(("maximize", "tau"), [(True, 0.1), (False, 0.5)])
def test_the_best_is_chosen_on_validation_though_test_says_the_opposite(tmp_path, maximize, tau):
    for seed in range(3):
        make_run(tmp_path, "a", "ldr", seed, tau=0.1, val=0.9, test=0.2, maximize=maximize)
        make_run(tmp_path, "a", "ldr", seed, tau=0.5, val=0.8, test=0.3, maximize=maximize)
    contest = only(report_on(tmp_path).contests)
    assert contest.best["ldr"].values["tau"] == tau


def test_few_seeds_that_look_good_do_not_compete_with_many(tmp_path):
    make_run(tmp_path, "a", "ldr", 0, tau=0.1, val=0.99, test=0.9)
    make_run(tmp_path, "a", "ldr", 1, tau=0.1, state="failed")
    for seed in range(2):
        make_run(tmp_path, "a", "ldr", seed, tau=0.5, val=0.5, test=0.5)
    contest = only(report_on(tmp_path).contests)
    assert contest.best["ldr"].values["tau"] == 0.5
    assert contest.left_out == 1


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_seed_that_diverged_is_not_forgotten(tmp_path, broken):
    for seed, value in enumerate([0.9, broken]):
        make_run(tmp_path, "a", "ldr", seed, tau=0.1, val=value, test=value)
        make_run(tmp_path, "a", "ldr", seed, tau=0.5, val=0.5, test=0.5)
        make_run(tmp_path, "a", "mae", seed, val=value, test=value)
    report = report_on(tmp_path)
    best = only(report.contests).best
    assert best["ldr"].values["tau"] == 0.5
    assert math.isnan(best["mae"].spread("test/accuracy").mean)
    assert only(report.pairs).word == "not finite"


def test_where_nobody_noted_what_judges_nothing_is_chosen(tmp_path):
    for seed in range(2):
        make_run(tmp_path, "a", "ldr", seed, metric="", more={"test/accuracy": 0.5})
    report = report_on(tmp_path)
    assert not report.contests
    assert "test/accuracy" in only(report.sheets).columns


def six(root, task, differences, maximize=True, base=0.5, **given):
    """`ldr` ahead of `mae` by so much, seed by seed."""
    for seed, difference in zip(SEEDS, differences, strict=False):
        make_run(root, task, "mae", seed, val=0.5, test=base, maximize=maximize, **given)
        made = {"val": 0.5, "test": base + difference}
        make_run(root, task, "ldr", seed, **made, maximize=maximize, **given)


@pytest.mark.parametrize(("maximize", "word"), [(True, "better"), (False, "worse")])
def test_objectives_are_compared_by_the_seeds_they_share(tmp_path, maximize, word):
    six(tmp_path, "a", [0.01, 0.02, 0.03, 0.04, 0.05, 0.06], maximize)
    make_run(tmp_path, "a", "mae", 6, val=0.5, test=0.0, maximize=maximize)  # of no partner
    pair = only(report_on(tmp_path).pairs)
    # All of one sign: 2 of the 2^6 sign patterns are as far off, p = 2/64. Differences: mean 0.035,
    # standard deviation 0.01·√3.5 = 0.0187083; t(0.975, 5) = 2.570582, over √6: half 0.0196330
    assert (pair.one, pair.other, pair.word) == ("ldr", "mae", word)
    assert pair.found.difference.mean == pytest.approx(0.035)
    assert pair.found.difference.half == pytest.approx(0.019633, rel=1e-4)
    assert pair.found.p == pytest.approx(2 / 64)


def test_too_few_seeds_are_said_to_be_too_few(tmp_path):
    six(tmp_path, "a", [0.1] * 5)
    assert only(report_on(tmp_path).pairs).word == "too few seeds"


def test_seeds_at_odds_decide_nothing(tmp_path):
    six(tmp_path, "a", [0.1, -0.1, 0.2, -0.2, 0.3, -0.1])
    assert only(report_on(tmp_path).pairs).word == "undecided"


def test_ranks_are_of_tasks_that_share_objectives(tmp_path):
    six(tmp_path, "a", [0.1] * 2)
    six(tmp_path, "b", [0.1] * 2, maximize=False)  # an error: ldr is second
    six(tmp_path, "c", [0.0] * 2)  # a tie: both 1.5
    six(tmp_path, "d", [0.2] * 2)
    make_run(tmp_path, "e", "ldr", 0, val=1.0, test=1.0)  # of no rival
    ranks = report_on(tmp_path).ranks
    assert [contest.name for contest in ranks.contests] == ["a", "b", "c", "d"]
    # ldr 1, 2, 1.5, 1: mean 1.375; mae 2, 1, 1.5, 2: mean 1.625
    assert ranks.mean["ldr"].mean == pytest.approx(1.375)
    assert ranks.mean["mae"].mean == pytest.approx(1.625)


def test_one_task_has_no_ranks(tmp_path):
    six(tmp_path, "a", [0.1] * 2)
    assert report_on(tmp_path).ranks is None


def test_older_code_is_marked_and_competes_only_where_there_is_nothing_newer(tmp_path):
    for seed in range(2):
        make_run(tmp_path, "a", "ldr", seed, val=0.9, test=0.9, code=OTHER_CODE)
        make_run(tmp_path, "a", "ldr", seed, val=0.1, test=0.1)
        make_run(tmp_path, "a", "mae", seed, val=0.5, test=0.5, code=OTHER_CODE)
    report = report_on(tmp_path)
    best = only(report.contests).best
    assert [best["ldr"].current, best["mae"].current] == [True, False]
    assert only(report.pairs).found.difference.mean == pytest.approx(-0.4)
    table, pairs = report.sheets
    remarks = [(row[0], row[1]) for row in table.rows]
    assert remarks == [("ldr", "best"), ("ldr", "older code"), ("mae", "best, older code")]
    assert pairs.rows[0][2] == "ldr − mae (older code)"
    assert "00000000" in table.notes[-1]
    assert best["ldr"].code[:8] in table.notes[-1]
    assert "abcdef01" in table.notes[-1]


def test_other_data_is_another_contest(tmp_path):
    for seed in range(2):
        make_run(tmp_path, "a", "ldr", seed, val=0.9, test=0.9, data="1" * 12, started=1.0)
        make_run(tmp_path, "a", "ldr", seed, val=0.1, test=0.1, data="2" * 12, started=2.0)
        make_run(tmp_path, "a", "mae", seed, val=0.5, test=0.5, data="2" * 12, started=2.0)
    report = report_on(tmp_path)
    found = {contest.name: (sorted(contest.best), contest.latest) for contest in report.contests}
    expected = {"a data 11111111": (["ldr"], False), "a data 22222222": (["ldr", "mae"], True)}
    assert found == expected
    assert only(report.pairs).found.difference.mean == pytest.approx(-0.4)


def test_noise_of_the_data_is_no_hyperparameter_to_choose(tmp_path):
    for rate in (0.0, 0.4):
        for tau in (0.1, 0.5):
            made = {"noise_rate": rate, "tau": tau, "val": 1 - rate + tau, "test": 0.5}
            make_run(tmp_path, "a", "ldr", 0, problem={"rate": rate}, **made)
    contests = report_on(tmp_path).contests
    assert [contest.name for contest in contests] == ["a noise_rate=0", "a noise_rate=0.4"]
    assert [contest.best["ldr"].values["tau"] for contest in contests] == [0.5, 0.5]


def test_what_is_judged_by_other_metrics_is_not_compared(tmp_path):
    make_run(tmp_path, "a", "ldr", 0, val=0.5, test=0.5)
    make_run(tmp_path, "a", "info_nce", 0, val=0.5, test=0.5, metric="knn_accuracy")
    report = report_on(tmp_path)
    assert {contest.name for contest in report.contests} == {"a by accuracy", "a by knn_accuracy"}
    assert not report.pairs


def test_seeds_that_have_not_finished_are_counted(tmp_path):
    make_run(tmp_path, "a", "ldr", 0, val=0.5, test=0.5)
    make_run(tmp_path, "a", "ldr", 1, state="failed")
    make_run(tmp_path, "a", "ldr", 2, state="running")  # whose process is dead
    sheet = only(report_on(tmp_path).sheets)
    row = dict(zip(sheet.columns, only(sheet.rows), strict=True))
    assert row["seeds"] == "1 of 3"
    assert "not finished: 1 failed, 1 interrupted" in sheet.notes
