"""Tables."""

from runner.report import print_sweep


def test_seeds_of_a_setting_share_a_row_and_failed_ones_are_not_counted(capsys):
    results = [
        ({"setting": "a", "code": "1" * 64}, {"metrics": {"test/x": 1.0, "val/x": 9.0}}),
        ({"setting": "a", "code": "2" * 64, "data": ""}, {"metrics": {"test/x": 2.0}}),
        ({"setting": "a"}, {"metrics": {"test/x": 3.0}}),
        ({"setting": "protected=[sex]"}, {"state": "failed"}),
    ]
    print_sweep(results)
    out = capsys.readouterr().out
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line
    ]
    assert rows == [["a", "3", "2 ± 2.5"], ["protected=[sex]", "0", "-"]]
    assert out.splitlines()[-1] == "code 11111111 22222222 ?  data ? none"
