"""Tables."""

from runner.report import print_sweep


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
