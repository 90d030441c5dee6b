"""Grids from overrides, with Hydra's real composition."""

import hydra
import pytest

from objectives.errors import InputError
from runner.catalogue import CONF
from sweeps.grid import UnknownKey, axes, grid
from sweeps.zipped import spelled_out

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
    assert axis.points == (("levels=[0.1,0.9]",),)


def test_zipped_axes_go_hand_in_hand():
    words = spelled_out(["objective=ldr", "zip(tau=0.1|0.5, lr=0.2|0.02)", "seed=0,1"])
    assert jobs(*words) == [
        ["objective=ldr", f"tau={tau}", f"lr={lr}", f"seed={seed}"]
        for tau, lr in ((0.1, 0.2), (0.5, 0.02))
        for seed in (0, 1)
    ]


def test_options_and_values_are_zipped():
    words = spelled_out(["zip(objective=ldr|cross_entropy|ldr, lr=0.1|0.2|0.3, tau=3|4|5)"])
    assert jobs(*words) == [
        ["objective=ldr", "lr=0.1", "tau=3"],
        ["objective=cross_entropy", "lr=0.2"],
        ["objective=ldr", "lr=0.3", "tau=5"],
    ]


def test_what_of_a_zip_does_not_apply_leaves_no_duplicate():
    words = spelled_out(["objective=cross_entropy,ldr", "zip(tau=0.1|0.5, lr=0.1|0.1)"])
    assert jobs(*words) == [
        ["objective=cross_entropy", "lr=0.1"],
        ["objective=ldr", "tau=0.1", "lr=0.1"],
        ["objective=ldr", "tau=0.5", "lr=0.1"],
    ]


def test_two_zips_are_combined_and_may_hold_lists_and_quotes():
    words = spelled_out(["zip(levels=[0.1,0.9]|[0.2,0.8], lr='0.1'|0.2)", "zip(seed=1|2, tau=3|4)"])
    assert words == [
        "levels=tag(zip0,choice([0.1,0.9],[0.2,0.8]))",
        "lr=tag(zip0,choice('0.1',0.2))",
        "seed=tag(zip1,choice(1,2))",
        "tau=tag(zip1,choice(3,4))",
    ]
    assert len(jobs("objective=quantile", *words[:3], "epochs=tag(zip1,choice(3,4))")) == 4


@pytest.mark.parametrize("word", ["zip(tau=0.1|0.5, lr=0.1)", "zip(tau=0.1|0.5|1, lr=1|2)"])
def test_zipped_keys_need_equally_many_values(word):
    with pytest.raises(InputError, match=r"tau [23], lr [12]"):
        spelled_out([word])
    with pytest.raises(InputError, match="tau 2, seed 1"):
        axes(["tau=tag(zip,choice(1,2))", "seed=tag(zip,choice(1))"])


@pytest.mark.parametrize("word", ["zip(tau)", "zip()", "zip(tau=)", "zip(=1|2)"])
def test_a_zip_that_is_none_says_how_it_reads(word):
    with pytest.raises(InputError, match=r"zip\(KEY=VALUE\|VALUE"):
        spelled_out([word])


def test_an_unknown_key_in_a_zip_is_an_error():
    with pytest.raises(UnknownKey) as raised:
        jobs(*spelled_out(["zip(objective=ldr|aldr, tua=1|2)"]))
    assert raised.value.key == "tua"
