"""The run directory: its states, its lock, and files that appear whole or not at all."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from objectives.errors import InputError
from runner.rundir import (
    Done,
    Events,
    Interrupted,
    RunDir,
    State,
    read_events,
    read_json,
    write_whole,
)

PLANNED = {"signature": "abc", "name": "n", "setting": "s", "seed": 0}


@pytest.fixture
def run(tmp_path):
    return RunDir.plan(tmp_path, PLANNED, "a: 1\n")


def test_planning_twice_changes_nothing(run, tmp_path):
    with run.attempt():
        run.finish({"test/accuracy": 0.5})
    again = RunDir.plan(tmp_path, PLANNED | {"name": "other"}, "a: 2\n")
    assert again.state is State.DONE
    assert again.run["name"] == "n"
    assert (run.path / "config.yaml").read_text() == "a: 1\n"


def test_a_finished_attempt_is_done_with_its_metrics(run):
    assert run.state is State.PLANNED
    with run.attempt():
        assert run.state is State.RUNNING
        assert run.is_locked()
        run.finish({"test/accuracy": 0.5})
    assert run.state is State.DONE
    assert not run.is_locked()
    assert run.status["metrics"] == {"test/accuracy": 0.5}


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (ValueError("broken"), State.FAILED, "ValueError: broken"),
        (Interrupted("SIGTERM"), State.INTERRUPTED, "SIGTERM"),
        (KeyboardInterrupt(), State.INTERRUPTED, "stopped by hand"),
        (SystemExit(3), State.FAILED, "SystemExit: 3"),
    ],
)
def test_every_end_leaves_a_record(run, error, state, reason):
    with pytest.raises(type(error)), run.attempt():
        raise error
    assert run.state is state
    assert run.status["reason"] == reason
    assert not run.is_locked()


def test_a_signal_after_the_end_does_not_undo_it(run):
    with pytest.raises(KeyboardInterrupt), run.attempt():
        run.finish({"test/accuracy": 0.5})
        raise KeyboardInterrupt
    assert run.state is State.DONE


def test_the_next_attempt_removes_what_a_killed_one_had_begun_to_write(run):
    (run.path / ".checkpoint.pt.123").write_bytes(b"half")
    (run.path / ".tracking.json.123").write_bytes(b"another process is at it")
    with run.attempt():
        assert {f.name for f in run.path.glob(".*")} == {".tracking.json.123"}


def test_failed_and_interrupted_runs_are_tried_again(run):
    for attempt in (1, 2):
        with pytest.raises(ValueError), run.attempt():
            raise ValueError
        assert run.status["attempt"] == attempt
    with run.attempt():
        run.finish({})
    assert run.status["attempt"] == 3
    assert "reason" not in run.status


def test_what_is_done_does_not_start_again(run):
    write_whole(run.path / "status.json", json.dumps({"state": State.DONE, "attempt": 1}))
    with pytest.raises(Done, match="is done"), run.attempt():
        pass
    assert run.state is State.DONE


def test_planning_what_began_meanwhile_changes_nothing(tmp_path, monkeypatch):
    def begun_meanwhile(path, content, **how):
        if path.name == "status.json":
            monkeypatch.undo()
            with RunDir.plan(tmp_path, PLANNED, "a: 1\n").attempt():
                RunDir(path.parent).finish({"test/accuracy": 0.5})
        write_whole(path, content, **how)

    monkeypatch.setattr("runner.rundir.write_whole", begun_meanwhile)
    run = RunDir.plan(tmp_path, PLANNED, "a: 1\n")
    assert (run.state, run.status["attempt"]) == (State.DONE, 1)
    assert not list(run.path.glob(".*"))


def test_a_look_at_the_lock_does_not_keep_a_worker_from_it(run):
    with (run.path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        threading.Timer(0.005, fcntl.flock, (lock, fcntl.LOCK_UN)).start()
        with run.attempt():
            run.finish({})
    assert run.status["attempt"] == 1


def test_what_was_pruned_may_be_gone_on_with(run):
    with pytest.raises(Interrupted), run.attempt():
        raise Interrupted("SIGTERM")
    run.prune("hopeless")
    assert run.state is State.PRUNED
    assert run.status["reason"] == "hopeless"
    with run.attempt():
        run.prune("another process is at it")
        run.finish({})
    run.prune("too late")
    assert run.state is State.DONE


def test_a_pruned_run_whose_next_worker_dies_at_its_start_has_failed(run):
    run.prune("hopeless")
    run.give_up("its process was killed by SIGSEGV")
    assert run.state is State.FAILED
    assert run.status["reason"] == "its process was killed by SIGSEGV"


HOLD = """
import sys, time
from pathlib import Path
from runner.rundir import RunDir
with RunDir(Path(sys.argv[1])).attempt() as events:
    events.append(1, {"train/loss": 2.0})
    events.file.write(b'{"step": 2, "met')
    events.file.flush()
    print("holding", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(run):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        yield process
        process.kill()


def test_two_writers_are_impossible(run, holder):
    assert run.state is State.RUNNING
    with pytest.raises(InputError, match="is being written by another process"), run.attempt():
        pass
    assert run.status["pid"] == holder.pid


def test_a_killed_worker_is_seen_as_interrupted_and_its_torn_line_is_ignored(run, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert read_json(run.path / "status.json")["state"] == State.RUNNING
    assert run.state is State.INTERRUPTED
    assert run.status["reason"] == "the process died"
    assert [event["step"] for _, event in read_events(run.path / "events.jsonl")] == [1]
    with run.attempt() as events:
        events.rewind(0)
        events.append(1, {"train/loss": 3.0})
        run.finish({})
    (event,) = [event for _, event in read_events(run.path / "events.jsonl")]
    assert event["metrics"] == {"train/loss": 3.0}


def test_signs_are_the_latest_and_nothing_where_they_are_torn(run):
    assert run.signs == {}
    run.beat({"step": 100, "loss": 0.123456})
    run.beat({"step": 200, "loss": None})
    assert run.signs == {"step": 200, "loss": None}
    (run.path / "heartbeat").write_text('{"step": 3')
    assert run.signs == {}


def test_silence_is_counted_from_the_last_sign_or_the_beginning_of_the_attempt(run):
    assert run.silent_for() == float("inf")
    with run.attempt():
        assert run.silent_for() < 30
        run.beat({})
        set_back(run, 100)
        assert 100 <= run.silent_for() < 130
        run.finish({})


def test_a_new_attempt_has_not_given_the_signs_of_the_one_before(run):
    run.beat({"step": 100})
    with run.attempt():
        assert run.signs == {}


@pytest.mark.parametrize(("age", "state"), [(50, State.RUNNING), (70, State.INTERRUPTED)])
def test_a_worker_of_another_host_runs_while_it_gives_signs(run, age, state):
    write_whole(
        run.path / "status.json",
        json.dumps({"state": State.RUNNING, "attempt": 1, "host": "elsewhere", "started": 0}),
    )
    run.beat({"step": 1})
    set_back(run, age)
    assert run.state is state
    assert run.is_locked() == (state is State.RUNNING)
    run.give_up("its worker died")
    assert run.state is (State.RUNNING if state is State.RUNNING else State.FAILED)


def test_a_worker_of_another_host_is_not_joined_by_a_second_one(run):
    record = {"state": State.RUNNING, "attempt": 1, "host": "elsewhere", "started": time.time()}
    write_whole(run.path / "status.json", json.dumps(record))
    with pytest.raises(InputError, match="by a process on another host"), run.attempt():
        pass
    assert read_json(run.path / "status.json") == record


def set_back(run, seconds):
    """Make the last sign of life this old."""
    moment = time.time() - seconds
    os.utime(run.path / "heartbeat", (moment, moment))


def test_events_go_on_from_an_offset(tmp_path):
    path = tmp_path / "events.jsonl"
    with Events(path) as events:
        events.append(1, {"a": 1.0})
        kept = events.commit()
        events.append(2, {"a": 2.0})
        events.rewind(kept)
        events.append(3, {"a": float("nan")})
    offsets, read = zip(*read_events(path), strict=True)
    assert [event["step"] for event in read] == [1, 3]
    assert offsets[0] == kept
    assert [event["step"] for _, event in read_events(path, kept)] == [3]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "checkpoint.pt"
    write_whole(path, "old")

    def half(file):
        file.write(b"ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, half)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
