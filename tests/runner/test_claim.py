"""Claims: what a file may say, verdicts by hand, and one run end to end."""

import json
from pathlib import Path

import pytest
import yaml

from objectives.errors import InputError
from runner import verdict
from runner.catalogue import Option
from runner.claim import Relation, all_names, named, parsed
from runner.claim_page import index, page, pages_beside, write_page
from runner.claim_plot import series
from runner.rundir import RunDir, State
from runner.verdict import HOLDS, REFUTED, Verdict

SAID = {
    "says": "One is more accurate\nthan the other.",
    "paper": "Somebody 2020",
    "notes": "None is tuned.",
    "metric": "test/accuracy",
    "seeds": 6,
    "arms": {"one": "objective=ldr tau=0.5", "other": None},
    "holds": ["one > other"],
}
ENDED = 86_400.0  # 2 January 1970


def written(folder: Path, said: object, name: str = "mine", **settings: object) -> Option:
    """An experiment with a claim in a conf/ of the folder."""
    file = folder / "conf" / "experiment" / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    content = yaml.safe_dump({**settings, "claim": said}, sort_keys=False)
    file.write_text(f"# @package _global_\n# Mine\n{content}")
    return Option("experiment", name, file)


def results(seeds: dict[int, float], metric: str = "test/accuracy") -> list:
    """Finished runs of one second each."""
    return [
        (
            {"seed": seed, "code": "c0de" * 16, "data": ""},
            {
                "state": "done",
                "metrics": {metric: value},
                "started": ENDED + seed,
                "ended": ENDED + seed + 1,
            },
        )
        for seed, value in seeds.items()
    ]


def found_by(relation: Relation, one: list[float], other: list[float]) -> verdict.Finding:
    return verdict.find(relation, {"one": dict(enumerate(one)), "other": dict(enumerate(other))})


def test_a_claim_is_read_from_its_experiment(tmp_path):
    claim = parsed(written(tmp_path, SAID))
    assert claim.name == "mine"
    assert claim.says == "One is more accurate than the other."
    assert claim.seeds == (0, 1, 2, 3, 4, 5)
    assert claim.arms == {"one": ("objective=ldr", "tau=0.5"), "other": ()}
    assert claim.holds == (Relation("one", ">", "other", 0.0),)


@pytest.mark.parametrize(
    ("text", "sign", "lead", "shown"),
    [
        ("one > other", ">", 0.0, "one > other"),
        ("one<other", "<", 0.0, "one < other"),
        ("one > other + 0.01", ">", 0.01, "one > other + 0.01"),
        (" one > other -.5 ", ">", -0.5, "one > other - 0.5"),
        ("one < other + 1e-3", "<", 0.001, "one < other + 0.001"),
    ],
)
def test_a_comparison_may_have_a_lead(tmp_path, text, sign, lead, shown):
    (relation,) = parsed(written(tmp_path, SAID | {"holds": [text]})).holds
    assert relation == ("one", sign, "other", lead)
    assert str(relation) == shown


WRONG = {
    "no mapping": ("words", "expected arms, holds, metric"),
    "a part missing": ({k: v for k, v in SAID.items() if k != "holds"}, "holds is missing"),
    "another part": (SAID | {"arm": 1}, "arm is none of arms"),
    "five seeds": (SAID | {"seeds": 5}, "seeds=5: at least 6"),
    "seeds as a word": (SAID | {"seeds": "six"}, "seeds=six: at least 6"),
    "an arm that is none": (SAID | {"holds": ["one > two"]}, "names two, which is no arm"),
    "a comparison with itself": (SAID | {"holds": ["one > one"]}, "compares one with itself"),
    "no comparison": (SAID | {"holds": ["one is best"]}, "'one is best' is not of the form"),
    "nothing to hold": (SAID | {"holds": []}, "holds must be a list"),
    "a single arm": (SAID | {"arms": {"one": ""}}, "arms must be two or more"),
    "an arm's name": (SAID | {"arms": {"a b": "", "one": ""}}, "one word"),
    "an arm's quotes": (SAID | {"arms": {"one": "a='b", "other": ""}}, "No closing quotation"),
    "a metric": (SAID | {"metric": "accuracy"}, "metric=accuracy begins with none of test/"),
}


