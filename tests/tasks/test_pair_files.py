"""Preference pairs from files in hh-rlhf's format."""

import csv
import gzip
import json
import os
from pathlib import Path

import pytest
import torch

from objectives.errors import InputError
from tasks.nlp.conversations import transcript
from tasks.nlp.pair_files import pair_of, text_pairs
from tasks.nlp.rows import rows_of
from tasks.nlp.text import tokenize

PROMPT = "\n\nHuman: may I ask number {}?\n\nAssistant:"


def line(number: int) -> dict[str, str]:
    prompt = PROMPT.format(number)
    return {"chosen": prompt + " Yes, of course.", "rejected": prompt + " Certainly not"}


def written(folder: Path, name: str, rows: list[object]) -> Path:
    file = folder / "set" / name
    file.parent.mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    file.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    return file


@pytest.fixture(autouse=True)
def nothing_kept():
    text_pairs.cache_clear()


def test_what_both_begin_with_is_the_prompt(tmp_path):
    (row,) = rows_of(written(tmp_path, "a.jsonl.gz", [line(7)]))
    pair = pair_of("here", row, tokenize, transcript)
    assert pair.prompt == ["human", ":", "may", "i", "ask", "number", "7", "?", "assistant", ":"]
    assert pair.chosen == ["yes", ",", "of", "course", "."]
    assert pair.rejected == ["certainly", "not"]


def test_tokens_and_masks(tmp_path):
    written(tmp_path, "train.jsonl.gz", [line(n) for n in range(40)])
    written(tmp_path, "test.jsonl", [line(n) for n in range(40, 45)])
    data = text_pairs(str(tmp_path), "set", max_length=16)
    assert (len(data.train), len(data.val), len(data.test)) == (36, 4, 5)
    pairs = data.train
    assert pairs.chosen.shape == (36, 16)
    assert set(pairs.chosen_mask.sum(1).tolist()) == {6}  # five words and the end
    assert set(pairs.rejected_mask.sum(1).tolist()) == {3}
    for tokens, mask in ((pairs.chosen, pairs.chosen_mask), (pairs.rejected, pairs.rejected_mask)):
        last = mask.int().cumsum(1).argmax(1)
        assert set(tokens[torch.arange(36), last].tolist()) == {2}
    together = torch.equal(pairs.chosen[:, :10], pairs.rejected[:, :10])
    assert together  # the prompt


def test_of_a_long_prompt_the_end_is_read_and_of_a_long_response_the_beginning(tmp_path):
    written(tmp_path, "train.jsonl", [line(n) for n in range(40)])
    data = text_pairs(str(tmp_path), "set", max_length=8)
    pairs = data.train
    assert set(pairs.chosen_mask.sum(1).tolist()) == {4}  # half: three words and the end
    assert pairs.chosen_mask[:, 4:].all()
    whole = text_pairs(str(tmp_path), "set", max_length=64).train
    assert torch.equal(pairs.chosen[:, :4], whole.chosen[:, 6:10])


def test_one_file_is_split_and_nothing_is_in_two_splits(tmp_path):
    written(tmp_path, "test.jsonl.gz", [line(n) for n in range(50)])
    data = text_pairs(str(tmp_path), "set", min_count=1)
    assert (len(data.train), len(data.val), len(data.test)) == (40, 5, 5)
    known = {tuple(row) for row in data.train.chosen.tolist()}
    assert len(known) == 40
    assert len(data.val.chosen[:, 6].unique()) + len(data.test.chosen[:, 6].unique()) <= 2


def test_the_same_for_every_call(tmp_path):
    written(tmp_path, "train.jsonl", [line(n) for n in range(40)])
    first = text_pairs(str(tmp_path), "set")
    text_pairs.cache_clear()
    assert torch.equal(first.train.chosen, text_pairs(str(tmp_path), "set").train.chosen)


ASKED = [{"role": "user", "content": "May I?"}]


def answered(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"chosen": "May I? Yes", "rejected": "May I? No"}, ["may i ?", "yes", "no"]),
        (
            {"prompt": "May I?", "chosen": "Yes I say", "rejected": "Yes I say not"},
            ["may i ?", "yes i say", "yes i say not"],
        ),
        (
            {"prompt": "May I?", "chosen": "May I? Yes", "rejected": "May I? Yes, no"},
            ["may i ?", "yes", "yes , no"],
        ),
        ({"prompt": None, "chosen": "Yes", "rejected": "Yes no"}, ["yes", "", "no"]),
        (
            {"chosen": [*ASKED, *answered("Yes")], "rejected": [*ASKED, *answered("Yes, no")]},
            ["human : may i ? assistant :", "yes", "yes , no"],
        ),
        (
            {"prompt": ASKED, "chosen": answered("Yes"), "rejected": answered("No")},
            ["human : may i ? assistant :", "yes", "no"],
        ),
        (
            {
                "prompt": "May I?",
                "chosen": [*ASKED, *answered("Yes")],
                "rejected": [*ASKED, *answered("No")],
            },
            ["human : may i ? assistant :", "yes", "no"],
        ),
        (
            {"prompt": ASKED, "chosen": "Yes", "rejected": "No"},
            ["human : may i ? assistant :", "yes", "no"],
        ),
        (
            {"chosen": answered("Yes so"), "rejected": answered("Yes no")},
            ["assistant : yes", "so", "no"],
        ),
    ],
)
def test_prompts_and_responses_of_texts_and_of_messages(row, expected):
    pair = pair_of("here", row, tokenize, transcript)
    assert [" ".join(words) for words in pair] == expected


