"""Text as a sequence of characters."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from objectives.errors import InputError

EMBEDDED = "pkg://pydoc_data/topics.py"
"""The file that stands for the help texts which ship with Python."""

SHARES = 0.90, 0.95
"""Where in a text its validation and its test split begin."""

UNKNOWN = 0


@dataclass(frozen=True)
class Characters:
    """A text as indices into its vocabulary, in three splits by position.

    Attributes:
        tokens: The whole text [n]; `UNKNOWN` where the training split lacks a character.
        vocabulary: The characters of the training split; that of index i is at i - 1.
        ends: Where the training, the validation and the test split end.
        context: Characters that a window holds.
    """

    tokens: Tensor
    vocabulary: str
    ends: tuple[int, int, int]
    context: int

    @property
    def num_tokens(self) -> int:
        return len(self.vocabulary) + 1

    def span(self, split: str) -> range:
        """The positions that are predicted in a split; the first of a text follows nothing."""
        train, val, test = self.ends
        return {"train": range(1, train), "val": range(train, val), "test": range(val, test)}[split]

    def to(self, device: torch.device) -> "Characters":
        return Characters(self.tokens.to(device), self.vocabulary, self.ends, self.context)


@cache
def characters(data: str, file: str, context: int = 64) -> Characters:
    """The characters of a text file: the first 90 % to train, then 5 % and 5 % to evaluate.

    Args:
        data: The folder against which a relative `file` is read.
        file: A UTF-8 text file, or `EMBEDDED`.
        context: Characters that a window holds.

    Raises:
        InputError: The file cannot be read, or is too short for the context.
    """
    if context < 1:
        raise InputError(f"task.data.context={context}: it must be 1 or more.")
    text = embedded() if file == EMBEDDED else read_text(Path(data) / str(file))
    train, val = (int(share * len(text)) for share in SHARES)
    if train < 2 * context or not train < val < len(text):
        raise InputError(
            f"{file} has {len(text)} characters, too few for task.data.context={context}: the "
            f"first 90 %, its training split, must hold at least {2 * context}, and each held-out "
            "split one. Name a longer text with task.data.file=PATH, or a smaller context."
        )
    vocabulary = "".join(sorted(set(text[:train])))
    return Characters(encoded(text, vocabulary), vocabulary, (train, val, len(text)), context)


def embedded() -> str:
    """The topics of Python's own help, one after the other, from the standard library."""
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


def read_text(file: Path) -> str:
    """A text file as it is.

    Raises:
        InputError: It is missing, no file, or no UTF-8.
    """
    try:
        return file.read_bytes().decode("utf-8")
    except OSError as error:
        raise InputError(
            f"{file} cannot be read: {error.strerror}. Give task.data.file as an absolute path or "
            "relative to data=; without it, the text that ships with Python is used."
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file} is no UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}. "
            "Save it as UTF-8."
        ) from None


def encoded(text: str, vocabulary: str) -> Tensor:
    """Indices [n] of the characters, counted from 1 in a sorted vocabulary; 0 where unknown."""
    known, given = _points(vocabulary), _points(text)
    places = np.searchsorted(known, given).clip(max=len(known) - 1)
    return torch.from_numpy(np.where(known[places] == given, places + 1, UNKNOWN))


def _points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
