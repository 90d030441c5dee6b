"""The loop: budgets, evaluations, early stopping, and going on exactly where a run was cut off."""

import io
import json

import pytest
import torch
from rich.console import Console

from runner.build import build
from runner.display import Lines, Live
from runner.progress import NotFinite, Progress
from runner.rundir import Interrupted, RunDir, State, read_events

WINDOW = {"steps_per_epoch": 10}


@pytest.fixture
def config(command):
    """The composed config of a command line, as plain values."""
    from omegaconf import OmegaConf

    def compose(*overrides: str) -> dict:
        said = command(*overrides, "--cfg", "job", "--resolve")
        assert said.code == 0, said.err
        container = OmegaConf.to_container(OmegaConf.create(said.out))
        assert isinstance(container, dict)
        return container

    return compose


def metrics_of(run: RunDir) -> list[tuple[int, dict[str, float]]]:
    return [(e["step"], e["metrics"]) for _, e in read_events(run.path / "events.jsonl")]


class StopAt:
    """A request to stop that comes at some step."""

    def __init__(self, step: int):
        self.left = step

    @property
    def requested(self) -> str:
        self.left -= 0.5  # the loop asks twice a step
        return "SIGTERM" if self.left < 0 else ""


class Quiet:
    def start(self, *_): ...

    def show(self, progress): ...


def attempt(config: dict, folder, stop_at: float = float("inf")) -> RunDir:
    from runner.train import train

    run = RunDir.plan(folder, {"signature": "run"}, "")
    experiment = build(config)
    with run.attempt() as events:
        run.finish(train(experiment, run, events, Quiet(), StopAt(stop_at)))
    return run


CASES = {
    "pure": ("task=digits", "objective=ldr", "epochs=3"),
    "state per example, SAM": ("task=digits", "objective=aldr", "algorithm=sam", "epochs=3"),
    "two views": ("task=digits", "objective=info_nce", "steps=45"),
    "rollouts": ("task=cartpole", "epochs=3", "evaluate_every=1", "log_every=7"),
    "vectors of actions": (
        "task=gym",
        "objective=reinforce",
        "actors=2",
        "horizon=64",
        "batch_size=16",
        "epochs=5",
        "evaluate_every=2.5",
        "log_every=7",
    ),
    "mean and variance": ("task=friedman", "objective=gaussian_nll", "size=200", "epochs=9"),
    "frozen reference": (
        "task=pairs",
        "objective=dpo",
        "model.width=16",
        "model.depth=1",
        "model.heads=2",
        "steps=40",
        "initial.steps=5",
    ),
    "terms, schedule, patience": (
        "objective=weighted",
        "schedule=cosine",
        "epochs=3",
        "patience=1",
        "log_every=7",
    ),
    "quantiles, accumulated": (
        "task=diabetes",
        "objective=quantile",
        "accumulate=3",
        "epochs=4",
        "optimizer=adamw",
    ),
}


@pytest.mark.parametrize("words", CASES.values(), ids=CASES.keys())
def test_a_run_cut_off_twice_ends_bit_for_bit_as_one_that_was_not(config, tmp_path, words):
    plain = config(*words)
    whole = attempt(plain, tmp_path / "whole")
    for stop in (11, 20):
        with pytest.raises(Interrupted):
            attempt(plain, tmp_path / "cut", stop)
        assert RunDir(tmp_path / "cut" / "run").state is State.INTERRUPTED
    cut = attempt(plain, tmp_path / "cut")
    assert cut.status["attempt"] == 3
    assert cut.status["metrics"] == whole.status["metrics"]
    assert metrics_of(cut) == metrics_of(whole)


def test_a_steps_budget_leads_and_the_last_window_is_kept(config, tmp_path):
    run = attempt(config("steps=25", "evaluate_every=0.5"), tmp_path)
    steps = {
        name: [s for s, m in metrics_of(run) if name in m]
        for name in ("train/loss", "val/accuracy", "test/accuracy")
    }
    assert steps == {"train/loss": [20, 25], "val/accuracy": [9, 18, 25], "test/accuracy": [25]}


def test_fractions_of_epochs_count(config):
    assert build(config("epochs=1.5")).total_steps == 27


def test_signs_of_life_need_no_event(config, tmp_path, monkeypatch):
    beats = []
    monkeypatch.setattr(RunDir, "beat", lambda _, sign: beats.append(sign))
    monkeypatch.setattr("runner.train.HEARTBEAT", 0.0)
    words = "steps=30", "log_every=20", "evaluate_every=9"
    with pytest.raises(Interrupted):
        attempt(config(*words), tmp_path, stop_at=10)
    assert [sign["step"] for sign in beats] == list(range(1, 12))
    beats.clear()
    run = attempt(config(*words), tmp_path)
    assert [sign["step"] for sign in beats] == list(range(12, 31))
    assert {sign["first"] for sign in beats} == {11}
    assert {sign["total"] for sign in beats} == {30}
    (since,) = {sign["since"] for sign in beats}
    assert run.status["started"] < since < run.status["ended"]
    (loss,) = (m["train/loss"] for s, m in metrics_of(run) if s == 20)
    assert [sign["loss"] for sign in beats] == [None] * 8 + [loss] * 11


