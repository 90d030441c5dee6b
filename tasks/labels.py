"""What is done to the labels of a training set: noise, imbalance, and taking parts of it.

All of it is drawn from the generator that is given, so that a run's seed decides.
"""

import codecs
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Gt
from torch import Generator, Tensor

from objectives.domains import Share, checked
from objectives.errors import InputError

Noise = Callable[[Tensor, int, Generator], Tensor]
"""From the labels [n] of a training set, and the number of classes, to those that a run sees."""

Imbalance = Callable[[int], Tensor]
"""From the number of classes to the share of each class's examples that is kept."""


_RECONSTRUCT: Any = np.empty(0).__reduce__()[0]
ARRAYS: list[Any] = [
    (_RECONSTRUCT, "numpy.core.multiarray._reconstruct"),  # as numpy 1 called it
    (_RECONSTRUCT, "numpy._core.multiarray._reconstruct"),
    (codecs.encode, "_codecs.encode"),
    np.ndarray,
    np.dtype,
    *{type(np.dtype(kind)) for kind in ("int8", "uint8", "int16", "int32", "int64")},
]
"""All that may be made from a file of labels."""


@checked
def symmetric(
    labels: Tensor, num_classes: int, generator: Generator, *, rate: Share = 0.4
) -> Tensor:
    """Give a share `rate` of the examples one of the other labels, each as likely.

    Exactly round(rate * n) labels are wrong afterwards.
    """
    wrong = _chosen(len(labels), rate, generator)
    shift = torch.randint(1, num_classes, (len(wrong),), generator=generator)
    noisy = labels.clone()
    noisy[wrong] = (labels[wrong] + shift) % num_classes
    return noisy


@checked
def asymmetric(
    labels: Tensor,
    num_classes: int,
    generator: Generator,
    *,
    rate: Share = 0.4,
    pairs: Mapping[int, int] | None = None,
) -> Tensor:
    """Give a share `rate` of the examples of a class the label of the class it is taken for.

    Args:
        rate: Share among the examples of the classes that are mistaken at all.
        pairs: Which class is taken for which; the next one, in a circle, where it is None.
    """
    taken_for = torch.arange(num_classes)
    for one, other in (pairs or {c: (c + 1) % num_classes for c in range(num_classes)}).items():
        taken_for[int(one)] = int(other)
    mistaken = (taken_for[labels] != labels).nonzero().squeeze(1)
    wrong = mistaken[_chosen(len(mistaken), rate, generator)]
    noisy = labels.clone()
    noisy[wrong] = taken_for[labels[wrong]]
    return noisy


@checked
def human(
    labels: Tensor,
    num_classes: int,
    generator: Generator,
    *,
    file: str,
    column: str,
    clean: str = "clean_label",
) -> Tensor:
    """Labels that people gave, from the file of CIFAR-N, in the order of the training set.

    Args:
        file: A dictionary of label arrays saved by torch.
        column: Which of them; CIFAR-10N has aggre_label, random_label1 to 3 and worse_label.
        clean: The array that must equal the set's own labels, else the file is for another set.

    Raises:
        InputError: The file is missing, damaged, for another set, or has no such labels.

    Source:
        Wei et al. 2022, arXiv:2110.12088.
    """
    columns = read_columns(Path(file))
    if column not in columns or clean not in columns:
        raise InputError(f"{file} has no {column} (it has {', '.join(columns)}).")
    if len(columns[clean]) < len(labels):
        raise InputError(
            f"{file} has {len(columns[clean])} labels for {len(labels)} training examples."
        )
    theirs, given = (torch.as_tensor(columns[c][: len(labels)]).long() for c in (clean, column))
    differ = (theirs != labels).nonzero()
    if len(differ):
        raise InputError(
            f"{file} is for another set, or another order of it: its {clean} differs from the "
            f"label of training example {differ[0].item()}."
        )
    if given.min() < 0 or given.max() >= num_classes:
        raise InputError(f"{file}: {column} is not within 0 to {num_classes - 1}.")
    return given


@checked
def exponential(num_classes: int, *, ratio: Annotated[float, Ge(1)] = 100.0) -> Tensor:
    """Class sizes that fall exponentially: the first is `ratio` times the last.

    Source:
        Cui et al. 2019, arXiv:1901.05555 (long-tailed CIFAR).
    """
    return ratio ** -(torch.arange(num_classes) / max(num_classes - 1, 1))


@checked
def step(
    num_classes: int, *, ratio: Annotated[float, Ge(1)] = 100.0, minority: Share = 0.5
) -> Tensor:
    """A share `minority` of the classes, the last ones, has 1 / `ratio` of its examples.

    Source:
        Buda, Maki & Mazurowski 2018, arXiv:1710.05381.
    """
    shares = torch.ones(num_classes)
    shares[num_classes - round(minority * num_classes) :] = 1 / ratio
    return shares


@checked
def kept(
    labels: Tensor,
    num_classes: int,
    generator: Generator,
    *,
    imbalance: Imbalance | None = None,
    subset: Annotated[int, Gt(0)] | None = None,
) -> Tensor:
    """Positions of the examples that are kept, in order: at least one of every class.

    Args:
        imbalance: Shares of the classes that are kept.
        subset: Number of examples before that, as many of each class as its share.

    Raises:
        InputError: There are fewer examples than `subset`, or fewer than there are classes.
    """
    if subset is not None and not num_classes <= subset <= len(labels):
        raise InputError(
            f"subset={subset} is not between {num_classes}, one of each class, and the "
            f"{len(labels)} training examples."
        )
    shares = torch.ones(num_classes) if imbalance is None else imbalance(num_classes)
    if subset is not None:
        shares = shares * (subset / len(labels))
    order = torch.randperm(len(labels), generator=generator)
    chosen = []
    for number in range(num_classes):
        members = order[labels[order] == number]
        chosen.append(members[: max(1, round(shares[number].item() * len(members)))])
    return torch.cat(chosen).sort().values


def validation(labels: Tensor, share: float, num_classes: int) -> tuple[Tensor, Tensor]:
    """Positions of the training and the validation split, stratified, the same for every seed.

    Raises:
        InputError: A class has too few examples to be in both.
    """
    from sklearn.model_selection import train_test_split

    counts = labels.bincount(minlength=num_classes)
    if counts.min() < 2:
        raise InputError(
            f"class {int(counts.argmin())} has {int(counts.min())} training examples; "
            "at least 2 are needed to make a validation split."
        )
    try:
        parts = train_test_split(
            np.arange(len(labels)), test_size=share, stratify=labels.numpy(), random_state=0
        )
    except ValueError as error:
        raise InputError(f"no validation split can be made: {error}") from None
    train, val = (torch.from_numpy(part) for part in parts)
    return train, val


def _chosen(count: int, rate: float, generator: Generator) -> Tensor:
    return torch.randperm(count, generator=generator)[: round(rate * count)]


def read_columns(file: Path) -> dict[str, Any]:
    """The arrays of a file saved by torch; nothing but arrays is made from it.

    Raises:
        InputError: The file is missing, damaged, or holds something else.
    """
    if not file.exists():
        raise InputError(f"{file} is missing: these are the human labels. Put the file there.")
    try:
        with torch.serialization.safe_globals(ARRAYS):
            content = torch.load(file, weights_only=True)
    except Exception as error:  # a damaged pickle may raise anything
        raise InputError(
            f"{file} is damaged, or no file of labels: expected arrays by name, saved by torch "
            f"({type(error).__name__})."
        ) from None
    if not isinstance(content, dict):
        raise InputError(f"{file} holds a {type(content).__name__}, expected arrays by name.")
    return content
