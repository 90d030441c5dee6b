"""Text classification: the sets' files, words, batches and the pooled transformer."""

import math
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from objectives.errors import InputError
from runner.identity import fingerprint, signature
from tasks.models.transformer import PADDING
from tasks.nlp.classification import TextClassification, trimmed
from tasks.nlp.sentiment import polarity, treebank
from tasks.nlp.text import UNKNOWN, Examples, held_out, text_set, tokenize
from tasks.nlp.trec import COARSE, TREC, trec

CPU = torch.device("cpu")
MODEL = nn.Identity()  # batches do not depend on it
NAMES = ("a", "b")


def write_polarity(root: Path, count: int = 50) -> Path:
    folder = root / "rt-polaritydata"
    folder.mkdir()
    for name, word in (("neg", "bad"), ("pos", "good")):
        lines = [f"{word} film number {name}{i} – d\xe9j\xe0 vu ." for i in range(count)]
        (folder / f"rt-polarity.{name}").write_bytes("\n".join(lines).encode("cp1252") + b"\n")
    return folder


def write_trec(root: Path) -> Path:
    folder = root / "trec"
    folder.mkdir()
    train = [f"{name}:one What is \xf0 {i} ?" for name in COARSE for i in range(20)]
    (folder / "train_5500.label").write_text("\n".join([*train, "NUM:rare Why ?"]), "latin-1")
    test = [f"{name}:one Which is {name} ?" for name in COARSE]
    (folder / "TREC_10.label").write_text("\n".join(test), "latin-1")
    return folder


def write_treebank(root: Path) -> Path:
    folder = root / "sst"
    folder.mkdir()
    for end, count in (("train", 12), ("dev", 4), ("test", 6)):
        lines = [f"{i % 2} word{i} caf\xe9" for i in range(count)]
        (folder / f"stsa.binary.{end}").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def sst2(data: Path) -> Any:
    return treebank(str(data), "binary", "SetFit/sst2", 2, min_count=1, max_length=8)


def decoded(data: Any, split: str) -> list[str]:
    rows = getattr(data, split).tokens.tolist()
    return [" ".join(data.words[i] for i in row if i != PADDING) for row in rows]


def small_set(**settings: Any) -> Any:
    train = Examples(["one two two", "Two three, one!", "one"], ["a", "b", "a"])
    other = Examples(["four one", "three"], ["a", "b"])
    splits = {"train": train, "val": other, "test": other}
    return text_set(TREC, splits, NAMES, **{"min_count": 1, "max_length": 6, **settings})


def test_words_are_lower_case_and_punctuation_is_kept() -> None:
    assert tokenize("It's a 'B-movie',  d\xe9j\xe0 vu!") == [
        *("it's", "a", "'", "b", "-", "movie", "'", ",", "d\xe9j\xe0", "vu", "!")
    ]


def test_the_vocabulary_is_of_the_training_split_the_frequent_first() -> None:
    data = small_set()
    assert data.words == ("<padding>", "<unknown>", "one", "two", "!", ",", "three")
    assert small_set(min_count=2).words == ("<padding>", "<unknown>", "one", "two")


def test_unknown_words_padding_and_truncation() -> None:
    data = small_set()
    assert data.val.tokens.tolist() == [[UNKNOWN, 2, 0, 0, 0, 0], [6, 0, 0, 0, 0, 0]]
    assert data.train.tokens[1].tolist() == [3, 6, 5, 2, 4, PADDING]
    assert data.val.labels.tolist() == [0, 1]
    assert small_set(max_length=2).train.tokens.tolist() == [[2, 3], [3, 6], [2, 0]]


@pytest.mark.parametrize("name", ["min_count", "max_length"])
def test_settings_below_one(name: str) -> None:
    with pytest.raises(InputError, match=f"task.data.{name}=0: it must be 1 or more"):
        small_set(**{name: 0})


def test_held_out_is_stratified_and_keeps_rare_classes() -> None:
    labels = ["a"] * 40 + ["b"] * 20 + ["c"] * 4 + ["d"]
    kept, out = held_out(labels, share=0.1)
    assert Counter(labels[row] for row in out) == {"a": 4, "b": 2}
    assert sorted([*kept, *out]) == list(range(65))
    np.random.seed(7)
    assert (held_out(labels, share=0.1)[1] == out).all()


