"""Studies: what they are told and what they say, on real storages."""

import math

import optuna
import pytest
from omegaconf import OmegaConf
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from objectives.errors import InputError
from sweeps.study import Goal, Study, sampler_of, storage_of

ONE = Goal(("val/x",), ("minimize",), {})
TWO = Goal(("val/x", "val/y"), ("minimize", "maximize"), {})


def study(folder, goal=ONE, identity="it", storage=None, **settings) -> Study:
    sampler = optuna.samplers.RandomSampler(seed=0)
    return Study("name", storage_of(storage, folder), goal, sampler, None, identity, **settings)


def told(found: Study, *runs):
    trial = found.optuna.ask({"a": FloatDistribution(0, 1)})
    return found.finish(trial, list(runs))


def test_a_trial_is_worth_the_mean_of_its_seeds(tmp_path):
    trial = told(study(tmp_path), {"val/x": 1.0, "test/x": 5.0}, {"val/x": 2.0, "test/x": 9.0})
    assert trial.value == 1.5
    assert trial.user_attrs["metrics"] == {"val/x": 1.5, "test/x": 7.0}


@pytest.mark.parametrize(
    "runs", [[{"val/x": 1.0}, None], [{"val/x": math.nan}], [{"val/x": math.inf}]]
)
def test_what_failed_or_is_not_finite_is_a_failed_trial(tmp_path, runs):
    found = study(tmp_path)
    assert told(found, *runs).state is TrialState.FAIL
    assert told(found, {"val/x": 1.0}).state is TrialState.COMPLETE
    assert [trial.number for trial in found.best()] == [1]


def test_a_metric_that_runs_do_not_have_says_which_they_have(tmp_path):
    with pytest.raises(InputError, match=r"metric=val/x is none .*: val/z, test/z"):
        told(study(tmp_path), {"val/z": 1.0, "test/z": 1.0})


@pytest.mark.parametrize("storage", [None, "sqlite:///{}/study.db"])
def test_a_study_goes_on(tmp_path, storage):
    storage = storage and storage.format(tmp_path)
    first = study(tmp_path, storage=storage)
    told(first, {"val/x": 3.0})
    begun = first.optuna.ask({"a": FloatDistribution(0, 1)})
    again = study(tmp_path, storage=storage)
    (trial,) = again.begun()
    assert trial.number == begun.number
    assert trial.suggest_float("a", 0, 1) == begun.params["a"]
    assert [t.value for t in again.best()] == [3.0]


def test_a_study_of_something_else_is_not_gone_on_with(tmp_path):
    study(tmp_path)
    with pytest.raises(InputError, match=r"another hydra.sweeper.study_name"):
        study(tmp_path, identity="other code")
    with pytest.raises(InputError, match=r"another hydra.sweeper.study_name"):
        study(tmp_path, goal=Goal(("val/x",), ("maximize",), {}))


def test_the_front_holds_what_nothing_beats(tmp_path):
    found = study(tmp_path, TWO)
    # x small, y large: (1, 1) and (2, 3) are on it; (2, 2) is beaten by (2, 3), (3, 1) by all
    for x, y in [(1, 1), (2, 2), (2, 3), (3, 1)]:
        told(found, {"val/x": x, "val/y": y})
    assert [trial.number for trial in found.best()] == [0, 2]
    assert {trial.number for trial in found.optuna.best_trials} == {0, 2}


def test_the_best_trial_keeps_the_bounds(tmp_path):
    found = study(tmp_path, Goal(("val/x",), ("minimize",), {"size": 2.0}))
    told(found, {"val/x": 1.0, "size": 3.0})
    told(found, {"val/x": 5.0, "size": 2.0})
    assert [trial.number for trial in found.best()] == [1]


def test_a_sampler_by_name_with_its_settings():
    node = OmegaConf.create({"_target_": "optuna.samplers.NSGAIISampler", "population_size": 7})
    made = sampler_of(node, ONE, {}, 0)
    assert isinstance(made, optuna.samplers.NSGAIISampler)
    assert made._population_size == 7


def test_a_study_that_goes_on_draws_other_numbers(tmp_path):
    node = OmegaConf.create({"_target_": "optuna.samplers.RandomSampler", "seed": 0})
    drawn = []
    for trials in (0, 0, 5):
        fresh = optuna.create_study(sampler=sampler_of(node, ONE, {}, trials))
        drawn.append(fresh.ask({"a": FloatDistribution(0, 1)}).params["a"])
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": "optuna.samplers.Nothing"}, "optuna.samplers.Nothing cannot be made"),
        ({"_target_": "optuna.samplers.RandomSampler", "sed": 1}, "unexpected keyword"),
    ],
)
def test_a_sampler_that_cannot_be_made_says_why(node, message):
    with pytest.raises(InputError, match=message):
        sampler_of(OmegaConf.create(node), ONE, {}, 0)


def test_a_grid_needs_points():
    node = OmegaConf.create({"_target_": "optuna.samplers.GridSampler", "_partial_": True})
    with pytest.raises(InputError, match="a has no finite number of values"):
        sampler_of(node, ONE, {"a": FloatDistribution(0, 1)}, 0)


def test_a_storage_that_cannot_be_opened_says_so(tmp_path):
    with pytest.raises(InputError, match=r"storage=nonsense cannot be opened"):
        storage_of("nonsense", tmp_path)
