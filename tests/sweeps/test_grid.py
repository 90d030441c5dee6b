"""Grids from overrides, with Hydra's real composition."""

import hydra
import pytest

from runner.catalogue import CONF
from sweeps.grid import UnknownKey, axes, grid

GROUPS = {"task", "objective", "optimizer"}


def jobs(*arguments: str) -> list[list[str]]:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        blocks = grid(
            list(arguments),
            lambda overrides: hydra.compose("config", overrides),
            GROUPS.__contains__,
        )
    return [overrides for block in blocks for overrides in block.overrides()]


def test_values_are_combined_in_order():
    assert jobs("objective=ldr", "tau=0.1,0.5", "seed=0,1") == [
        ["objective=ldr", f"tau={tau}", f"seed={seed}"] for tau in (0.1, 0.5) for seed in (0, 1)
    ]


@pytest.mark.parametrize(
    ("sweep", "values"),
    [
        ("seed=range(0,3)", ["0", "1", "2"]),
        ("tau=choice(0.1,2)", ["0.1", "2"]),
        ("tau=0.1", ["0.1"]),
        ("seed=sort(2,0,1)", ["0", "1", "2"]),
    ],
)
def test_hydras_grammar(sweep, values):
    key = sweep.split("=")[0]
    assert jobs("objective=ldr", sweep) == [["objective=ldr", f"{key}={v}"] for v in values]


def test_an_axis_is_left_out_where_it_does_not_apply():
    assert jobs("objective=ldr,cross_entropy,aldr", "tau=0.1,0.5", "alpha=2,3") == [
        *(["objective=ldr", f"tau={t}"] for t in (0.1, 0.5)),
        ["objective=cross_entropy"],
        *(["objective=aldr", f"tau={t}", f"alpha={a}"] for t in (0.1, 0.5) for a in (2, 3)),
    ]


def test_an_axis_that_applies_nowhere_is_an_error():
    with pytest.raises(UnknownKey) as raised:
        jobs("objective=ldr,cross_entropy", "beta=0.1,0.2")
    assert raised.value.key == "beta"


def test_terms_are_groups_too():
    assert jobs("objective=weighted", "objective@terms.b=ldr,aldr", "terms.b.alpha=2,3") == [
        ["objective=weighted", "objective@terms.b=ldr"],
        ["objective=weighted", "objective@terms.b=aldr", "terms.b.alpha=2"],
        ["objective=weighted", "objective@terms.b=aldr", "terms.b.alpha=3"],
    ]


def test_added_and_deleted_keys_need_not_be_there():
    assert jobs("+note=1,2", "~clip") == [["+note=1", "~clip"], ["+note=2", "~clip"]]


def test_lists_are_values_and_not_sweeps():
    (axis,) = axes(["levels=[0.1,0.9]"])
    assert axis.overrides == ("levels=[0.1,0.9]",)