def test_files_of_values_and_of_columns_are_read_as_json_lines_are(tmp_path):
    pyarrow, parquet = map(pytest.importorskip, ("pyarrow", "pyarrow.parquet"))
    rows = [{"prompt": f"May {n}?", "chosen": 'Yes, "I"\nsay', "rejected": "No"} for n in range(30)]
    (tmp_path / "values").mkdir()
    with gzip.open(tmp_path / "values" / "train.csv.gz", "wt", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "columns").mkdir()
    for number, part in enumerate((rows[:10], rows[10:])):
        table = pyarrow.Table.from_pylist(part)
        parquet.write_table(table, tmp_path / "columns" / f"train-0000{number}-of-00002.parquet")
    written(tmp_path, "train.jsonl", rows)
    written(tmp_path, "notes.csv", [])  # is of another kind
    whole, *others = (text_pairs(str(tmp_path), name) for name in ("set", "values", "columns"))
    assert len(whole.train) + len(whole.val) + len(whole.test) == 30
    for other in others:
        assert torch.equal(other.train.chosen, whole.train.chosen)
        assert torch.equal(other.test.rejected_mask, whole.test.rejected_mask)


def test_without_a_prompt_a_response_stands_behind_an_end(tmp_path):
    written(tmp_path, "train.jsonl", [{"chosen": "Yes", "rejected": f"no {n}"} for n in range(40)])
    pairs = text_pairs(str(tmp_path), "set").train
    assert set(pairs.chosen[:, 0].tolist()) == {2}
    assert not pairs.chosen_mask[:, 0].any()
    assert pairs.chosen_mask[:, 1].all()


def test_pairs_of_one_response_are_left_out(tmp_path):
    same = {"chosen": "May I? Yes", "rejected": "May I? yes"}  # in lower case
    written(tmp_path, "train.jsonl", [*(line(n) for n in range(20)), same, same])
    data = text_pairs(str(tmp_path), "set")
    assert len(data.train) + len(data.val) + len(data.test) == 20


def test_the_kl_to_the_reference_is_measured_where_nobody_judges(built, tmp_path):
    written(tmp_path, "train.jsonl", [line(n) for n in range(40)])
    words = f"data={tmp_path}", "folder=set", "task.data.max_length=16", "model.width=16"
    learner = built("hh_rlhf", "objective=dpo", "initial=null", *words).learner
    policy, protocol = learner.model.eval(), learner.protocol
    assert protocol.evaluate(policy, "val")["kl"] == 0
    policy.head.bias.data[3] += 2.0
    assert 0.01 < protocol.evaluate(policy, "val")["kl"] < 10


BOTH = "chosen and rejected to be both texts, or both lists of messages"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "has 0 training pairs of different responses; at least 20"),
        ([line(n) for n in range(19)], "has 19 training pairs of different responses; at least"),
        ([line(0)] * 2 + [{"chosen": "a"}], r"row 3: expected columns .*\(it has chosen\)"),
        ([["a", "b"]], r"row 1: expected columns .*\(it has none\)"),
        ([{"chosen": "a", "rejected": 3}], f"row 1: expected {BOTH}"),
        ([{"chosen": ASKED, "rejected": "a"}], f"row 1: expected {BOTH}"),
        ([{"chosen": [{"role": "user"}], "rejected": ASKED}], f"row 1: expected {BOTH}"),
        ([{"prompt": 3, "chosen": "a", "rejected": "b"}], f"row 1: expected {BOTH}"),
    ],
)
def test_damaged_sets(tmp_path, rows, message):
    written(tmp_path, "train.jsonl", rows)
    with pytest.raises(InputError, match=message):
        text_pairs(str(tmp_path), "set")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("train.jsonl.gz", lambda whole: whole[:20]),
        ("train.jsonl.gz", lambda whole: whole[:15] + b"\xff" * 9 + whole[24:]),
        ("train.jsonl", lambda whole: whole[:-9]),
        ("train.jsonl", lambda whole: whole + b"\xff"),
        ("train.parquet", lambda whole: whole),
    ],
)
def test_a_damaged_file(tmp_path, name, damage):
    file = written(tmp_path, name, [line(0)])
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match=f"{name} cannot be read as .* Put the file there whole"):
        text_pairs(str(tmp_path), "set")


def test_a_missing_set_is_not_sought_under_another_ones_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="The set of preference pairs elsewhere is not here") as e:
        text_pairs(str(tmp_path), "elsewhere", hub="Anthropic/hh-rlhf")
    assert "Anthropic" not in str(e.value)
    written(tmp_path, "train.json", [])
    with pytest.raises(InputError, match=r"set has no \*\.jsonl\*, \*\.csv\* or \*\.parquet"):
        text_pairs(str(tmp_path), "set")
    written(tmp_path, "train.jsonl", [line(n) for n in range(40)])
    with pytest.raises(InputError, match="pairs set/part is not here"):
        text_pairs(str(tmp_path), "set/part", hub="nobody/set")


@pytest.mark.skipif(
    not (Path(os.environ.get("RUNNER_DATA", "")) / "hh-rlhf").is_dir(),
    reason="the environment variable RUNNER_DATA names no folder that holds hh-rlhf/",
)
def test_the_real_set():
    data = text_pairs(os.environ["RUNNER_DATA"], "hh-rlhf/harmless-base", max_length=64)
    assert sum(len(split) for split in (data.train, data.val, data.test)) == 2312
    assert data.train.chosen_mask.any(1).all()
    assert 5000 < data.num_tokens < 10000
