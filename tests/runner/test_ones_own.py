"""Models and objectives of the user's own, outside the repository."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from runner.rundir import RunDir

QUICK = ("task=digits", "epochs=1")
BASIC = "hydra/launcher=basic"
"""Jobs in this process, where it does not matter who runs them: that is faster."""


def runs(root: Path) -> list[RunDir]:
    return [RunDir(file.parent) for file in root.glob("runs/*/run.json")]


def test_a_model_of_ones_own(command, root, tmp_path, monkeypatch):
    (tmp_path / "their_models.py").write_text(
        "from torch import nn\n"
        "def net(input_shape, num_outputs, hidden=4):\n"
        "    first = nn.Linear(input_shape[1] * input_shape[2], hidden)\n"
        "    return nn.Sequential(nn.Flatten(), first, nn.Linear(hidden, num_outputs))\n"
    )
    monkeypatch.chdir(tmp_path)
    said = command(*QUICK, "model._target_=their_models.net", "+model.hidden=7")
    assert said.code == 0, said.err
    (run,) = runs(root)
    assert run.status["metrics"]["test/accuracy"] > 0
    model = yaml.safe_load((run.path / "config.yaml").read_text())["model"]
    assert model["hidden"] == 7
    assert "width" not in model  # of the mlp that it replaced


def test_an_objective_from_a_file_outside_the_repository(command, root):
    (root / "my_losses.py").write_text(
        "from torch.nn import functional as F\n\n"
        "def smoothed(logits, labels, *, smoothing: float = 0.1):\n"
        "    '''Label smoothing.'''\n"
        "    return F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction='none')\n"
    )
    (root / "conf" / "objective").mkdir(parents=True)
    (root / "conf" / "objective" / "smoothed.yaml").write_text(
        "# @package _global_\n# Cross-entropy with smoothed labels\n"
        "paper: Szegedy et al. 2016, arXiv:1512.00567\nsmoothing: 0.1\n"
        "objective:\n  _target_: my_losses.smoothed\n  _partial_: true\n"
        "  smoothing: ${..smoothing}\n"
    )
    said = command(*QUICK, "objective=smoothed", "-m", BASIC, "smoothing=0.0,0.2")
    assert said.code == 0
    assert len(runs(root)) == 2
    assert all((run.path / "code" / "my_losses.py").exists() for run in runs(root))
    assert "smoothed" in command("list", "objectives", "--task", "digits").out


BROKEN = {
    "yaml": ("objective: [", "def loss(logits, labels): ...", "broken.yaml"),
    "no target": ("tau: 1", "def loss(logits, labels): ...", "objective"),
    "not keyword-only": (
        "objective: {_target_: broken.loss, _partial_: true}",
        "def loss(logits, labels, tau=1.0): ...",
        "loss: tau has a default, so it is a hyperparameter, and these are keyword-only",
    ),
    "python": (
        "objective: {_target_: broken.loss, _partial_: true}",
        "def loss(logits, labels) ...",
        "broken.py, line 1: expected ':'",
    ),
    "another field": (
        "objective: {_target_: broken.loss, _partial_: true}",
        "def loss(logits, targets): ...",
        "objective loss needs logits, targets; this task yields Labelled without targets",
    ),
}


@pytest.mark.parametrize(("config", "code", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_wrong_with_an_objective_of_ones_own_is_said(command, root, config, code, message):
    (root / "broken.py").write_text(code)
    (root / "conf" / "objective").mkdir(parents=True)
    (root / "conf" / "objective" / "broken.yaml").write_text(f"# @package _global_\n{config}\n")
    command_line = [sys.executable, "-m", "runner.cli", *QUICK, "objective=broken"]
    said = subprocess.run(command_line, capture_output=True, text=True)
    assert said.returncode == 1
    assert message in said.stderr
    assert "Traceback" not in said.stderr
    assert not runs(root)
