"""Sentiment of sentences from film reviews: rt-polarity and the Stanford treebank."""

from functools import cache
from pathlib import Path

import numpy as np

from tasks.nlp.text import (
    SPLITS,
    Examples,
    TextSet,
    from_hub,
    held_out,
    read_labelled,
    read_lines,
    text_set,
)
from tasks.origin import Origin

POLARITY = Origin(
    name="The sentence polarity set (rt-polarity)",
    folder="rt-polaritydata",
    files="rt-polarity.*",
    how="Put its files rt-polarity.pos and rt-polarity.neg there",
    hub="cornell-movie-review-data/rotten_tomatoes",
    instead="task=charlm",
)


@cache
def polarity(data: str, min_count: int = 2, max_length: int = 64) -> TextSet:
    """Negative and positive sentences, 5,331 each, from `rt-polarity.{neg,pos}`.

    The files have no split: a tenth of each class is the test split and a tenth is held out for
    validation, the same for every seed. The hub's edition has its own.

    Args:
        data: The folder that holds the data sets' own folders.
        min_count: Times that a word has to stand in the training split to be known.
        max_length: Words of a sentence that are read.

    Raises:
        InputError: The set is not there, or a file is not what its name says.

    Source:
        Pang & Lee 2005, Seeing stars, arXiv:cs/0506075.
    """
    classes = "neg", "pos"
    folder = POLARITY.own_files(data)
    if folder:
        splits = _split(folder, classes)
    else:
        splits = from_hub(POLARITY, data, "label", classes, SPLITS)
    return text_set(POLARITY, splits, classes, min_count, max_length)


def _split(folder: Path, classes: tuple[str, ...]) -> dict[str, Examples]:
    everything = Examples([], [])
    for name in classes:
        lines = read_lines(folder / f"rt-polarity.{name}", "cp1252", POLARITY)
        everything.texts.extend(lines)
        everything.labels.extend([name] * len(lines))
    rest, test = held_out(everything.labels, share=0.1)
    train, val = held_out([everything.labels[row] for row in rest], share=1 / 9)
    rows: dict[str, np.ndarray] = {"train": rest[train], "val": rest[val], "test": test}
    return {name: everything.take(rows[name]) for name in SPLITS}


def treebank_origin(kind: str, hub: str) -> Origin:
    """Where the sentences of one edition of the treebank are."""
    return Origin(
        name="The Stanford sentiment treebank",
        folder="sst",
        files=f"stsa.{kind}.*",
        how=f"Put its files stsa.{kind}.train, stsa.{kind}.dev and stsa.{kind}.test there",
        hub=hub,
        instead="task=charlm",
    )


@cache
def treebank(
    data: str, kind: str, hub: str, num_classes: int, min_count: int = 2, max_length: int = 64
) -> TextSet:
    """Sentences of the treebank, `label sentence` a line, from `stsa.<kind>.{train,dev,test}`.

    Args:
        data: The folder that holds the data sets' own folders.
        kind: The edition, `binary` or `fine`.
        hub: Its name on the hub.
        num_classes: Classes, named by numbers from 0.
        min_count: Times that a word has to stand in the training split to be known.
        max_length: Words of a sentence that are read.

    Raises:
        InputError: The set is not there, or a file is not what its name says.

    Source:
        Socher et al. 2013, Recursive deep models for semantic compositionality.
    """
    origin, classes = treebank_origin(kind, hub), tuple(map(str, range(num_classes)))
    folder = origin.own_files(data)
    if folder:
        files = {"train": "train", "val": "dev", "test": "test"}
        splits = {
            name: read_labelled(folder / f"stsa.{kind}.{end}", "utf-8", origin, str, classes)
            for name, end in files.items()
        }
    else:
        splits = from_hub(origin, data, "label", classes, SPLITS)
    return text_set(origin, splits, classes, min_count, max_length)
