"""Character language modelling: the text, its windows, bits per character."""

import itertools
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from objectives.errors import InputError
from runner.identity import fingerprint, signature
from tasks.nlp.characters import EMBEDDED, Characters, characters, embedded
from tasks.nlp.language_modelling import LanguageModelling

CPU = torch.device("cpu")
LETTERS = "abcdefghij"


def written(tmp_path: Path, text: str, context: int = 7) -> Characters:
    (tmp_path / "text.txt").write_text(text, "utf-8")
    return characters.__wrapped__(str(tmp_path), "text.txt", context)


def protocol(data: Characters, seed: int = 0, batch_size: int = 4) -> LanguageModelling:
    return LanguageModelling(data, batch_size, seed, CPU)


class Uniform(nn.Module):
    """The same score for every character; keeps what it was shown."""

    def __init__(self, num_tokens: int):
        super().__init__()
        self.num_tokens = num_tokens
        self.seen: list[Tensor] = []

    def forward(self, tokens: Tensor) -> Tensor:
        self.seen.append(tokens)
        return torch.zeros(*tokens.shape, self.num_tokens)


class NextLetter(nn.Module):
    """In a cycle of ten: the right letter with probability 1/2, the ten others alike."""

    def forward(self, tokens: Tensor) -> Tensor:
        following = nn.functional.one_hot(tokens % 10 + 1, 11).float()
        return following * math.log(10)  # e^log 10 against ten others of 1


def test_splits_by_position(tmp_path: Path) -> None:
    text = LETTERS * 20
    data = written(tmp_path, text)
    assert data.ends == (180, 190, 200)
    assert [data.span(s) for s in ("train", "val", "test")] == [
        range(1, 180),
        range(180, 190),
        range(190, 200),
    ]
    assert data.vocabulary == LETTERS
    assert "".join(data.vocabulary[i - 1] for i in data.tokens) == text


def test_the_vocabulary_is_of_the_training_split_alone(tmp_path: Path) -> None:
    text = "ab\xe9\U0001f600" * 45 + "z\x00\xff" * 6 + "ba"
    data = written(tmp_path, text)
    assert data.vocabulary == "ab\xe9\U0001f600"
    assert data.num_tokens == 5
    assert data.tokens[:4].tolist() == [1, 2, 3, 4]
    assert set(data.tokens[180:198].tolist()) == {0}
    assert data.tokens[198:].tolist() == [2, 1]


def test_a_uniform_model_needs_the_logarithm_of_the_vocabulary(tmp_path: Path) -> None:
    data = written(tmp_path, LETTERS * 20)
    for split in ("val", "test"):
        metrics = protocol(data).evaluate(Uniform(data.num_tokens), split)
        assert metrics["bpc"] == pytest.approx(math.log2(11), rel=1e-6)


@pytest.mark.parametrize("context", [1, 3, 5, 10, 11, 40])
def test_every_character_is_predicted_once_in_windows_of_the_context(
    tmp_path: Path, context: int
) -> None:
    data = written(tmp_path, LETTERS * 30, context)
    model, count = Uniform(data.num_tokens), len(data.span("test"))
    metrics = protocol(data).evaluate(model, "test")
    assert max(tokens.shape[1] for tokens in model.seen) == min(context, count)
    shown = torch.cat([tokens.flatten() for tokens in model.seen])
    start = data.span("test").start
    assert torch.equal(shown, data.tokens[start - 1 : start - 1 + count])  # each one's precedent
    guessed = (data.tokens[start : start + count] == 0).double().mean()  # argmax of equals is 0
    assert metrics["accuracy"] == guessed


def test_bits_and_accuracy_of_a_model_that_knows(tmp_path: Path) -> None:
    data = written(tmp_path, LETTERS * 20)
    metrics = protocol(data).evaluate(NextLetter(), "val")
    assert metrics["accuracy"] == 1.0
    assert metrics["bpc"] == pytest.approx(1.0, rel=1e-6)  # 10 / (10 + 10) is a bit


def test_records_are_flat_and_index_the_training_text(tmp_path: Path) -> None:
    data = written(tmp_path, LETTERS * 20)
    task = protocol(data)
    batch = next(task.batches(Uniform(11), 0, 0))
    record = task(NextLetter(), batch)
    assert record.logits.shape == (28, 11)
    assert torch.equal(record.labels, data.tokens[record.index])
    assert torch.equal(record.logits.argmax(dim=-1), record.labels)
    assert torch.equal(batch.inputs.flatten(), data.tokens[record.index - 1])
    assert task.facts["num_examples"] == 180
    assert (task.facts["num_tokens"], task.facts["num_classes"], task.facts["context"]) == (
        11,
        11,
        7,
    )


def epoch(data: Characters, number: int, seed: int = 0, start: int = 0) -> list[list[int]]:
    batches = protocol(data, seed).batches(Uniform(11), number, start)
    return [batch.index.flatten().tolist() for batch in batches]


