"""Sweeps seen and stopped from another shell: real sweeps, real processes."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from objectives.errors import InputError
from runner.rundir import RunDir, State, all_runs
from runner.sweepdir import SweepDir, all_sweeps

PATIENCE = 60.0


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> Path:
    """A root with a sweep of which one job is done, one failed, and one never begun."""
    root = tmp_path_factory.mktemp("ended")
    words = ["task=digits", "epochs=1", "tracking=off", "optimizer=sgd", "lr=0.1,1e30"]
    command = [sys.executable, "-m", "runner.cli", *words, "hydra.launcher.retries=0", "-m"]
    assert subprocess.run(command, cwd=root, capture_output=True).returncode == 1
    return root


@pytest.fixture
def under_way(root: Path) -> Iterator[subprocess.Popen]:
    """A sweep of three long jobs on one slot."""
    slot = f"hydra.launcher.threads_per_job={len(os.sched_getaffinity(0))}"
    words = ["task=digits", "steps=1000000", "log_every=1", "seed=0,1,2", slot, "-m"]
    command = [sys.executable, "-m", "runner.cli", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sweep:
        until(lambda: any(run.signs for run in all_runs(root)))
        try:
            yield sweep
        finally:
            sweep.kill()


@pytest.mark.full
def test_status_of_all_sweeps(command, ended):
    said = command("status", f"root={ended}")
    assert said.code == 0
    (sweep,) = all_sweeps(ended)
    assert sweep.path.name in said.out
    assert "1 done, 1 failed" in said.out
    assert "lr=0.1,1e30" in said.out


@pytest.mark.full
def test_status_of_one_sweep_says_what_failed_and_where_to_look(command, ended):
    (sweep,) = all_sweeps(ended)
    said = command("status", sweep.path.name[:5], f"root={ended}")
    assert "failed: digits cross_entropy optimizer=sgd epochs=1 lr=1e+30 seed=0" in said.out
    assert "NotFinite" in said.out
    assert "log.txt" in said.out.replace("\n", "")


@pytest.mark.full
def test_logs(command, ended):
    failed = next(run for run in all_runs(ended) if run.state is State.FAILED)
    said = command("logs", failed.path.name[:6], f"root={ended}")
    assert "Traceback" in said.out
    assert "the loss is" in said.out


@pytest.mark.full
def test_collect_prints_the_table(command, ended):
    said = command("collect", f"root={ended}")
    assert "1 done, 1 failed" in said.out
    assert "test/accuracy" in said.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("status", "abc"), "there is no sweep abc"),
        (("status",), "there are no sweeps under"),
        (("logs", "abc"), "there is no job abc"),
        (("cancel", "abc"), "there is no job abc"),
        (("collect", "abc"), "there is no sweep abc"),
        (("status", "rot=abc"), "rot=abc is not one of root="),
    ],
)
def test_what_is_not_there(command, root, words, message):
    said = command(*words)
    assert said.code == 1
    assert message in said.err


@pytest.mark.full
def test_nothing_to_cancel(command, ended):
    (sweep,) = all_sweeps(ended)
    said = command("cancel", sweep.path.name, f"root={ended}")
    assert said.code == 1
    assert f"nothing of {sweep.path.name} is under way" in said.err


@pytest.mark.full
def test_a_sweep_under_way_is_shown_and_cancelled(command, root, under_way):
    (sweep,) = all_sweeps(root)
    assert sweep.coordinator() == (under_way.pid, socket.gethostname())
    said = command("status", sweep.path.name)
    assert f"run by process {under_way.pid}" in said.out
    assert "1 running, 2 waiting" in said.out
    assert "/1000000" in said.out
    assert f"asked process {under_way.pid} to stop" in command("cancel", sweep.path.name).out
    assert under_way.wait(PATIENCE) == 130
    states = [run.state for run in all_runs(root)]
    assert sorted(states) == [State.INTERRUPTED, State.PLANNED, State.PLANNED]
    assert sweep.coordinator() is None
    assert "2 not begun" in command("status", sweep.path.name).out


@pytest.mark.full
def test_a_job_is_cancelled_and_not_tried_again(command, root, under_way):
    first = next(run for run in all_runs(root) if run.state is State.RUNNING)
    assert "asked digits" in command("cancel", first.path.name).out
    until(lambda: first.state is State.INTERRUPTED)
    until(lambda: any(run.state is State.RUNNING for run in all_runs(root)))
    assert first.state is State.INTERRUPTED


@pytest.mark.full
def test_a_search_shows_its_best_runs(command, root):
    words = ("task=digits", "objective=ldr", "steps=2", "hydra/launcher=basic")
    command(*words, "hydra/sweeper=optuna", "hydra.sweeper.n_trials=6", "-m")
    values = [run.status["metrics"]["val/accuracy"] for run in all_runs(root)]
    (sweep,) = all_sweeps(root)
    said = command("status", sweep.path.name).out
    shown = [line.split()[1] for line in said.splitlines() if line.startswith("val/accuracy")]
    assert shown == [f"{value:.4g}" for value in sorted(values, reverse=True)[:5]]


def test_a_second_coordinator_is_turned_away(tmp_path):
    sweep = SweepDir.of(tmp_path, ["a"])
    sweep.plan(["a"], [])
    turned_away = pytest.raises(InputError, match=f"process {os.getpid()} on .* is at work")
    with sweep.held(), turned_away, sweep.held():
        pass
    with sweep.held():
        assert sweep.coordinator() == (os.getpid(), socket.gethostname())


def test_the_same_members_are_the_same_sweep(tmp_path):
    assert SweepDir.of(tmp_path, ["b", "a"]).path == SweepDir.of(tmp_path, ["a", "b"]).path
    assert SweepDir.of(tmp_path, ["a"]).path != SweepDir.of(tmp_path, ["a", "b"]).path


def test_a_worker_that_left_no_record_is_given_up(tmp_path):
    run = RunDir.plan(tmp_path, {"signature": "abc", "name": "it"}, "")
    run.give_up("killed by SIGSEGV")
    assert run.status["reason"] == "killed by SIGSEGV"
    assert run.state is State.FAILED
    with run.attempt():
        run.give_up("not while someone writes")
        run.finish({})
    run.give_up("nor when it is done")
    assert run.state is State.DONE