def test_polarity_has_a_split_of_its_own(tmp_path: Path) -> None:
    write_polarity(tmp_path)
    data = polarity(str(tmp_path), min_count=1)
    assert [len(s) for s in (data.train, data.val, data.test)] == [80, 10, 10]
    for split in ("train", "val", "test"):
        labels = getattr(data, split).labels
        assert labels.double().mean() == 0.5
        words = [sentence.split()[0] for sentence in decoded(data, split)]
        assert words == [("bad", "good")[label] for label in labels]
    assert {"d\xe9j\xe0", "–"} <= set(data.words)
    assert data.test.tokens.tolist() == polarity.__wrapped__(str(tmp_path), 1).test.tokens.tolist()


def test_no_sentence_is_in_two_splits(tmp_path: Path) -> None:
    write_polarity(tmp_path)
    data = polarity(str(tmp_path), min_count=1)
    assert len(set(decoded(data, "train"))) == 80  # by the word that each has for itself
    for split in ("val", "test"):
        assert {sentence.split()[3] for sentence in decoded(data, split)} == {"<unknown>"}


def test_treebank(tmp_path: Path) -> None:
    write_treebank(tmp_path)
    data = sst2(tmp_path)
    assert [len(s) for s in (data.train, data.val, data.test)] == [12, 4, 6]
    assert data.test.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert decoded(data, "test")[1] == "word1 caf\xe9"


def test_trec_coarse(tmp_path: Path) -> None:
    write_trec(tmp_path)
    data = trec(str(tmp_path))
    assert data.classes == COARSE
    assert [len(s) for s in (data.train, data.val, data.test)] == [109, 12, 6]
    assert data.val.labels.bincount().tolist() == [2] * 6
    assert data.test.labels.tolist() == list(range(6))
    assert "\xf0" in data.words


def test_trec_fine_keeps_the_rare_class_in_training(tmp_path: Path) -> None:
    write_trec(tmp_path)
    data = trec(str(tmp_path), fine=True)
    assert data.classes == (*(f"{name}:one" for name in COARSE), "NUM:rare")
    assert data.train.labels.bincount().tolist() == [18] * 6 + [1]
    assert 6 not in data.val.labels


def damaged(file: Path, content: bytes, read: Callable[[], Any]) -> str:
    file.write_bytes(content)
    with pytest.raises(InputError) as error:
        read()
    return str(error.value)


def test_damaged_polarity(tmp_path: Path) -> None:
    folder = write_polarity(tmp_path)
    file = folder / "rt-polarity.pos"

    def said(content: bytes) -> str:
        return damaged(file, content, lambda: polarity(str(tmp_path)))

    assert said(b"  \n\n").startswith(f"{file} is empty; expected a sentence a line. Put its files")
    assert said(b"good\n\ngood\n") == f"{file}, line 2 is blank; expected a sentence."
    assert f"{file} is damaged: byte 3 (0x81) is no cp1252 text" in said(b"bad\x81")
    file.unlink()
    with pytest.raises(InputError, match=r"rt-polarity.pos cannot be read: No such file .* Put "):
        polarity(str(tmp_path))


def test_damaged_treebank(tmp_path: Path) -> None:
    folder = write_treebank(tmp_path)
    file = folder / "stsa.binary.dev"

    def said(content: bytes) -> str:
        return damaged(file, content, lambda: sst2(tmp_path))

    expected = f"{file}, line 2: expected a label (0, 1) and a sentence, not "
    assert said(b"1 good\nbad one\n") == f"{expected}'bad one'."
    assert said(b"1 good\n2 bad\n") == f"{expected}'2 bad'."
    assert said(b"1 good\n0\n") == f"{file}, line 2: no sentence follows the label 0."
    assert "byte 5 (0xe9) is no utf-8 text" in said(b"1 caf\xe9\n")
    assert said(b"1 good\n1 fine\n").startswith(
        "The Stanford sentiment treebank: its val split has no example of class 0. Put its files"
    )


