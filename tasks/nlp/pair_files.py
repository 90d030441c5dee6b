"""Preference pairs of texts from files, a JSON object with `chosen` and `rejected` a line."""

import gzip
import json
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
from annotated_types import Gt

from objectives.domains import Count, checked
from objectives.errors import InputError
from tasks.nlp.pairs import Pairs, PairSet
from tasks.nlp.text import tokenize
from tasks.nlp.vocabularies import Pieces, Split, pretrained_pieces, words
from tasks.origin import Origin


class TextPair(NamedTuple):
    """Words or pieces of a prompt and of its two responses."""

    prompt: list[str]
    chosen: list[str]
    rejected: list[str]


@cache
@checked
def text_pairs(
    data: str,
    folder: str,
    hub: str = "",
    part: str = "",
    max_length: Annotated[int, Gt(2)] = 128,
    min_count: Count = 2,
    tokenizer: str | None = None,
    revision: str | None = None,
) -> PairSet:
    """Pairs from `train.jsonl[.gz]` and `test.jsonl[.gz]`, as indices of words or of pieces.

    What both texts of a pair begin with is the prompt. A response has at most half of
    `max_length` tokens; of a prompt that is too long for the rest the end is read. A tenth of the
    training pairs is held out for validation, the same for every seed. Where there is only one
    file, a tenth of its pairs is the test split.

    Args:
        data: The folder that holds the data sets' own folders.
        folder: The set's folder in it.
        hub: The set's name on the Hugging Face hub, for where it is not there; "" for none.
        part: The set's folder there; "" for all of it.
        max_length: Tokens of a prompt and a response together.
        min_count: Times that a word has to stand in the training split to be known.
        tokenizer: The pretrained model whose pieces are read; None reads words.
        revision: Of that model, on the hub.

    Raises:
        InputError: The set is not there, or a line is no pair.
    """
    origin = Origin(
        name=f"The set of preference pairs {folder}",
        folder=folder,
        files="*.jsonl*",
        how="Put its train.jsonl.gz and test.jsonl.gz there",
        hub=hub,
        instead="task=pairs",
        part={"data_dir": part} if part else {},
    )
    pieces = pretrained_pieces(tokenizer, revision) if tokenizer else None
    splits = split_up(read_set(origin, data, pieces.split if pieces else tokenize), origin)
    pieces = pieces or words(tokenize, (chain(*pair) for pair in splits["train"]), min_count)
    train, val, test = (
        encoded(splits[name], pieces, max_length) for name in ("train", "val", "test")
    )
    return PairSet(train, val, test, pieces.size, end=pieces.end, tokenizer=tokenizer or "")


def read_set(origin: Origin, data: str, split: Split) -> dict[str, list[TextPair]]:
    """The pairs of each file or of each split of the hub, by its name."""
    folder = origin.own_files(data)
    if folder:
        files = sorted(folder.glob(origin.files))
        return {f.name.partition(".")[0]: read_pairs(f, split) for f in files}
    return {
        name: [pair_of(f"{origin.hub}, {name}", n, row, split) for n, row in enumerate(table)]
        for name, table in origin.splits(data).items()
    }


def read_pairs(file: Path, split: Split = tokenize) -> list[TextPair]:
    """The pairs of a file.

    Raises:
        InputError: It cannot be read, or a line is no pair.
    """
    return [pair_of(str(file), number, row, split) for number, row in enumerate(objects(file), 1)]


def objects(file: Path) -> list[object]:
    """What the lines of a file hold.

    Raises:
        InputError: It cannot be read.
    """
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]
    except (OSError, EOFError, ValueError) as error:
        raise InputError(
            f"{file} cannot be read as JSON objects, one a line: {error}. Put the file there whole."
        ) from None


def pair_of(where: str, number: int, row: object, split: Split) -> TextPair:
    """A row's texts as words or pieces.

    Raises:
        InputError: It has no two texts, or both are the same.
    """
    texts = [row.get(name) for name in ("chosen", "rejected")] if isinstance(row, dict) else []
    if [type(text) for text in texts] != [str, str] or texts[0] == texts[1]:
        raise InputError(
            f"{where}, row {number}: expected two different texts, chosen and rejected."
        )
    chosen, rejected = (split(str(text)) for text in texts)
    differ = (
        n for n, (one, other) in enumerate(zip(chosen, rejected, strict=False)) if one != other
    )
    shared = next(differ, min(len(chosen), len(rejected)))
    return TextPair(chosen[:shared], chosen[shared:], rejected[shared:])


def split_up(found: dict[str, list[TextPair]], origin: Origin) -> dict[str, list[TextPair]]:
    """Training, validation and test split.

    Raises:
        InputError: There are too few pairs.
    """
    rest = found.get("train") or next(iter(found.values()))
    test = found.get("test") if "train" in found else None
    if len(rest) < 20:
        raise InputError(f"{origin.name} has {len(rest)} training pairs; at least 20 are needed.")
    order = np.random.RandomState(0).permutation(len(rest))
    parts = [[rest[row] for row in rows] for rows in np.array_split(order, 10)]
    if test is None:
        test = parts.pop()
    return {"val": parts.pop(), "train": list(chain(*parts)), "test": test}


def encoded(pairs: list[TextPair], pieces: Pieces, max_length: int) -> Pairs:
    """Pairs as rows of `max_length` indices, with masks that are true on responses."""
    longest = max_length // 2
    tokens = torch.zeros(2, len(pairs), max_length, dtype=torch.long)
    mask = torch.zeros(2, len(pairs), max_length, dtype=torch.bool)
    for row, pair in enumerate(pairs):
        for side, response in enumerate((pair.chosen, pair.rejected)):
            written = [*pieces.numbers(response[: longest - 1]), pieces.end]
            prompt = pieces.numbers(pair.prompt)
            prompt = prompt[max(0, len(prompt) + len(written) - max_length) :]
            stop = len(prompt) + len(written)
            tokens[side, row, :stop] = torch.tensor([*prompt, *written])
            mask[side, row, len(prompt) : stop] = True
    return Pairs(tokens[0], tokens[1], mask[0], mask[1])