def test_signs_of_life_keep_their_distance(config, tmp_path, monkeypatch):
    monkeypatch.setattr("runner.train.HEARTBEAT", 3600.0)
    run = attempt(config("steps=3", "log_every=1"), tmp_path)
    assert run.signs["step"] == 1


def test_patience_stops_and_tests_the_best_model(config, tmp_path):
    run = attempt(config("task=diabetes", "patience=2", "epochs=200", "lr=0.01"), tmp_path)
    values = [m["val/rmse"] for _, m in metrics_of(run) if "val/rmse" in m]
    assert len(values) < 200
    *trained, tested = values
    assert len(trained) - 1 - trained.index(min(trained)) == 2
    assert tested == min(trained)  # what stands beside the test metrics is of the same model
    final = build(config("task=diabetes"))
    state = torch.load(run.path / "checkpoint.pt", weights_only=True)
    final.learner.model.load_state_dict(state["progress"]["best_model"])
    with torch.no_grad():
        best = final.learner.protocol.evaluate(final.learner.model.eval(), "test")
    assert run.status["metrics"]["test/rmse"] == best["rmse"]


def test_evaluation_leaves_the_random_state_as_it_was(config):
    from runner.train import evaluate

    for words in ((), ("objective=info_nce",), ("task=cartpole",)):
        experiment = build(config(*words))
        before = torch.get_rng_state()
        evaluate(experiment, "val")
        assert torch.equal(torch.get_rng_state(), before)
        assert experiment.learner.model.training


def test_the_same_seed_is_the_same_run_and_another_is_not(config, tmp_path):
    metrics = [
        attempt(config("epochs=1", f"seed={seed}"), tmp_path / name).status["metrics"]
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    ]
    assert metrics[0] == metrics[1] != metrics[2]


def test_windows_are_averaged_and_a_bad_loss_is_named_by_its_first_step():
    progress = Progress(**WINDOW, step=13)
    progress.window = [{"loss": torch.tensor(v), "kl": torch.tensor(1)} for v in (1.0, 2.0, 6.0)]
    assert progress.window_means() == {"loss": 3.0, "kl": 1.0}
    progress.window[1]["loss"] = progress.window[2]["loss"] = torch.tensor(float("nan"))
    with pytest.raises(NotFinite, match=r"the loss is nan at step 12 \(epoch 2, batch 2\)"):
        progress.window_means()


def test_metrics_that_not_every_step_has_are_averaged_over_those_that_do():
    progress = Progress(**WINDOW)
    progress.window = [
        {"loss": torch.tensor(1.0)},
        {"loss": torch.tensor(2.0), "x": torch.tensor(4)},
    ]
    assert progress.window_means() == {"loss": 1.5, "x": 4.0}
    assert Progress(**WINDOW).window_means() == {}


@pytest.mark.parametrize(("maximize", "best"), [(True, 3.0), (False, 1.0)])
def test_the_best_is_remembered_with_its_model(maximize, best):
    progress = Progress(**WINDOW)
    weights = torch.zeros(1)
    for value in (2.0, 3.0, 1.0, 2.0):
        weights.fill_(value)
        progress.compare(value, maximize, {"w": weights})
    assert progress.best == best
    assert progress.best_model is not None
    assert progress.best_model["w"].item() == best
    assert progress.stale == (2 if maximize else 1)


def test_a_damaged_checkpoint_is_named(config, tmp_path):
    plain = config("epochs=3")
    with pytest.raises(Interrupted):
        attempt(plain, tmp_path, 20)
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"half")
    with pytest.raises(Exception, match=r"checkpoint.pt is damaged .* Delete it to start"):
        attempt(plain, tmp_path)


def test_every_attempt_notes_its_environment(command, root):
    command("epochs=1")
    (file,) = root.glob("runs/*/environment.json")
    (noted,) = json.loads(file.read_text())
    assert noted["packages"]["torch"] == torch.__version__
    assert noted["threads"] == torch.get_num_threads()
    assert noted["command"][1:] == ["epochs=1"]


def test_plain_lines_come_at_most_once_a_second(capsys):
    lines = Lines(Console(width=200))
    lines.start(100, 10, 20)
    progress = Progress(**WINDOW, step=30, metrics={"train/loss": 0.5, "val/accuracy": 0.9})
    lines.shown -= 2
    lines.show(progress)
    lines.show(progress)
    going_on, line = capsys.readouterr().out.splitlines()
    assert going_on == "going on from step 20"
    assert line.startswith("step 30/100  epoch 3.0")
    assert line.endswith("loss 0.5  val/accuracy 0.9")


def test_a_live_line_is_cut_where_the_terminal_ends():
    console = Console(width=40, force_terminal=True, file=io.StringIO())
    with Live(console) as live:
        live.start(100, 10, 0)
        live.shown -= 2
        live.show(Progress(**WINDOW, step=30, metrics={"train/loss": 0.5, "val/accuracy": 0.9}))
    frames = console.file.getvalue()
    assert "step 30/100  epoch" in frames
    assert "loss" not in frames


@pytest.mark.full
def test_a_compiled_model_learns_the_same(config, tmp_path):
    compiled, plain = (
        attempt(config("steps=20", f"compile={flag}"), tmp_path / flag).status["metrics"]
        for flag in ("true", "false")
    )
    assert compiled == pytest.approx(plain, rel=1e-3)
