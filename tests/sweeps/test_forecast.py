"""What a sweep would do, told before it does it."""

import pytest

from runner.cli import main
from sweeps.forecast import kinds, summary


def say(monkeypatch, capsys, *words: str) -> list[str]:
    monkeypatch.setattr("sys.argv", ["runner", *words])
    with pytest.raises(SystemExit, match="0"):
        main()
    return capsys.readouterr().out.splitlines()


def test_a_dry_run_tells_jobs_and_time_and_writes_nothing(monkeypatch, capsys, tmp_path):
    few = ["task=digits", "epochs=1", "device=cpu", "tracking=off", f"root={tmp_path}"]
    sweep = [*few, "objective=ldr", "tau=0.5,2", "-m"]
    lines = say(monkeypatch, capsys, *sweep, "--dry-run")
    assert lines[1:] == [
        "to be run  digits ldr epochs=1 tau=0.5 seed=0",
        "to be run  digits ldr epochs=1 tau=2 seed=0",
        "2 jobs to be run; no run of their kind tells how long they take",
    ]
    assert not list(tmp_path.iterdir())

    say(monkeypatch, capsys, *few, "objective=ldr", "tau=2.0")
    lines = say(monkeypatch, capsys, *sweep, "--dry-run")
    assert lines[1].startswith("to be run  about 0:0")
    assert lines[2] == "finished before  digits ldr epochs=1 tau=2 seed=0"
    assert lines[3].startswith("1 job to be run: about 0:0")

    line, _ = say(monkeypatch, capsys, *few, "objective=gce", "--dry-run")
    assert line.startswith("to be run  about 0:0"), "another objective is of the same kind too"
    assert len(list((tmp_path / "runs").glob("*/run.json"))) == 1


@pytest.mark.parametrize(
    ("left", "capacity", "text"),
    [
        ([60.0, 120.0], 1, "2 jobs to be run: about 3:00, 1 at a time"),
        ([60.0, 120.0, 60.0], 2, "3 jobs to be run: about 2:00, 2 at a time"),
        ([60.0], 8, "1 job to be run: about 1:00, 1 at a time"),
        ([60.0, None], 1, "2 jobs to be run, 1 of them of no known kind: about 2:00, 1 at a time"),
        ([], 2, "0 jobs to be run"),
    ],
)
def test_the_time_of_all_is_shared_by_the_slots(left, capacity, text):
    assert summary(left, capacity) == text


def test_another_budget_is_another_kind():
    choices = dict.fromkeys(("task", "model", "algorithm", "objective"), "x")
    assert kinds(choices, {"epochs": 1})[1] != kinds(choices, {"epochs": 2})[1]
