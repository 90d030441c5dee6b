"""Problems in gsm8k's format, and how their solutions are graded."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from objectives.errors import InputError
from tasks.nlp.gsm8k import gsm8k, number_of, split
from tasks.nlp.pairs import given
from tasks.nlp.sampling import OPEN, opened, written

QUESTION = "Ann has {} apples and buys {} more at the market. How many has she?"
SOLUTION = "She has {0} + {1} = <<{0}+{1}={2}>>{2} apples.\n#### {2}"


def row(number: int) -> dict[str, str]:
    other = 7 * number
    return {
        "question": QUESTION.format(number, other),
        "answer": SOLUTION.format(number, other, number + other),
    }


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    gsm8k.cache_clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, numbers in (("train", range(40)), ("test", range(40, 64))):
        placed(tmp_path, name, [row(number) for number in numbers])
    return tmp_path


def placed(folder: Path, name: str, rows: list[Any]) -> None:
    file = folder / "gsm8k" / f"{name}.jsonl"
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so it is 12.\n#### 12", "12"),
        ("#### 1,234", "1234"),
        ("# # # # 1 , 2 3 4", "1234"),
        ("# # # # - 5", "-5"),
        ("# # # # 0 . 5 .", "0.5"),
        ("#### $18", "18"),
        ("12", ""),
        ("#### twelve", ""),
        ("### 12", ""),
    ],
)
def test_the_number_behind_four_signs_is_the_answer(text: str, number: str) -> None:
    assert number_of(text) == number


def test_words_and_digits() -> None:
    assert split("Tom's 12.5\n#### 3") == ["tom's", "1", "2", ".", "5", "#", "#", "#", "#", "3"]


def test_problems_as_pairs(folder: Path) -> None:
    data = gsm8k(str(folder), max_length=64)
    assert (len(data.train), len(data.val), len(data.test)) == (36, 4, 24)
    for pairs in (data.train, data.val, data.test):
        judge = data.judge
        assert judge.reward(pairs.chosen, pairs.chosen_mask).min() == 1
        assert judge.reward(pairs.rejected, pairs.rejected_mask).max() == 0
        assert judge.preference(pairs.chosen, pairs.rejected, pairs.chosen_mask).min() == 1
    said = data.judge.pieces.text(data.val.chosen[1][data.val.chosen_mask[1]].tolist())
    assert said == "she has 1 0 + 7 0 = 8 0 apples . # # # # 8 0 <end>"  # the notes left out
    lengths = (given(data.train) != OPEN).sum(dim=1)
    assert lengths.unique().tolist() == [17, 18, 19, 20]  # as many digits more
    few = gsm8k(str(folder), max_length=64, subset=5, held_out=3)
    assert (len(few.train), len(few.val), len(few.test)) == (5, 3, 3)


def test_a_solution_counts_up_to_its_end(folder: Path) -> None:
    data = gsm8k(str(folder), max_length=64)
    prompts, right = given(data.test), data.test.chosen
    more = right.where((right != 0) | (prompts != OPEN), 5)
    assert data.judge.reward(more, written(more, prompts, data.end)).min() == 1
    unended = right.where(right != data.end, 5)
    assert data.judge.reward(unended, written(unended, prompts, data.end)).max() == 0


@pytest.mark.parametrize("objective", ["sft", "dpo", "grpo", "remax"])
def test_policies_learn_from_questions_of_any_length(
    built: Any, folder: Path, objective: str
) -> None:
    words = "initial=null", "batch_size=8", "task.data.max_length=64", "model.width=16"
    experiment = built("gsm8k", f"objective={objective}", f"data={folder}", *words)
    learner = experiment.learner
    batch = next(learner.protocol.batches(learner.model, 0, 0))
    assert experiment.algorithm.update(batch)["loss"].isfinite()
    if objective in ("grpo", "remax"):
        prompts = opened(batch.tokens, batch.mask)
        for number in batch.group.unique():
            assert prompts[batch.group == number].unique(dim=0).shape[0] == 1
    found = learner.protocol.evaluate(learner.model.eval(), "test")
    assert found["accuracy"] == 0
    assert torch.tensor(list(found.values())).isfinite().all()


def test_bad_input(folder: Path) -> None:
    with pytest.raises(InputError, match=r"longest question has 20 tokens: .* must be 40 at least"):
        gsm8k(str(folder), max_length=32)
    placed(folder, "test", [row(number) for number in range(12)])
    with pytest.raises(InputError, match=r"test\.jsonl has 12 problems; at least 20 are needed"):
        gsm8k(str(folder))
    bad_rows: list[Any] = [
        {"question": "Why?"},
        {"question": "Why?", "answer": "Because."},
        {**row(1), "question": " "},
        3,
    ]
    for bad in bad_rows:
        placed(folder, "test", [*(row(number) for number in range(30)), bad])
        with pytest.raises(InputError, match=r"test\.jsonl, row 31: expected a question"):
            gsm8k(str(folder))
    with pytest.raises(InputError, match="GSM8K is not here: there is no"):
        gsm8k(str(folder / "none"))


def test_the_real_problems() -> None:
    given_data = os.environ.get("RUNNER_DATA", "")
    if not Path(given_data, "gsm8k").is_dir():
        pytest.skip("the environment variable RUNNER_DATA names no folder with gsm8k")
    data = gsm8k(given_data)
    assert (len(data.train), len(data.val), len(data.test)) == (6725, 748, 1319)
    right = [data.judge.reward(s.chosen, s.chosen_mask) for s in (data.train, data.val, data.test)]
    assert [int((part == 0).sum()) for part in right] == [8, 2, 3]  # the solutions that are cut off
