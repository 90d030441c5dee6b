"""The index of runs: a copy that is rebuilt if lost, broken or stale."""

import json
import shutil
import sqlite3

import pytest
from made import make_run

from runner.report import index
from runner.report.index import FILE, read_runs


@pytest.fixture
def reads(monkeypatch):
    """The names of run directories that are read."""
    names = []
    read = index._read

    def noted(path):
        names.append(path.name)
        return read(path)

    monkeypatch.setattr(index, "_read", noted)
    return names


@pytest.fixture
def two(tmp_path):
    return [make_run(tmp_path, "a", "ldr", seed, val=0.5, test=0.5) for seed in range(2)]


def values(root):
    return [run.metrics["test/accuracy"] for run in read_runs(root)]


def test_what_has_not_changed_is_not_read_again(tmp_path, two, reads):
    first = read_runs(tmp_path)
    assert len(reads) == 2
    assert read_runs(tmp_path) == first
    assert len(reads) == 2


def test_a_run_that_changed_is_read_again_and_it_alone(tmp_path, two, reads):
    read_runs(tmp_path)
    status = json.loads((two[1] / "status.json").read_text())
    status["metrics"]["test/accuracy"] = 0.75
    (two[1] / "status.json").write_text(json.dumps(status))
    assert values(tmp_path) == [0.5, 0.75]
    assert reads[2:] == [two[1].name]
    assert values(tmp_path) == [0.5, 0.75]
    assert len(reads) == 3


def test_new_runs_are_found_and_deleted_ones_forgotten(tmp_path, two):
    read_runs(tmp_path)
    make_run(tmp_path, "a", "ldr", 2, val=0.5, test=0.9)
    shutil.rmtree(two[0])
    assert values(tmp_path) == [0.5, 0.9]
    with sqlite3.connect(tmp_path / "runs" / FILE) as store:
        assert store.execute("SELECT count(*) FROM runs").fetchone() == (2,)


BREAKS = {
    "lost": lambda file: file.unlink(),
    "no database": lambda file: file.write_text("nothing of the kind" * 100),
    "empty": lambda file: file.write_bytes(b""),
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:3000]),
    "of another version": lambda file: change(file, "PRAGMA user_version = 999"),
    "of another form": lambda file: change(file, "UPDATE runs SET summary = '{}'"),
    "no text": lambda file: change(file, "UPDATE runs SET summary = '{'"),
    "without its table": lambda file: change(file, "DROP TABLE runs"),
}


def change(file, statement):
    with sqlite3.connect(file) as store:
        store.execute(statement)


@pytest.mark.parametrize("damage", BREAKS.values(), ids=BREAKS.keys())
def test_an_index_that_is_no_use_is_made_anew(tmp_path, two, reads, damage):
    whole = read_runs(tmp_path)
    damage(tmp_path / "runs" / FILE)
    assert read_runs(tmp_path) == whole
    assert len(reads) == 4
    assert read_runs(tmp_path) == whole
    assert len(reads) == 4  # by the new index


def test_where_it_cannot_be_written_runs_are_read_all_the_same(tmp_path, two, reads):
    (tmp_path / "runs" / FILE).mkdir()
    assert values(tmp_path) == [0.5, 0.5]
    assert values(tmp_path) == [0.5, 0.5]


def test_an_index_in_use_by_another_process_is_left_alone(tmp_path, two, monkeypatch):
    read_runs(tmp_path)
    make_run(tmp_path, "a", "ldr", 2, val=0.5, test=0.9)
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **k | {"timeout": 0}))
    other = connect(tmp_path / "runs" / FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert values(tmp_path) == [0.5, 0.5, 0.9]
    other.execute("COMMIT")
    other.close()
    assert values(tmp_path) == [0.5, 0.5, 0.9]


def test_what_is_no_whole_run_is_left_out(tmp_path, two):
    (tmp_path / "runs" / "empty").mkdir()
    (two[0] / "status.json").write_text('{"state": "do')
    assert values(tmp_path) == [0.5]


def test_an_older_run_that_noted_less_is_read(tmp_path, two):
    for name, keys in (("run.json", ["data"]), ("status.json", ["monitor"])):
        content = json.loads((two[0] / name).read_text())
        kept = {key: value for key, value in content.items() if key not in keys}
        (two[0] / name).write_text(json.dumps(kept))
    run = read_runs(tmp_path)[0]
    assert (run.data, run.metric) == ("?", "")
