"""Preference pairs from files in hh-rlhf's format."""

import gzip
import json
import os
from pathlib import Path

import pytest
import torch

from objectives.errors import InputError
from tasks.nlp.pair_files import read_pairs, text_pairs

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
    (pair,) = read_pairs(written(tmp_path, "a.jsonl.gz", [line(7)]))
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


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([line(n) for n in range(19)], "has 19 training pairs; at least 20"),
        ([{"chosen": "a"}], "row 1: expected two different texts"),
        ([line(0), {"chosen": "a", "rejected": "a"}], "row 2: expected two different texts"),
        ([["a", "b"]], "row 1: expected two different texts"),
    ],
)
def test_damaged_sets(tmp_path, rows, message):
    written(tmp_path, "train.jsonl", rows)
    with pytest.raises(InputError, match=message):
        text_pairs(str(tmp_path), "set")


def test_a_damaged_file_and_a_missing_one(tmp_path):
    file = written(tmp_path, "train.jsonl.gz", [line(0)])
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(InputError, match="cannot be read as JSON objects, one a line"):
        text_pairs(str(tmp_path), "set")
    with pytest.raises(InputError, match="The set of preference pairs elsewhere is not here"):
        text_pairs(str(tmp_path), "elsewhere")


@pytest.mark.skipif(
    not (Path(os.environ.get("RUNNER_DATA", "")) / "hh-rlhf").is_dir(),
    reason="the environment variable RUNNER_DATA names no folder that holds hh-rlhf/",
)
def test_the_real_set():
    data = text_pairs(os.environ["RUNNER_DATA"], "hh-rlhf/harmless-base", max_length=64)
    assert sum(len(split) for split in (data.train, data.val, data.test)) == 2312
    assert data.train.chosen_mask.any(1).all()
    assert 5000 < data.num_tokens < 10000
