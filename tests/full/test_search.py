"""A search whose coordinator is killed goes on to all its trials, and none is doubled."""

import json
import os
import signal
from pathlib import Path

import optuna
import pytest

from runner.rundir import RunDir, State, all_runs
from runner.sweepdir import SweepDir, all_sweeps

from .commands import runner, runs_of, started, until

pytestmark = pytest.mark.full

TRIALS = 20
SEARCH = (
    "task=digits objective=ldr,gce steps=60 log_every=5 evaluate_every=0.5 -m "
    f"hydra/sweeper=optuna hydra.sweeper.n_trials={TRIALS}"
)


def trials(root: Path) -> list[optuna.trial.FrozenTrial]:
    """The trials in the journal of the only search; none before it is there."""
    journals = [sweep.path / "study.log" for sweep in all_sweeps(root)]
    if not all(journal.exists() for journal in journals) or not journals:
        return []
    backend = optuna.storages.journal.JournalFileBackend(str(journals[0]))
    storage = optuna.storages.JournalStorage(backend)
    studies = optuna.get_all_study_summaries(storage)
    return studies and optuna.load_study(study_name=studies[0].study_name, storage=storage).trials


def finished(root: Path) -> list[optuna.trial.FrozenTrial]:
    return [trial for trial in trials(root) if trial.state.is_finished()]


@pytest.mark.parametrize("pruner", ["none", "median"])
def test_a_killed_coordinator_goes_on(tmp_path: Path, pruner: str) -> None:
    words = f"{SEARCH} hydra/sweeper/pruner={pruner}"
    with started(words, tmp_path) as search:
        until(lambda: len(finished(tmp_path)) >= 7, "seven trials")
        os.kill(search.pid, signal.SIGKILL)
        search.communicate()
    known = {trial.number: (trial.params, trial.values) for trial in finished(tmp_path)}
    until(lambda: not any(run.is_locked() for run in runs_of(tmp_path)), "the workers to stop")
    done = {r.path.name: r.status["ended"] for r in runs_of(tmp_path, State.DONE)}

    runner(words, tmp_path)
    after = {trial.number: (trial.params, trial.values) for trial in trials(tmp_path)}
    assert len(after) == TRIALS
    assert len(finished(tmp_path)) == TRIALS
    assert {number: after[number] for number in known} == known
    assert {name: RunDir(tmp_path / "runs" / name).status["ended"] for name in done} == done

    (sweep,) = all_sweeps(tmp_path)
    members = sweep.members()
    assert len({run.path.name for run in members}) == len(members) == TRIALS
    assert {run.path for run in members} == {run.path for run in all_runs(tmp_path)}
    answer = json.loads((sweep.path / "answer.json").read_text())
    assert answer["best"][0]["values"]["val/accuracy"] == max(
        trial.value for trial in finished(tmp_path) if trial.state.name == "COMPLETE"
    )
    is_written_once(sweep)


def is_written_once(sweep: SweepDir) -> None:
    """MLflow has the search's run with its plots, and each trial's run once."""
    from .mlflow_view import View, check_run, default_store

    root = sweep.path.parents[1]
    view = View(default_store(root))
    for run in sweep.members():
        if run.state is State.DONE:
            check_run(view, run)
    assert len(view.runs) == TRIALS + 1
    (parent,) = view.children(None)
    assert parent.info.status == "FINISHED"
    assert view.artifacts(parent.info.run_id) >= {"best.yaml", "slice.png", "slice.html"}


def test_ctrl_c_leaves_trials_that_are_gone_on_with(tmp_path: Path) -> None:
    with started(SEARCH, tmp_path) as search:
        until(lambda: len(finished(tmp_path)) >= 2, "two trials")
        search.send_signal(signal.SIGINT)
        said, _ = search.communicate()
    assert "goes on from there" in said
    assert not any(trial.state.name == "FAIL" for trial in trials(tmp_path))
    runner(SEARCH, tmp_path)
    assert [trial.state.name for trial in trials(tmp_path)] == ["COMPLETE"] * TRIALS


def test_failing_and_infinite_trials_are_no_end(tmp_path: Path) -> None:
    (tmp_path / "my_loss.py").write_text(
        "from torch.nn import functional as F\n\n"
        "def shaky(logits, labels, *, a: float = 0.0):\n"
        "    if a > 1.5:\n        raise ValueError('a is too large')\n"
        "    return F.cross_entropy(logits, labels, reduction='none') * (1e38 ** a) ** (a > 0.5)\n"
    )
    words = (
        "task=digits objective._target_=my_loss.shaky +objective.a=0,1,2 steps=10 -m "
        "hydra/sweeper=optuna hydra/sweeper/sampler=grid hydra.launcher.retries=0 tracking=off"
    )
    said = runner(words, tmp_path)
    assert "ValueError: a is too large" in said
    states = {trial.params["objective.a"]: trial.state.name for trial in trials(tmp_path)}
    assert states == {0: "COMPLETE", 1: "FAIL", 2: "FAIL"}
    said = runner(f"{words} hydra.sweeper.max_failure_rate=0.5", tmp_path, status=1)
    assert "2 trials failed, more than max_failure_rate=0.5 allows" in said