def test_damaged_trec(tmp_path: Path) -> None:
    folder = write_trec(tmp_path)
    file = folder / "TREC_10.label"

    def said(content: bytes, fine: bool = False) -> str:
        return damaged(file, content, lambda: trec(str(tmp_path), fine))

    labels = ", ".join(COARSE)
    assert said(b"What is this ?\n") == (
        f"{file}, line 1: expected a label ({labels}) and a sentence, not 'What is this ?'."
    )
    assert "its test split has no example of class ABBR, DESC, ENTY, HUM, LOC. Put" in said(
        b"NUM:one How many ?\n"
    )
    assert said(b"NUM:new How many ?\n", fine=True) == (
        f"{file}: no training question has label NUM:new."
    )


@pytest.mark.parametrize("read", [polarity, trec, sst2], ids=["polarity", "trec", "treebank"])
def test_a_missing_set(tmp_path: Path, read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"(?s)is not here: there is no .*start with task=charlm"):
        read(str(tmp_path))


def write_hub(folder: Path, rows: dict[str, dict[str, list[Any]]]) -> None:
    datasets = pytest.importorskip("datasets")
    for split, columns in rows.items():
        file = folder / "data" / f"{split}-00000-of-00001.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_dict(columns).to_parquet(str(file))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder, the library's own cache beside it."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path


SPLITS = "train", "validation", "test"
REVIEWS = {"text": ["a fine film", "a bad film"] * 3, "label": [1, 0] * 3}


def test_polarity_in_the_hubs_format(hub: Path) -> None:
    write_hub(hub / "rotten_tomatoes", dict.fromkeys(SPLITS, REVIEWS))
    data = polarity(str(hub), min_count=1)
    assert data.test.labels.tolist() == REVIEWS["label"]
    assert decoded(data, "val") == REVIEWS["text"]


def test_trec_in_the_hubs_format(hub: Path) -> None:
    count = 60
    columns = {
        "text": [f"what {i}" for i in range(count)],
        "coarse_label": [i % 6 for i in range(count)],
        "fine_label": [i % 50 for i in range(count)],
    }
    write_hub(hub / "trec", {"train": columns, "test": columns})
    data = trec(str(hub))
    assert data.test.labels.tolist() == columns["coarse_label"]
    assert len(data.val) == 6
    assert trec(str(hub), fine=True).test.labels.tolist() == columns["fine_label"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"sentence": ["a"], "label": [0]},
            r"rotten_tomatoes, train: no column text \(it has sentence, label\)",
        ),
        (
            {"text": ["a", "b"], "label": [0, -1]},
            "train, row 1: expected a sentence and a label from 0 to 1, not 'b' and -1",
        ),
        ({"text": [" "], "label": [0]}, "train, row 0: expected a sentence"),
    ],
    ids=["column", "label", "text"],
)
def test_a_damaged_set_in_the_hubs_format(hub: Path, columns: Any, message: str) -> None:
    write_hub(hub / "rotten_tomatoes", dict.fromkeys(SPLITS, columns))
    with pytest.raises(InputError, match=message):
        polarity(str(hub))


def test_a_split_that_the_hub_lacks(hub: Path) -> None:
    write_hub(hub / "rotten_tomatoes", {"train": REVIEWS, "test": REVIEWS})
    with pytest.raises(InputError, match=r"has no split val \(it has train, test\)"):
        polarity(str(hub))


def test_trimmed_cuts_columns_of_padding_alone() -> None:
    tokens = torch.tensor([[5, 0, 0, 0], [2, 3, 0, 0]])
    assert trimmed(tokens).tolist() == [[5, 0], [2, 3]]
    assert trimmed(tokens[:1]).tolist() == [[5]]


def protocol(data: Any, seed: int = 0) -> TextClassification:
    return TextClassification(data, batch_size=16, seed=seed, device=CPU)


