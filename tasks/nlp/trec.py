"""TREC: what a question asks for, in 6 coarse or 50 fine classes."""

from functools import cache
from pathlib import Path

from objectives.errors import InputError
from tasks.nlp.text import (
    Examples,
    TextSet,
    from_hub,
    held_out,
    read_labelled,
    text_set,
)
from tasks.origin import Origin

TREC = Origin(
    name="The TREC question set",
    folder="trec",
    files="*.label",
    how="Put its files train_5500.label and TREC_10.label there",
    hub="CogComp/trec",
    instead="task=charlm",
)
COARSE = "ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"
FINE = 50


@cache
def trec(data: str, fine: bool = False, min_count: int = 2, max_length: int = 32) -> TextSet:
    """Questions from `train_5500.label` and `TREC_10.label`, `COARSE:fine question` a line.

    A tenth of the training file is held out for validation, stratified; a class too rare for
    that stays in the training split.

    Args:
        data: The folder that holds the data sets' own folders.
        fine: Whether to tell the 50 fine classes apart.
        min_count: Times that a word has to stand in the training split to be known.
        max_length: Words of a question that are read.

    Raises:
        InputError: The set is not there, or a file is not what its name says.

    Source:
        Li & Roth 2002, Learning question classifiers.
    """
    folder = TREC.own_files(data)
    own = folder and not any(folder.rglob("*.parquet"))  # the hub's folder has the same name
    splits, classes = _own(folder, fine) if folder and own else _hub(data, fine)
    keep, out = held_out(splits["train"].labels, share=0.1)
    three = {
        "train": splits["train"].take(keep),
        "val": splits["train"].take(out),
        "test": splits["test"],
    }
    return text_set(TREC, three, classes, min_count, max_length, everywhere=not fine)


def _own(folder: Path, fine: bool) -> tuple[dict[str, Examples], tuple[str, ...]]:
    """The two files and the names of the classes; the fine ones are those of the training file."""
    files = {"train": folder / "train_5500.label", "test": folder / "TREC_10.label"}
    splits = {
        name: read_labelled(file, "latin-1", TREC, lambda label: label.partition(":")[0], COARSE)
        for name, file in files.items()
    }
    if not fine:
        coarse = {
            name: Examples(texts, [label.partition(":")[0] for label in labels])
            for name, (texts, labels) in splits.items()
        }
        return coarse, COARSE
    classes = tuple(sorted(set(splits["train"].labels)))
    strange = sorted(set(splits["test"].labels).difference(classes))
    if strange:
        raise InputError(f"{files['test']}: no training question has label {', '.join(strange)}.")
    return splits, classes


def _hub(data: str, fine: bool) -> tuple[dict[str, Examples], tuple[str, ...]]:
    classes = tuple(f"{number:02}" for number in range(FINE)) if fine else COARSE
    label = "fine_label" if fine else "coarse_label"
    return from_hub(TREC, data, label, classes, ("train", "test")), classes