def flat(batches: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(batches))


def test_an_epoch_predicts_no_character_twice_and_none_of_the_held_out(tmp_path: Path) -> None:
    data = written(tmp_path, LETTERS * 20)
    for number in range(20):
        positions = flat(epoch(data, number))
        assert len(set(positions)) == len(positions) == (180 // 7 - 1) * 7
        assert min(positions) >= 1
        assert max(positions) < 180
    firsts = {min(flat(epoch(data, number))) for number in range(40)}
    assert firsts == set(range(1, 8))  # windows begin anywhere


def test_batches_depend_on_seed_and_epoch_and_can_go_on(tmp_path: Path) -> None:
    data = written(tmp_path, LETTERS * 20)
    whole = epoch(data, 3)
    torch.rand(5)
    assert epoch(data, 3) == whole
    assert epoch(data, 3, start=2) == whole[2:]
    assert len(whole) == protocol(data).steps_per_epoch == 6
    assert epoch(data, 4) != whole
    assert epoch(data, 3, seed=1) != whole


@pytest.mark.parametrize(
    ("length", "context", "fits"),
    [
        (200, 90, True),
        (200, 91, False),
        (20, 9, True),
        (20, 10, False),
        (11, 1, True),
        (10, 1, False),
        (0, 1, False),
    ],
)
def test_a_text_shorter_than_the_context(
    tmp_path: Path, length: int, context: int, fits: bool
) -> None:
    text = (LETTERS * 20)[:length]
    if fits:
        data = written(tmp_path, text, context)
        assert flat(epoch(data, 0))
        return
    with pytest.raises(InputError, match=f"text.txt has {length} characters, too few for task"):
        written(tmp_path, text, context)


def test_a_context_below_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"task\.data\.context=0: it must be 1 or more"):
        written(tmp_path, LETTERS * 20, 0)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.txt cannot be read: No such file or directory. G"):
        characters(str(tmp_path), "none.txt")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        characters(str(tmp_path), "")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 au lait" * 100)
    with pytest.raises(InputError, match=r"latin.txt is no UTF-8 text: byte 3 is 0xe9. Save it"):
        characters(str(tmp_path), "latin.txt")


def test_absolute_paths(tmp_path: Path) -> None:
    relative = written(tmp_path, LETTERS * 20)
    absolute = characters("nowhere", str(tmp_path / "text.txt"), 7)
    assert torch.equal(absolute.tokens, relative.tokens)


def test_the_embedded_text() -> None:
    text = embedded()
    assert len(text) > 300_000
    assert text.startswith('The "assert" statement\n')
    data = characters("nowhere", EMBEDDED)
    assert len(data.tokens) == len(text)
    assert set(fingerprint([EMBEDDED], Path("nowhere"))) == {"topics.py"}


def test_the_text_is_part_of_the_signature(
    tmp_path: Path, composed: Callable[..., dict[str, Any]]
) -> None:
    names = ["text.txt", "odd [1]*.txt", str(tmp_path / "absolute.txt")]
    assert composed("charlm")["files"] == [EMBEDDED]
    for name in names:
        config = composed("charlm", f"task.data.file='{name}'", "data=here")
        found = set()
        for content in ("one", "two"):
            (tmp_path / name).write_text(content)
            found.add(signature(config, tmp_path))
        assert len(found) == 2
    assert fingerprint([str(tmp_path), "missing.txt", "", "."], tmp_path) == {}


@pytest.mark.parametrize("objective", ["cross_entropy", "ldr", "aldr"])
def test_learns_a_cycle_by_any_classification_objective(
    tmp_path: Path, built: Callable[..., Any], objective: str
) -> None:
    (tmp_path / "text.txt").write_text(LETTERS * 40)
    small = "task.data.file=text.txt", "task.data.context=8", "lr=0.02", "epochs=8"
    learner = built("charlm", f"data={tmp_path}", f"objective={objective}", *small).learner
    for number in range(8):
        for batch in learner.protocol.batches(learner.model, number, 0):
            learner.backward(batch)
            learner.step()
    with torch.no_grad():
        metrics = learner.protocol.evaluate(learner.model.eval(), "test")
    assert metrics["accuracy"] > 0.9
    assert metrics["bpc"] < 1.5


def test_the_real_tiny_shakespeare() -> None:
    root = os.environ.get("RUNNER_DATA")
    if not root or not (Path(root) / "tinyshakespeare").is_dir():
        pytest.skip("the environment variable RUNNER_DATA names no folder tinyshakespeare/")
    data = characters(root, "tinyshakespeare/input.txt")
    assert (len(data.tokens), len(data.vocabulary)) == (1_115_394, 65)
    assert data.ends == (1_003_854, 1_059_624, 1_115_394)
