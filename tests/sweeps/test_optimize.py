"""Searches: of somebody's function, and of the runner's own runs."""

import copy
import json

import hydra
import optuna
import pytest
import yaml
from hydra._internal.callbacks import Callbacks
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf

from runner.cli import main
from runner.rundir import State, all_runs
from runner.sweepdir import all_sweeps

SAMPLERS = [
    "tpe",
    "gp",
    "cmaes",
    "motpe",
    "random",
    "nsgaii",
    "nsgaiii",
    "qmc",
    "brute_force",
    "grid",
]


def search(folder, function, *words: str, **config):
    """A function on Hydra's basic launcher, as an application of its own would be."""
    defaults = ["_self_", {"override hydra/sweeper": "optuna"}]
    ConfigStore.instance().store("app", {"defaults": defaults, **config})
    quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none", f"hydra.sweep.dir={folder}"]
    with hydra.initialize(version_base="1.3", config_path=None):
        loader = GlobalHydra.instance().config_loader()
        composed = loader.load_configuration("app", [*quiet, *words], run_mode=RunMode.MULTIRUN)
        sweeper = Plugins.instance().instantiate_sweeper(
            config=composed,
            hydra_context=HydraContext(loader, Callbacks()),
            task_function=function,
        )
        sweeper.sweep(list(composed.hydra.overrides.task))
    return yaml.safe_load((folder / "optimization_results.yaml").read_text())


def trials_of(folder) -> list[optuna.trial.FrozenTrial]:
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.log"))
    storage = optuna.storages.JournalStorage(backend)
    (summary,) = optuna.get_all_study_summaries(storage)
    return optuna.load_study(study_name=summary.study_name, storage=storage).trials


def sphere(config) -> float:
    return (config.x - 1) ** 2 + config.y**2


@pytest.fixture(autouse=True)
def nothing_stored(monkeypatch):
    """What other applications find stored, the runner finds as files: not both in one process."""
    Plugins.instance()  # they store theirs once
    store = ConfigStore.instance()
    monkeypatch.setattr(store, "repo", copy.deepcopy(store.repo))


@pytest.mark.parametrize(
    "sampler",
    [pytest.param(name, marks=[pytest.mark.full] * (name != "tpe")) for name in SAMPLERS],
)
def test_every_sampler_searches(tmp_path, sampler):
    found = search(
        tmp_path,
        sphere,
        f"hydra/sweeper/sampler={sampler}",
        "hydra.sweeper.n_trials=9",
        "hydra.sweeper.n_jobs=3",
        "x=-1,0,1",
        "y=0.0,0.5,1.0",
        x=0,
        y=0.0,
    )
    trials = trials_of(tmp_path)
    assert found["name"] == "optuna"
    assert found["best_value"] == min(trial.value for trial in trials)
    assert all(trial.value == sphere(OmegaConf.create(trial.params)) for trial in trials)
    if sampler in {"grid", "brute_force"}:
        assert len({tuple(trial.params.values()) for trial in trials}) == 9
        assert found["best_params"] == {"x": 1, "y": 0.0}


