"""Jobs that are composed by laying values over one composition are the jobs that Hydra composes."""

import os

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf

from runner.catalogue import CONF
from runner.job import Job
from sweeps.grid import Block, grid
from sweeps.overlay import Overlay, can_overlay

HOME = os.environ["HOME"]
GROUPS = {"task", "objective", "optimizer", "algorithm", "noise", "model", "schedule"}


def compose(overrides: list[str]) -> DictConfig:
    return hydra.compose("config", overrides, return_hydra_config=True)


def blocks(*arguments: str) -> list[Block]:
    return grid(list(arguments), compose, GROUPS.__contains__)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(
            "task=digits objective=ldr,cross_entropy,aldr tau=0.1,0.5 seed=0,1",
            marks=pytest.mark.full,
        ),
        "task=digits objective=ldr tau=1,2.0,3e-1 model.width=16,32 data=here,there root=a,b",
        "task=uci table=energy,concrete split=0,7 objective=gaussian_nll",
        "task=charlm task.data.file=a.txt,b.txt",
        "task=diabetes objective=quantile levels=[0.1,0.9],[0.5] clip=null,1.0",
        "task=digits noise=symmetric,asymmetric noise_rate=0.2,0.4 device=cpu",
        pytest.param(
            "task=digits algorithm=sam rho=0.05,0.1 optimizer=adam,sgd lr=0.1,0.01",
            marks=pytest.mark.full,
        ),
        "task=digits objective=weighted objective@terms.a=ldr,aldr terms.a.tau=0.2,1 weights.a=0.5",
        "task=gym env=CartPole-v1,Acrobot-v1 objective=ppo,reinforce",
        "task=digits tracking=off,auto precision=bfloat16 compile=true,false",
    ],
)
def test_both_ways_give_the_same_jobs(arguments, monkeypatch):
    monkeypatch.setenv("RUNNER_ROOT", "elsewhere")
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        found = blocks(*arguments.split())
        assert all(block.can_overlay(axis) for block in found for axis in block.axes)
        laid = [job for block in found for job in block.jobs(compose)]
        composed = [Job.of(compose(o)) for b in blocks(*arguments.split()) for o in b.overrides()]
        assert len(laid) > 1
        for one, other in zip(laid, composed, strict=True):
            assert one.compose() == other.compose()
            assert (one.signature, one.code) == (other.signature, other.code)
            assert (one.name, one.choices) == (other.name, other.choices)
            assert (one.runs, one.targets) == (other.runs, other.targets)


@pytest.mark.parametrize(
    "arguments",
    [
        "+note=1,2",
        "~device lr=0.1,0.2",
        "lr=0.1,${rate} +rate=3",
        "model._target_=tasks.models.feedforward.mlp lr=0.1,0.2",
        "task=digits objective=weighted weights={a:1},{a:2} objective@terms.a=ldr",
    ],
)
def test_what_is_more_than_plain_values_is_composed_by_hydra(arguments):
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        found = blocks(*arguments.split())
        assert not all(block.can_overlay(axis) for block in found for axis in block.axes)
        jobs = [job for block in found for job in block.jobs(compose)]
        wanted = [Job.of(compose(overrides)) for block in found for overrides in block.overrides()]
        assert [job.signature for job in jobs] == [job.signature for job in wanted]


@pytest.mark.parametrize(
    "once", ["+note=1", "~device", "model._target_=tasks.models.feedforward.mlp", "lr=${steps}"]
)
def test_what_is_set_once_is_composed_once(once):
    composed = []

    def counted(overrides: list[str]) -> DictConfig:
        composed.append(overrides)
        return compose(overrides)

    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        (block,) = blocks(once, "steps=1,2,3", "seed=0,1,2")
        assert len(list(block.jobs(counted))) == 9
    assert composed == [[once]]


def test_a_job_does_not_change_when_the_next_is_made():
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        (block,) = blocks("task=diabetes", "objective=quantile", "levels=[0.1],[0.9]")
        first, second = block.jobs(compose)
    assert second.config["levels"] == [0.9]
    assert first.config["levels"] == [0.1]
    first.config["levels"].append(5)
    assert first.config["objective"]["levels"] == [0.1]


@pytest.mark.parametrize(
    ("text", "value", "wanted"),
    [
        ("{a: 1, b: '${a}'}", 2, {"a": 2, "b": 2}),
        ("{a: 1, b: '${c}', c: '${a}'}", 2, {"a": 2, "b": 2, "c": 2}),
        ("{a: 1, b: {c: '${..a}', d: '${.c}'}}", 2, {"a": 2, "b": {"c": 2, "d": 2}}),
        ("{a: 1, b: 'x${a}'}", 2, {"a": 2, "b": "x2"}),
        ("{a: 1, b: ['${a}', 3], c: '${b}'}", 2, {"a": 2, "b": [2, 3], "c": [2, 3]}),
        ("{a: 1, b: {c: '${a}'}, d: '${b}'}", 2, {"a": 2, "b": {"c": 2}, "d": {"c": 2}}),
        ("{a: 1, b: '${oc.select:a,0}'}", 2, {"a": 2, "b": 2}),
        ("{a: x, b: '${c.${a}}', c: {x: 1, y: 2}}", "y", {"a": "y", "b": 2, "c": {"x": 1, "y": 2}}),
        ("{a: '${b}', b: 1}", 2, {"a": 2, "b": 1}),
        ("{a: 1, b: '${a}'}", [1, 2], {"a": [1, 2], "b": [1, 2]}),
        ("{a: 1, b: '${oc.env:HOME}', c: '${b}'}", 2, None),
    ],
)
def test_interpolations_follow(text, value, wanted):
    plain = {"a": 2, "b": HOME, "c": HOME} if wanted is None else wanted
    laid = Overlay(OmegaConf.create(text), ["a"])
    for _ in range(2):
        assert laid.config({"a": value}) == plain


@pytest.mark.parametrize("value", [{"a": 1}, "${tau}", ["${tau}"], [{"a": 1}]])
def test_values_that_hydra_must_lay(value):
    assert not can_overlay(value)
