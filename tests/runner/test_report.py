"""Tables."""

from runner.console import console
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


def test_a_table_wider_than_the_terminal_is_cut_nowhere(capsys, monkeypatch):
    monkeypatch.setattr(console, "width", 80)
    metrics = {f"test/a_long_name_{n}": 0.12345 + n for n in range(6)}
    settings = ("digits ldr tau=0.1", "digits ldr tau=0.5")
    print_sweep([({"setting": setting}, {"metrics": metrics}) for setting in settings])
    out = capsys.readouterr().out
    tables = out.split("┏")[1:]
    assert len(tables) == 3
    assert all(setting in table for setting in settings for table in tables)
    assert all(name in out and f"{value:.4g}" in out for name, value in metrics.items())
    assert "…" not in out and max(map(len, out.splitlines()[:-1])) <= 80
