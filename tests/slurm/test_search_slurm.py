"""A search on a real cluster: its coordinator is killed, its trials go on, and none is doubled."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.rundir import State, all_runs
from runner.sweepdir import all_sweeps
from tests.full.test_search import finished, trials

pytestmark = [pytest.mark.full, pytest.mark.slurm]

PATIENCE = 600.0
TRIALS, KILLED_AT = 20, 7


def test_a_killed_coordinator_goes_on(root: Path) -> None:
    words = (
        "task=digits device=cpu tracking=off model.width=16 objective=ldr steps=20 "
        "hydra/launcher=slurm hydra/sweeper=optuna -m hydra.sweeper.n_jobs=4 "
        f"hydra.sweeper.n_trials={TRIALS}"
    )
    command = [sys.executable, "-m", "runner.cli", *words.split()]
    with subprocess.Popen(command, env=os.environ) as search:
        end = time.monotonic() + PATIENCE
        while len(finished(root)) < KILLED_AT:
            assert time.monotonic() < end, f"waited for {KILLED_AT} trials"
            assert search.poll() is None
            time.sleep(0.5)
        search.kill()
    known = {trial.number: (trial.params, trial.values) for trial in finished(root)}
    subprocess.run(command, check=True, env=os.environ, timeout=PATIENCE)
    after = {trial.number: (trial.params, trial.values) for trial in finished(root)}
    assert len(after) == len(trials(root)) == TRIALS
    assert {number: after[number] for number in known} == known
    assert len(all_runs(root)) == TRIALS
    assert {run.state for run in all_runs(root)} == {State.DONE}
    assert {run.status["attempt"] for run in all_runs(root)} == {1}, "one job a run, waited for"
    (sweep,) = all_sweeps(root)
    assert len(sweep.members()) == TRIALS
