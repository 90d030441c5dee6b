"""Diagnostics add metrics and change nothing else."""

import json

import pytest
import torch

from objectives.errors import InputError
from runner.rundir import RunDir

WORDS = ("task=digits", "objective=ldr", "steps=40", "model.width=16", "evaluate_every=0.5")
ADVERSARIAL = ("diagnostic=adversarial", "diagnostics.adversarial.steps=3")


def finished(root) -> list[RunDir]:
    return [RunDir(file.parent) for file in root.glob("runs/*/run.json")]


def events(run: RunDir) -> list[dict]:
    return [json.loads(line) for line in (run.path / "events.jsonl").read_text().splitlines()]


def test_a_run_that_is_watched_learns_the_same(command, root):
    assert command(*WORDS, "noise=symmetric").code == 0
    (plain,) = finished(root)
    said = command(*WORDS, "noise=symmetric", *ADVERSARIAL)
    assert said.code == 0, said.err
    (watched,) = (run for run in finished(root) if run.path != plain.path)
    for before, after in zip(events(plain), events(watched), strict=True):
        assert before["metrics"].items() <= after["metrics"].items()
    metrics = watched.status["metrics"]
    assert plain.status["metrics"].items() <= metrics.items()
    for split in ("val", "test"):
        accuracy, attacked, worst = (
            metrics[f"{split}/{name}"]
            for name in ("accuracy", "pgd_accuracy", "pgd_worst_class_accuracy")
        )
        assert accuracy > attacked >= worst >= 0
        assert accuracy > metrics[f"{split}/fgsm_accuracy"]


def test_an_attack_without_radius_is_plain_accuracy(built):
    experiment = built("digits", *ADVERSARIAL, "diagnostics.adversarial.epsilon=0")
    (diagnostic,) = experiment.diagnostics
    model, protocol = experiment.learner.model.eval(), experiment.learner.protocol
    found = diagnostic.metrics("val")
    accuracy = protocol.evaluate(model, "val")["accuracy"]
    assert found["fgsm_accuracy"] == found["pgd_accuracy"] == pytest.approx(accuracy)
    assert found["pgd_worst_class_accuracy"] <= accuracy


BAD = {
    "no pixels": (("task=pairs", "steps=2"), "diagnostic adversarial changes pixels, but"),
    "no labels": pytest.param(
        ("task=digits", "objective=info_nce", "steps=2"),
        "diagnostic adversarial changes pixels, but",
        marks=pytest.mark.full,
    ),
    "a radius": (
        (*WORDS, "diagnostics.adversarial.epsilon=-1"),
        "epsilon=-1 is outside the domain of Adversarial",
    ),
}


@pytest.mark.parametrize(("words", "message"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_watched_is_refused(command, root, words, message):
    said = command(*words, "diagnostic=adversarial")
    assert said.code == 1
    assert message in said.err
    assert "Traceback" not in said.err


def test_the_norm_of_weights_by_hand(built):
    experiment = built("digits", "diagnostic=weight_norm")
    for parameter in experiment.learner.model.parameters():
        torch.nn.init.constant_(parameter, 0.5)
    (diagnostic,) = experiment.diagnostics
    weights = 64 * 16 + 16 * 16 + 16 * 10
    assert diagnostic.metrics("val") == {"weight_norm": pytest.approx(0.5 * weights**0.5)}


def test_the_gap_of_temperatures_by_hand(built):
    words = ("objective=isogclr", "imbalance=exponential", "imbalance_ratio=50")
    experiment = built("digits", *words, "diagnostic=temperature_gap")
    learner = experiment.learner
    labels, temperatures = (
        learner.protocol.data.train.labels,
        learner.objective.compute.temperatures,
    )
    assert (labels.bincount().diff() <= 0).all()  # class 0 is the largest
    temperatures[:] = torch.where(labels < 5, 0.5, 0.2)
    (diagnostic,) = experiment.diagnostics
    assert diagnostic.metrics("val") == {"temperature_gap": pytest.approx(0.3)}


def test_no_temperatures_no_gap(built):
    with pytest.raises(InputError, match="looks at the temperature of every labelled example"):
        built("digits", "objective=info_nce", "diagnostic=temperature_gap")


def test_it_is_listed(command):
    assert "FGSM, PGD" in command("list", "diagnostics").out