@pytest.mark.parametrize(("said", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_with_a_claim_is_said(tmp_path, said, message):
    with pytest.raises(InputError, match=r"claim of .*mine\.yaml") as error:
        parsed(written(tmp_path, said))
    assert message in str(error.value)


# differences 1, 2, 3, 4, 5, 6: of the 64 changes of signs two are as far from nought, p = 2 / 64
AHEAD, BEHIND = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.0] * 6


@pytest.mark.parametrize(
    ("sign", "lead", "word"),
    [
        (">", 0.0, HOLDS),
        ("<", 0.0, REFUTED),
        (">", 0.9, HOLDS),  # 0.1 to 5.1 beyond it
        (">", 3.5, "equal"),  # -2.5 to 2.5: mean nought
        (">", 2.0, "undecided"),  # -1, 0, 1, 2, 3, 4: -1 is outweighed by many changes of signs
        (">", 7.0, REFUTED),  # -6 to -1
        ("<", 7.0, HOLDS),
        ("<", -0.5, REFUTED),
    ],
)
def test_a_comparison_holds_or_is_refuted_where_six_seeds_agree(sign, lead, word):
    found = found_by(Relation("one", sign, "other", lead), AHEAD, BEHIND)
    assert found.word == word
    assert found.difference.mean == pytest.approx(3.5)  # the lead is not taken off
    if word in {HOLDS, REFUTED}:
        assert found.p == 2 / 64


def test_not_worse_by_more_than_a_margin_may_hold_where_it_is_behind():
    one = [value - 0.004 for value in AHEAD]
    assert found_by(Relation("one", ">", "other", 0.0), one, AHEAD).word == REFUTED
    assert found_by(Relation("one", ">", "other", -0.005), one, AHEAD).word == HOLDS


def test_a_tie_and_five_seeds_decide_nothing():
    more = Relation("one", ">", "other", 0.0)
    assert found_by(more, AHEAD, AHEAD).word == "equal"
    assert found_by(more, AHEAD[:5], BEHIND).word == "too few seeds"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([HOLDS, HOLDS], Verdict.REPRODUCED),
        ([HOLDS, REFUTED], Verdict.NOT_REPRODUCED),
        (["undecided", REFUTED], Verdict.NOT_REPRODUCED),
        ([HOLDS, "undecided"], Verdict.INCONCLUSIVE),
        (["equal"], Verdict.INCONCLUSIVE),
        ([HOLDS, "too few seeds"], Verdict.INCONCLUSIVE),
    ],
)
def test_all_comparisons_must_hold_and_one_can_refute(words, found):
    assert verdict.verdict(words) == found


def test_a_run_that_failed_or_has_no_finite_value_is_left_out_and_named():
    runs = results({2: 0.5, 0: 0.25, 1: float("nan")})
    runs.append(({"seed": 3}, {"state": "failed", "reason": "the loss is nan"}))
    runs.append(({"seed": 4}, {"state": "done", "metrics": {}}))
    found = verdict.arm(runs, "test/accuracy")
    assert found.values == {0: 0.25, 2: 0.5}
    assert found.mean.mean == 0.375
    assert found.missing == [
        "seed 1 has test/accuracy nan",
        "seed 3 failed: the loss is nan",
        "seed 4 has test/accuracy not at all",
    ]


def test_a_metric_that_no_run_has_is_bad_input():
    arms = {"one": verdict.arm(results({0: 1.0}), "test/accuracy")}
    verdict.check_measured(arms, "test/accuracy")
    with pytest.raises(InputError, match="no run has the metric test/acc; there are: test/acc"):
        verdict.check_measured(arms, "test/acc")


def test_a_page_has_the_numbers_and_an_index_its_verdict(tmp_path):
    claim = parsed(written(tmp_path, SAID))
    runs = {"one": results(dict(enumerate(AHEAD))), "other": results(dict(enumerate(BEHIND)))}
    runs["other"].append(({"seed": 6, "code": "", "data": ""}, {"state": "failed"}))
    arms = {name: verdict.arm(found, claim.metric) for name, found in runs.items()}
    finding = verdict.find(claim.holds[0], {name: arm.values for name, arm in arms.items()})
    (tmp_path / "mine.md").write_text(page(claim, arms, [finding], Verdict.REPRODUCED))
    (tmp_path / "notes.md").write_text("# Notes\n\nNo claim\n")
    lines = (tmp_path / "mine.md").read_text().splitlines()
    # deviation of 1 to 6 is 1.871, t(0.975; 5) = 2.571: 2.571 * 1.871 / sqrt(6) = 1.963
    for line in (
        "None is tuned.",
        "| verdict | **reproduced** |",
        "| measured | 1970-01-02 |",
        "| paper | Somebody 2020 |",
        "| command | `runner claim mine` |",
        "| time of all runs | 12 s |",
        "| one > other | 3.5 ± 2 | 0.0312 | holds |",
        "| one | `objective=ldr tau=0.5` | 6 | 3.5 ± 2 | `c0dec0dec0de` | - |",
        "| one | 1 | 2 | 3 | 4 | 5 | 6 |",
        "- other: seed 6 failed",
    ):
        assert line in lines
    rows = [line for line in index(tmp_path).splitlines() if line.startswith("| [")]
    assert rows == [
        "| [mine](mine.md) | One is more accurate than the other. | **reproduced** | 1970-01-02 |"
    ]


