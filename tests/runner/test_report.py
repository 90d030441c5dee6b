"""Tables: the statistics worked by hand."""

import pytest

from runner.report import interval, print_sweep


def test_an_interval_is_students():
    # mean 2, deviation 1, t(0.975; 2) = 4.303: half-width 4.303 / sqrt(3) = 2.484
    assert interval([1.0, 2.0, 3.0]) == "2 ± 2.5"


@pytest.mark.parametrize(("values", "text"), [([0.25], "0.25"), ([], "-")])
def test_too_few_values_have_no_interval(values, text):
    assert interval(values) == text


def test_seeds_of_a_setting_share_a_row_and_failed_ones_are_not_counted(capsys):
    results = [
        ({"setting": "a"}, {"metrics": {"test/x": 1.0, "val/x": 9.0}}),
        ({"setting": "a"}, {"metrics": {"test/x": 2.0}}),
        ({"setting": "a"}, {"metrics": {"test/x": 3.0}}),
        ({"setting": "b"}, {"state": "failed"}),
    ]
    print_sweep(results)
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in capsys.readouterr().out.splitlines()
        if "│" in line
    ]
    assert rows == [["a", "3", "2 ± 2.5"], ["b", "0", "-"]]
