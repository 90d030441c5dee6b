"""Search spaces from Hydra's grammar and from objectives' own."""

import pytest
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import FloatDistribution as Float
from optuna.distributions import IntDistribution as Int

from objectives.errors import InputError
from sweeps.space import space
from sweeps.study import values


def searched(*arguments: str, **params: str):
    return space(arguments, params, lambda key: key == "objective")


@pytest.mark.parametrize(
    ("override", "distribution"),
    [
        ("x=interval(1,5)", Float(1, 5)),
        ("x=interval(-5.5,2)", Float(-5.5, 2)),
        ("x=tag(log,interval(0.1,5))", Float(0.1, 5, log=True)),
        ("x=int(interval(1,9))", Int(1, 9)),
        ("x=tag(log,int(interval(1,100)))", Int(1, 100, log=True)),
        ("x=range(1,9)", Int(1, 9)),
        ("x=range(1,9,2)", Int(1, 9, step=2)),
        ("x=range(0.0,1.0,0.25)", Float(0, 1, step=0.25)),
        ("x=1,2.5,true", Choice([1, 2.5, True])),
        ("x=choice(a,'b c')", Choice(["a", "b\\ c"])),
        ("x=null,1", Choice([None, 1])),
        ("x=[1,2],[3]", Choice(["[1,2]", "[3]"])),
    ],
)
def test_hydras_sweeps_are_distributions(override, distribution):
    (param,) = searched(override).values
    assert param.distribution == distribution
    assert (param.name, param.key) == ("x", "x")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("x=tag(zip1,choice(1,2))", "zipped keys are for grids"),
        ("x=interval(5,1)", "x=interval\\(5,1\\): .*low"),
        ("x=tag(log,interval(-1,1))", "x=.*low"),
    ],
)
def test_what_cannot_be_searched_is_an_error(override, message):
    with pytest.raises(InputError, match=message):
        searched(override)


def test_what_is_fixed_what_chooses_and_what_repeats():
    found = searched("a=1", "objective=ldr,gce", "seed=3,5", "tau=interval(0,1)")
    assert found.fixed == ("a=1",)
    assert [param.key for param in found.options] == ["objective"]
    assert [param.key for param in found.values] == ["tau"]
    assert found.seeds == (3, 5)


def test_the_command_line_leads():
    found = searched("tau=0.3", tau="interval(0,1)", q="interval(0,2)")
    assert found.fixed == ("tau=0.3",)
    assert [(p.key, p.distribution) for p in found.values] == [("q", Float(0, 2))]


def test_an_objectives_own_space():
    config = OmegaConf.create(
        {
            "a": 1,
            "space": {
                "a": {"log": [0.1, 2]},
                "b": {"linear": [0, 1]},
                "c": {"int": [1, 5]},
                "d": None,  # of an objective that this one builds on
            },
        }
    )
    found = searched("b=3").of(config, "ldr")
    assert [(p.name, p.distribution) for p in found] == [
        ("a", Float(0.1, 2, log=True)),
        ("c", Int(1, 5)),
    ]
    assert searched("objective=ldr,gce").of(config, "ldr")[0].name == "ldr.a"
    assert searched("a=interval(0,9)").of(config, "ldr")[0].distribution == Float(0, 9)


@pytest.mark.parametrize("given", [[1, 2], {"lg": [1, 2]}, {"log": [0, 1]}, {"log": [1]}, 3])
def test_a_space_that_is_none_says_how_it_reads(given):
    with pytest.raises(InputError, match=r"space.a is .*\{log: \[...\]\}"):
        searched().of(OmegaConf.create({"space": {"a": given}}), "ldr")


def test_the_points_of_a_grid():
    assert values("x", Int(1, 5, step=2)) == [1, 3, 5]
    assert values("x", Float(0, 1, step=0.25)) == [0, 0.25, 0.5, 0.75, 1]
    assert values("x", Choice(["a", None])) == ["a", None]
    with pytest.raises(InputError, match="x has no finite number of values"):
        values("x", Float(0, 1))