def test_what_stands_below_the_table_of_the_index_is_kept(tmp_path):
    (tmp_path / "README.md").write_text(index(tmp_path) + "\n## Left out\n\nNothing.\n")
    again = index(tmp_path)
    assert again.endswith("| --- | --- | --- | --- |\n\n## Left out\n\nNothing.\n")
    assert again.count("# Claims") == 1


SWEEP = {
    "low": "tau=0.1 noise=symmetric",
    "high": "tau=10 noise=symmetric",
    "middle": "noise=symmetric tau=1",
    "clean": "tau=1",
    "other": "objective=mae noise=symmetric",
}


def test_arms_with_three_numbers_of_a_hyperparameter_are_drawn_against_it(tmp_path):
    claim = parsed(written(tmp_path, SAID | {"arms": SWEEP, "holds": ["high > low"]}))
    assert claim.swept == "tau"
    ends = {"low": 0.5, "high": 0.9, "middle": 0.7, "clean": 0.95, "other": float("nan")}
    arms = {n: verdict.arm(results({0: v, 1: v}), claim.metric) for n, v in ends.items()}
    drawn = [(line.label, [(x, y.mean) for x, y in line.points]) for line in series(claim, arms)]
    assert drawn == [("noise=symmetric", [(0.1, 0.5), (1, 0.7), (10, 0.9)]), ("", [(1, 0.95)])]
    file = write_page(claim, arms, [], Verdict.INCONCLUSIVE)
    assert "![test/accuracy against tau](mine.png)" in file.read_text()
    assert file.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_two_values_are_no_sweep(tmp_path):
    two = {name: SWEEP[name] for name in ("low", "high", "other")}
    assert parsed(written(tmp_path, SAID | {"arms": two, "holds": ["high > low"]})).swept == ""


def test_pages_are_beside_the_conf_of_the_claim(tmp_path):
    ours = named(all_names()[0])
    assert pages_beside(ours.file) == Path(__file__).parents[2] / "docs" / "claims"
    assert pages_beside(written(tmp_path, SAID).file) == tmp_path / "docs" / "claims"


def test_the_claims_here_can_be_read():
    assert {"ldr", "ldr_temperature", "ppo"} <= set(all_names())
    for name in all_names():
        claim = named(name)
        assert claim.paper
        compared = {arm for r in claim.holds for arm in (r.one, r.other)}
        assert claim.swept or compared == set(claim.arms)


TINY = {"defaults": [{"override /task": "digits"}, {"override /model": "linear"}], "steps": 3}
"""Settings of an experiment whose runs are short."""

QUICK = ("hydra/launcher=basic",)


def test_a_claim_of_ones_own_end_to_end(command, root):
    arms = {"learns": "lr=0.01", "learns_not": "lr=1e-9"}
    holds = ["learns > learns_not", "learns_not > learns - 2"]
    written(root, SAID | {"arms": arms, "holds": holds}, **TINY)
    said = command("claim", "mine", *QUICK)
    assert said.code == 0, said.err
    assert "12 jobs" in said.out
    assert "verdict at 95 % confidence: reproduced" in said.out
    runs = [RunDir(file.parent) for file in root.glob("runs/*/run.json")]
    assert sorted(run.run["seed"] for run in runs) == sorted([*range(6)] * 2)
    assert len(list(root.glob("sweeps/*/manifest.json"))) == 1
    pages = root / "docs" / "claims"
    first = (pages / "mine.md").read_text()
    assert "| verdict | **reproduced** |" in first
    assert f"`{runs[0].run['data']}`" in first
    assert "[mine](mine.md)" in (pages / "README.md").read_text()
    (pages / "mine.md").unlink()
    again = command("claim", "mine", "root=.", *QUICK)
    assert "12 jobs, 12 finished before" in again.out
    assert (pages / "mine.md").read_text() == first
    assert {run.status["attempt"] for run in runs} == {1}
    assert "Somebody 2020" in command("list", "experiments").out


