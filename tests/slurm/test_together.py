"""Sweeps on a real cluster whose runs have to do with each other: arms of a claim, students."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.rundir import State, all_runs

pytestmark = [pytest.mark.full, pytest.mark.slurm]

SMALL = ("device=cpu", "tracking=off", "hydra/launcher=slurm")

CLAIM = """
# @package _global_
# The step size of a linear model on digits
defaults:
  - override /task: digits
  - override /model: linear
steps: 3
claim:
  says: A step size of 0.01 learns more than one of 1e-9.
  paper: Nobody 2020
  metric: test/accuracy
  seeds: 6
  arms: {learns: lr=0.01, learns_not: lr=1e-9}
  holds: [learns > learns_not]
"""


def runner(*words: str) -> str:
    command = [sys.executable, "-m", "runner.cli", *words, *SMALL]
    said = subprocess.run(command, env=os.environ, timeout=600, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    return said.stdout


def test_a_claim_is_measured_on_the_cluster(root: Path) -> None:
    file = root / "conf" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(CLAIM.lstrip())
    said = runner("claim", "mine")
    assert "verdict at 95 % confidence: reproduced" in said
    assert len(all_runs(root)) == 12
    assert "| verdict | **reproduced** |" in (root / "docs" / "claims" / "mine.md").read_text()


def test_students_wait_for_their_teacher(root: Path) -> None:
    words = ("task=digits", "objective=kd", "steps=3", "teacher.steps=200", "tau=1,2,4")
    runner(*words, "model.width=16", "-m")
    assert {run.state for run in all_runs(root)} == {State.DONE}
    assert {run.status["attempt"] for run in all_runs(root)} == {1}
    names = sorted(run.run["choices"]["objective"] for run in all_runs(root))
    assert names == ["cross_entropy", "kd", "kd", "kd"]
