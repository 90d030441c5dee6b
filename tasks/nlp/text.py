"""Labelled sentences: from lines of text to padded rows of word indices."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from objectives.errors import InputError
from tasks.models.transformer import PADDING
from tasks.origin import Origin

SPECIAL = "<padding>", "<unknown>"
UNKNOWN = 1  # in SPECIAL, as PADDING is 0
WORD = re.compile(r"\w+(?:'\w+)*|[^\w\s]")

SPLITS = "train", "val", "test"


class Examples(NamedTuple):
    """Sentences and the names of their classes."""

    texts: list[str]
    labels: list[str]

    def take(self, rows: np.ndarray) -> "Examples":
        return Examples([self.texts[row] for row in rows], [self.labels[row] for row in rows])


@dataclass(frozen=True)
class Sentences:
    """Word indices [n, time], `PADDING` where a sentence is over, and labels [n]."""

    tokens: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Sentences":
        return Sentences(self.tokens.to(device), self.labels.to(device))


@dataclass(frozen=True)
class TextSet:
    """Labelled sentences in three splits; words are those of the training split."""

    train: Sentences
    val: Sentences
    test: Sentences
    words: tuple[str, ...]
    classes: tuple[str, ...]

    def to(self, device: torch.device) -> "TextSet":
        train, val, test = (split.to(device) for split in (self.train, self.val, self.test))
        return TextSet(train, val, test, self.words, self.classes)


def text_set(
    origin: Origin,
    splits: Mapping[str, Examples],
    classes: tuple[str, ...],
    min_count: int,
    max_length: int,
    everywhere: bool = True,
) -> TextSet:
    """Sentences as word indices.

    Args:
        origin: What is said where the set is damaged.
        splits: `train`, `val` and `test`.
        classes: The names of the classes; a label is a position among them.
        min_count: Times that a word has to stand in the training split to be known.
        max_length: Words of a sentence that are read; what follows is left out.
        everywhere: Whether each split, and not the training split alone, needs every class.

    Raises:
        InputError: A class has no examples, or a setting makes no sense.
    """
    for name, value in (("min_count", min_count), ("max_length", max_length)):
        if value < 1:
            raise InputError(f"task.data.{name}={value}: it must be 1 or more.")
    for name in SPLITS if everywhere else SPLITS[:1]:
        absent = sorted(set(classes).difference(splits[name].labels))
        if absent:
            raise InputError(
                f"{origin.name}: its {name} split has no example of class {', '.join(absent)}. "
                f"{origin.how}, whole."
            )
    words = vocabulary(map(tokenize, splits["train"].texts), min_count)
    index = {word: number for number, word in enumerate(words)}
    train, val, test = (encoded(splits[name], index, classes, max_length) for name in SPLITS)
    return TextSet(train, val, test, words, classes)


def tokenize(text: str) -> list[str]:
    """Lower-case words, their apostrophes included, and punctuation marks one by one."""
    return WORD.findall(text.lower())


def vocabulary(texts: Iterable[Iterable[str]], min_count: int) -> tuple[str, ...]:
    """The special tokens and the words that are frequent enough, the most frequent first."""
    counts = Counter(chain.from_iterable(texts))
    known = [word for word, count in counts.items() if count >= min_count]
    return (*SPECIAL, *sorted(known, key=lambda word: (-counts[word], word)))


def encoded(
    examples: Examples, index: Mapping[str, int], classes: tuple[str, ...], max_length: int
) -> Sentences:
    """Sentences as rows of `max_length` word indices, and labels as positions in `classes`."""
    tokens = torch.full((len(examples.texts), max_length), PADDING)
    for row, text in zip(tokens, examples.texts, strict=True):
        words = [index.get(word, UNKNOWN) for word in tokenize(text)[:max_length]]
        row[: len(words)] = torch.tensor(words)
    return Sentences(tokens, torch.tensor([classes.index(name) for name in examples.labels]))


def held_out(labels: list[str], share: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows to keep and rows to hold out, stratified and the same for every seed.

    A class of which the share is less than half an example is kept whole.
    """
    random = np.random.RandomState(0)  # its numbers are the same in every version of NumPy
    names = np.array(labels)
    chosen = []
    for name in sorted(set(labels)):
        rows = random.permutation(np.flatnonzero(names == name))
        chosen.append(rows[: round(share * len(rows))])
    out = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), out), out


def read_lines(file: Path, encoding: str, origin: Origin) -> list[str]:
    """The lines of a text file.

    Raises:
        InputError: The file is missing, empty or in another encoding, or a line is blank.
    """
    try:
        text = file.read_text(encoding).rstrip()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}. {origin.how}.") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file} is damaged: byte {error.start} (0x{error.object[error.start]:02x}) is no "
            f"{encoding} text. {origin.how}."
        ) from None
    if not text:
        raise InputError(f"{file} is empty; expected a sentence a line. {origin.how}.")
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise InputError(f"{file}, line {number} is blank; expected a sentence.")
    return lines


def read_labelled(
    file: Path, encoding: str, origin: Origin, name: Callable[[str], str], known: tuple[str, ...]
) -> Examples:
    """Lines of the form `label sentence`.

    Args:
        file: The file.
        encoding: Its encoding.
        origin: What is said of how to get the file.
        name: The part of the label that has to be known.
        known: What it may be.

    Raises:
        InputError: As `read_lines`; or a line has no such label or no sentence.
    """
    examples = Examples([], [])
    for number, line in enumerate(read_lines(file, encoding, origin), 1):
        label, _, sentence = line.partition(" ")
        if name(label) not in known:
            raise InputError(
                f"{file}, line {number}: expected a label ({', '.join(known)}) and a sentence, "
                f"not {line[:40]!r}."
            )
        if not sentence.strip():
            raise InputError(f"{file}, line {number}: no sentence follows the label {label}.")
        examples.texts.append(sentence)
        examples.labels.append(label)
    return examples


def from_hub(
    origin: Origin, data: str, label: str, classes: tuple[str, ...], names: tuple[str, ...]
) -> dict[str, Examples]:
    """Splits of a set in the hub's format, with a column `text` and one of labels.

    Raises:
        InputError: A split or a column is missing, or a row has no text or an unknown label.
    """
    tables = {"val" if n == "validation" else n: t for n, t in origin.splits(data).items()}
    absent = [name for name in names if name not in tables]
    if absent:
        raise InputError(
            f"{origin.hub} has no split {', '.join(absent)} (it has {', '.join(tables)})."
        )
    return {n: _from_table(f"{origin.hub}, {n}", tables[n], label, classes) for n in names}


def _from_table(where: str, table: Any, label: str, classes: tuple[str, ...]) -> Examples:
    absent = sorted({"text", label}.difference(table.column_names))
    if absent:
        raise InputError(
            f"{where}: no column {', '.join(absent)} (it has {', '.join(table.column_names)})."
        )
    texts, labels = list(table["text"]), list(table[label])
    for row, (text, number) in enumerate(zip(texts, labels, strict=True)):
        if not (text and text.strip()) or number not in range(len(classes)):
            raise InputError(
                f"{where}, row {row}: expected a sentence and a label from 0 to "
                f"{len(classes) - 1}, not {text!r} and {number!r}."
            )
    return Examples(texts, [classes[number] for number in labels])