def test_batches_are_sentences_with_their_labels(tmp_path: Path) -> None:
    write_polarity(tmp_path)
    data = polarity(str(tmp_path))
    batches = list(protocol(data).batches(MODEL, 0, 0))
    assert len(batches) == protocol(data).steps_per_epoch == 5
    index = torch.cat([batch.index for batch in batches])
    assert sorted(index.tolist()) == list(range(80))
    for batch in batches:
        assert torch.equal(batch.labels, data.train.labels[batch.index])
        assert torch.equal(batch.tokens, trimmed(data.train.tokens[batch.index]))
    again, tail = protocol(data).batches(MODEL, 0, 0), protocol(data).batches(MODEL, 0, 3)
    assert [b.index.tolist() for b in again] == [b.index.tolist() for b in batches]
    assert [b.index.tolist() for b in tail] == [b.index.tolist() for b in batches[3:]]
    other = next(protocol(data, seed=1).batches(MODEL, 0, 0))
    assert not torch.equal(other.index, batches[0].index)


class LastWord(nn.Module):
    """Scores of class 1 where the first word is number 2."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        right = (tokens[:, 0] == 2).float()
        return torch.stack([-right, right], dim=-1) + torch.tensor([0.5, 0.0])


def test_evaluation_is_accuracy_and_nats_over_the_whole_split() -> None:
    # val: "four one" (a) and "three" (b): scores 0.5, 0 for both
    metrics = protocol(small_set()).evaluate(LastWord(), "val")
    nats = math.log(1 + math.exp(-0.5)), math.log(1 + math.exp(0.5))
    assert metrics["accuracy"] == 0.5
    assert metrics["nll"] == pytest.approx(sum(nats) / 2, rel=1e-6)


def test_learns_by_any_classification_objective(tmp_path: Path, built: Callable[..., Any]) -> None:
    write_polarity(tmp_path)
    small = [f"data={tmp_path}", "model.width=16", "model.heads=2", "model.dropout=0", "lr=0.01"]
    teacher = ("teacher.model.width=16", "alpha=0.1")  # untrained
    peer = ("peer.width=16", "peer.heads=2", "forward=0", "reverse=0")
    for objective, *more in (("cross_entropy",), ("aldr",), ("kd", *teacher), ("bd_kd", *peer)):
        learner = built("sentiment", f"objective={objective}", *small, *more).learner
        for epoch in range(10):
            for batch in learner.protocol.batches(learner.model, epoch, 0):
                learner.backward(batch)
                learner.step()
        learner.model.eval()
        with torch.no_grad():
            assert learner.protocol.evaluate(learner.model, "test")["accuracy"] == 1.0, objective


def test_settings_and_files_of_a_set_are_part_of_the_signature(
    tmp_path: Path, composed: Callable[..., dict[str, Any]]
) -> None:
    folder = write_trec(tmp_path)
    coarse, fine = composed("trec", "data=here"), composed("trec", "data=here", FINE_LABELS)
    before = signature(coarse, tmp_path)
    assert signature(fine, tmp_path) != before
    assert len(fingerprint(coarse["files"], tmp_path)) == 2
    with (folder / "TREC_10.label").open("a") as file:
        file.write("\nNUM:one How many ?\n")
    assert signature(coarse, tmp_path) != before


FINE_LABELS = "task.data.fine=true"


def real(folder: str) -> str:
    root = os.environ.get("RUNNER_DATA")
    if not root or not (Path(root) / folder).is_dir():
        pytest.skip(f"the environment variable RUNNER_DATA names no folder that holds {folder}/")
    return root


def test_the_real_polarity_set() -> None:
    data = polarity(real("rt-polaritydata"))
    assert [len(s) for s in (data.train, data.val, data.test)] == [8530, 1066, 1066]
    assert data.train.labels.sum() == 4265
    assert data.train.tokens.ne(PADDING).sum(dim=1).min() > 0


def test_the_real_treebank() -> None:
    data = treebank(real("sst"), "binary", "SetFit/sst2", 2)
    assert [len(s) for s in (data.train, data.val, data.test)] == [6920, 872, 1821]
    data = treebank(real("sst"), "fine", "SetFit/sst5", 5)
    assert [len(s) for s in (data.train, data.val, data.test)] == [8544, 1101, 2210]


def test_the_real_trec() -> None:
    data = trec(real("trec"))
    assert len(data.train) + len(data.val) == 5452
    assert data.test.labels.bincount().tolist() == [9, 138, 94, 65, 81, 113]
    fine = trec(real("trec"), fine=True)
    assert len(fine.classes) == 50
    assert fine.train.labels.bincount(minlength=50).min() > 0