def test_a_batch_may_fail_as_far_as_its_rate_says(tmp_path):
    def fails_beyond_one(config) -> float:
        if config.x > 1:
            raise ValueError("too large")
        return config.x

    words = ["x=1,2", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_jobs=2"]
    found = search(tmp_path / "a", fails_beyond_one, *words, x=0)
    assert found["best_params"] == {"x": 1}
    assert {t.state.name for t in trials_of(tmp_path / "a")} == {"COMPLETE", "FAIL"}
    search(tmp_path / "b", fails_beyond_one, *words, "hydra.sweeper.max_failure_rate=0.5", x=0)
    with pytest.raises(RuntimeError, match="1 of 2 trials failed"):
        search(tmp_path / "c", fails_beyond_one, *words, "hydra.sweeper.max_failure_rate=0.4", x=0)


def test_several_directions_have_a_front(tmp_path):
    found = search(
        tmp_path,
        lambda config: (config.x, config.x**2),
        "hydra.sweeper.direction=[maximize,minimize]",
        "hydra/sweeper/sampler=grid",
        "x=-2,-1,0,1",
        x=0,
    )
    # more of x is better, less of x² is: -2 and -1 are beaten by 0, and 0 and 1 are on the front
    assert sorted(solution["params"]["x"] for solution in found["solutions"]) == [0, 1]


def half(config, trial):
    trial.suggest_float("y", 0, trial.params["x"] / 2)


def test_a_custom_space_sees_the_trial(tmp_path):
    search(
        tmp_path,
        sphere,
        "x=interval(1,2)",
        "hydra.sweeper.custom_search_space=tests.sweeps.test_optimize.half",
        "hydra.sweeper.n_trials=5",
        x=0,
        y=0.0,
    )
    trials = trials_of(tmp_path)
    assert all(0 <= trial.params["y"] <= trial.params["x"] / 2 for trial in trials)
    assert len({trial.params["y"] for trial in trials}) == 5


def test_params_of_the_config_and_first_guesses(tmp_path):
    search(
        tmp_path,
        sphere,
        '+hydra.sweeper.params.x="interval(0,2)"',
        "hydra.sweeper.enqueue=[{x: 1.0}]",
        "hydra.sweeper.n_trials=2",
        x=0,
        y=0.0,
    )
    first, second = trials_of(tmp_path)
    assert first.params == {"x": 1.0}
    assert second.params != first.params


def test_more_trials_go_on_with_the_same_study(tmp_path):
    for total in (2, 5):
        words = ["x=interval(0,2)", f"hydra.sweeper.n_trials={total}"]
        search(tmp_path, sphere, *words, x=0, y=0.0)
        assert len(trials_of(tmp_path)) == total
    assert len({trial.params["x"] for trial in trials_of(tmp_path)}) == 5


# The runner's own runs.

FEW = "task=digits model=linear steps=3 device=cpu tracking=off hydra/launcher=basic -m"


def run(monkeypatch, capsys, root, words: str) -> str:
    arguments = ["runner", *FEW.split(), f"root={root}", "hydra/sweeper=optuna", *words.split()]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    return said.out + (str(end.value.code) if end.value.code else "")


def answer(root) -> dict:
    (sweep,) = all_sweeps(root)
    return json.loads((sweep.path / "answer.json").read_text())


def test_an_objectives_own_space_is_searched_and_answered(monkeypatch, capsys, tmp_path):
    said = run(monkeypatch, capsys, tmp_path, "objective=ldr hydra.sweeper.n_trials=3")
    best = answer(tmp_path)["best"][0]
    (sweep,) = all_sweeps(tmp_path)
    assert {run.path.name for run in sweep.members()} == {r.path.name for r in all_runs(tmp_path)}
    assert len(sweep.members()) == 3
    values = [run.status["metrics"]["val/accuracy"] for run in sweep.members()]
    assert best["values"] == {"val/accuracy": max(values)}
    assert yaml.safe_load((sweep.path / "answer" / "best.yaml").read_text()) == best
    command = best["command"]
    assert command in said
    assert f"tau={best['params']['tau']}" in command
    for name in ("optimization_history", "slice"):
        assert (sweep.path / "answer" / f"{name}.png").stat().st_size > 5000
        assert "plotly" in (sweep.path / "answer" / f"{name}.html").read_text()[:5_000_000].lower()

    # what it says to type is the run that it found
    words = command.removeprefix("runner ") + " tracking=off"
    monkeypatch.setattr("sys.argv", ["runner", *words.split(), "device=cpu", f"root={tmp_path}"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert "finished before" in capsys.readouterr().out


@pytest.mark.full
def test_seeds_are_replicates_and_spaces_conditional(monkeypatch, capsys, tmp_path):
    words = "objective=ldr,gce seed=0,1 hydra.sweeper.n_trials=4 hydra/sweeper/sampler=random"
    run(monkeypatch, capsys, tmp_path, words)
    (sweep,) = all_sweeps(tmp_path)
    runs = sweep.members()
    assert len(runs) == 8
    assert {run.run["seed"] for run in runs} == {0, 1}
    for trial in trials_of(sweep.path):
        names = {"ldr": {"objective", "ldr.tau"}, "gce": {"objective", "gce.q"}}
        assert trial.params.keys() == names[trial.params["objective"]]
        mine = [r for r in runs if r.run["choices"]["objective"] == trial.params["objective"]]
        value = next(v for k, v in trial.params.items() if k != "objective")
        pair = [r.status["metrics"]["val/accuracy"] for r in mine if f"={value}" in r.run["name"]]
        assert trial.value == pytest.approx(sum(pair) / 2)
    assert "seed=0,1 -m" in answer(tmp_path)["best"][0]["command"]


@pytest.mark.full
def test_a_hopeless_trial_is_given_up_with_all_its_seeds(monkeypatch, capsys, tmp_path):
    words = (
        "objective=ldr lr=choice(0.05,1e-9) seed=0,1,2 steps=6000 evaluate_every=0.2 optimizer=sgd "
        "hydra/sweeper/sampler=grid hydra.sweeper.n_trials=2 hydra.sweeper.n_jobs=1 "
        "hydra/sweeper/pruner=threshold hydra.sweeper.pruner.lower=0.5 "
        "hydra.sweeper.pruner.n_warmup_steps=10 hydra/launcher=local"
    )
    run(monkeypatch, capsys, tmp_path, words)
    (sweep,) = all_sweeps(tmp_path)
    states = {trial.params["lr"]: trial.state.name for trial in trials_of(sweep.path)}
    assert states == {0.05: "COMPLETE", 1e-9: "PRUNED"}
    hopeless = [run for run in sweep.members() if "lr=1e-09" in run.run["name"]]
    ends = [run.state for run in hopeless]  # on a busy machine one may end before it is told
    assert ends.count(State.PRUNED) >= 2
    assert set(ends) <= {State.PRUNED, State.DONE}


@pytest.mark.full
def test_edited_code_is_another_study(monkeypatch, capsys, tmp_path):
    run(monkeypatch, capsys, tmp_path, "objective=ldr hydra.sweeper.n_trials=1")
    run(monkeypatch, capsys, tmp_path, "objective=ldr hydra.sweeper.n_trials=1 lr=0.5")
    assert len(all_sweeps(tmp_path)) == 2


def test_nothing_is_done_twice(monkeypatch, capsys, tmp_path):
    words = "objective=ldr hydra.sweeper.n_trials=2"
    run(monkeypatch, capsys, tmp_path, words)
    before = {r.path.name: r.status["ended"] for r in all_runs(tmp_path)}
    run(monkeypatch, capsys, tmp_path, words)
    assert {r.path.name: r.status["ended"] for r in all_runs(tmp_path)} == before
    assert len(before) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("objective=cross_entropy", "there is nothing to search"),
        ("objective=ldr beta=interval(1,2)", "ldr has no beta"),
        ("objective=ldr tau=interval(-1,2)", "tau=-1.0 is outside the domain of ldr"),
        ("objective=ldr hydra.sweeper.metric=val/foo", "direction=minimize or maximize"),
        ("objective=ldr hydra.sweeper.n_trials=0", "n_trials=0"),
        ("objective=ldr hydra/sweeper/pruner=median hydra.sweeper.pruner.foo=1", "foo"),
        ("objective=ldr hydra.sweeper.foo=1", "hydra.sweeper.foo does not exist"),
        ("objective=ldr hydra.sweeper.enqueue=[{tua:1}]", "tua is not searched; tau"),
        ("objective=ldr hydra.sweeper.custom_search_space=no.such", "no.such cannot be imported"),
    ],
)
def test_bad_input_is_told_before_any_work(monkeypatch, capsys, tmp_path, words, message):
    assert message in run(monkeypatch, capsys, tmp_path, words)
    assert not all_runs(tmp_path)