@pytest.mark.full
def test_with_other_settings_it_is_measured_but_has_no_page(command, root):
    written(root, SAID | {"arms": {"one": "lr=0.01", "other": "lr=0.02"}}, **TINY)
    said = command("claim", "mine", "batch_size=32", "seed=3,4,5,6,7,8,9", *QUICK)
    assert said.code == 0, said.err
    assert "14 jobs" in said.out
    assert "no page" in said.out
    assert not (root / "docs").exists()


@pytest.mark.full
def test_the_metric_that_no_run_has_leaves_no_page(command, root):
    said = SAID | {"arms": {"one": "lr=0.01", "other": ""}, "metric": "test/acuracy"}
    written(root, said, **TINY)
    answer = command("claim", "mine", *QUICK)
    assert answer.code == 1
    assert "no run has the metric test/acuracy; there are: " in answer.err
    assert not (root / "docs").exists()


BAD = {
    "no such experiment": (("foo",), {}, "experiment=foo does not exist"),
    "no claim": (("temperature",), {}, "has no claim; those with one: "),
    "nothing named": ((), {}, "name claims, or --all of them; there are: "),
    "both": (("mine", "--all"), {}, "name claims, or --all"),
    "few seeds": (("mine", "seed=0,1,2"), {}, "3 seeds: at least 6 are needed"),
    "an arm's own": (("mine", "objective=ldr"), {}, "objective is set twice: the arm one"),
    "another sweep": (("mine", "lr=0.1,0.2"), {}, "is 12 runs for 6 seeds: only seeds"),
    "a sweep in an arm": (
        ("mine",),
        {"arms": {"one": "lr=0.1,0.2", "other": ""}},
        "the arm one of mine is 12 runs for 6 seeds",
    ),
    "seeds in an arm": (
        ("mine",),
        {"arms": {"one": "seed=7", "other": ""}},
        "seed is set twice: the arm one",
    ),
    "one arm twice": (("mine",), {"arms": {"one": "", "other": ""}}, "one and other are the same"),
    "an option in an arm": (
        ("mine",),
        {"arms": {"one": "objective=ldrr", "other": ""}},
        "Did you mean objective=ldr?",
    ),
    "a setting in an arm": (
        ("mine",),
        {"arms": {"one": "taau=1", "other": ""}},
        "taau does not exist",
    ),
    "a value in an arm": pytest.param(
        ("mine",),
        {"arms": {"one": "objective=ldr tau=-1", "other": ""}},
        "tau=-1 is outside the domain of ldr",
        marks=pytest.mark.full,
    ),
    "a claim": (("mine",), {"seeds": 3}, "seeds=3: at least 6"),
    "an experiment twice": (("mine", "experiment=temperature"), {}, "experiment"),
}


@pytest.mark.parametrize(("words", "said", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_gets_one_message_before_any_work(command, root, words, said, message):
    written(root, SAID | said, **TINY)
    answer = command("claim", *words)
    assert answer.code != 0
    assert message in answer.err
    assert "Traceback" not in answer.err
    assert not list(root.glob("runs/*/run.json"))
    assert not (root / "docs").exists()


@pytest.mark.full
def test_a_failed_arm_leaves_a_page_that_says_so_and_the_next_claim_is_run(
    command, root, monkeypatch
):
    def mine(_: str) -> dict[str, Option]:
        return {name: Option("experiment", name, folder / f"{name}.yaml") for name in ("a", "b")}

    folder = root / "conf" / "experiment"
    failing = {"one": "", "other": "optimizer=sgd lr=1e38"}
    written(root, SAID | {"arms": failing}, "a", **TINY)
    written(root, SAID | {"arms": {"one": "lr=0.01", "other": ""}}, "b", **TINY)
    monkeypatch.setattr("runner.claim.options", mine)
    said = command("claim", "--all", *QUICK)
    assert said.code == 1
    assert "a: 6 jobs failed" in said.err
    pages = root / "docs" / "claims"
    text = (pages / "a.md").read_text()
    assert "- other: seed 5 failed: NotFinite" in text
    assert "| verdict | **inconclusive** |" in text
    assert "[a](a.md)" in (pages / "README.md").read_text()
    assert "[b](b.md)" in (pages / "README.md").read_text()


def test_a_claim_changes_no_signature(command, root):
    written(root, SAID, **TINY)
    command("experiment=mine")
    written(root, SAID | {"says": "Nothing."}, **TINY)
    assert "finished before" in command("experiment=mine").out
    (run,) = root.glob("runs/*/status.json")
    assert json.loads(run.read_text())["state"] == State.DONE
