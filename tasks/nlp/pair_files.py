"""Preference pairs of texts from files with the columns chosen and rejected."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from annotated_types import Gt

from objectives.domains import Count, checked
from objectives.errors import InputError
from tasks.nlp.conversations import Chat, continued, transcript
from tasks.nlp.pairs import Pairs, PairSet
from tasks.nlp.rows import files_in, rows_of
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
    max_length: Annotated[int, Gt(3)] = 128,
    min_count: Count = 2,
    tokenizer: str | None = None,
    revision: str | None = None,
) -> PairSet:
    """Pairs from files `train` and `test` (jsonl, csv, parquet), as indices of words or of pieces.

    A row has two texts, `chosen` and `rejected`, and may have a `prompt`; without one, the prompt
    is what both texts begin with. All may be lists of messages, which the model's chat template
    makes texts of, or else hh-rlhf's "Human:" and "Assistant:". Pairs of the same response twice
    are left out. A response has at most half of `max_length` tokens; of a prompt that is too long
    for the rest the end is read. A tenth of the training pairs is held out for validation, the
    same for every seed. Where there is no test file, another tenth is the test split.

    Args:
        data: The folder that holds the data sets' own folders.
        folder: The set's folder in it, or an absolute one.
        hub: The set's name on the Hugging Face hub, where it is looked for if the folder is named
            after it, and what is in the folder of the folder's name there; "" for none.
        max_length: Tokens of a prompt and a response together.
        min_count: Times that a word has to stand in the training split to be known.
        tokenizer: The pretrained model whose pieces are read; None reads words.
        revision: Of that model, on the hub.

    Raises:
        InputError: The set is not there, or a row is no pair.
    """
    own, _, part = folder.partition("/")
    origin = Origin(
        name=f"The set of preference pairs {folder}",
        folder=folder,
        files="*.jsonl*, *.csv* or *.parquet",
        how="Put its files train and test there, each .jsonl.gz, .jsonl, .csv or .parquet",
        hub=hub if own == hub.rpartition("/")[2] else "",
        instead="task=pairs",
        part={"data_dir": part} if part else {},
    )
    pieces = pretrained_pieces(tokenizer, revision) if tokenizer else None
    split, chat = (pieces.split, pieces.chat) if pieces else (tokenize, transcript)
    splits = split_up(read_set(origin, data, partial(pair_of, split=split, chat=chat)), origin)
    pieces = pieces or words(tokenize, (chain(*pair) for pair in splits["train"]), min_count)
    train, val, test = (
        encoded(splits[name], pieces, max_length) for name in ("train", "val", "test")
    )
    return PairSet(train, val, test, pieces.size, end=pieces.end, tokenizer=tokenizer or "")


def read_set(
    origin: Origin, data: str, read: Callable[[str, Any], TextPair]
) -> dict[str, list[TextPair]]:
    """The pairs of each file or of each split of the hub, by its name."""
    pairs: dict[str, list[TextPair]] = {}
    for name, where, rows in _tables(origin, data):
        read_ones = (read(f"{where}, row {number}", row) for number, row in enumerate(rows, 1))
        pairs.setdefault(name, []).extend(p for p in read_ones if p.chosen != p.rejected)
    return pairs


def _tables(origin: Origin, data: str) -> Iterator[tuple[str, str, Iterable[Any]]]:
    """The name of a split, where it is from, and its rows; a split may be in several files."""
    files = files_in(Path(data) / origin.folder)
    for file in files:
        yield re.split("[.-]", file.name)[0], str(file), rows_of(file)
    for name, table in origin.splits(data).items() if not files else ():
        yield name, f"{origin.hub}, {name}", table


def pair_of(where: str, row: Any, split: Split, chat: Chat) -> TextPair:
    """A row's texts as words or pieces.

    Raises:
        InputError: It does not have them.
    """
    columns = row if isinstance(row, dict) else {}
    if not {"chosen", "rejected"} <= columns.keys():
        has = ", ".join(columns) or "none"
        raise InputError(f"{where}: expected columns chosen and rejected (it has {has}).")
    try:
        prompt, *texts = continued(columns, chat)
    except InputError as error:
        raise InputError(f"{where}: {error}.") from None
    chosen, rejected = map(split, texts)
    if prompt is not None:
        return TextPair(split(prompt), chosen, rejected)
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
        raise InputError(
            f"{origin.name} has {len(rest)} training pairs of different responses; at least 20 are "
            "needed."
        )
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
            written = pieces.response(response, longest)
            prompt = pieces.prompt(pair.prompt, max_length - len(written))
            stop = len(prompt) + len(written)
            tokens[side, row, :stop] = torch.tensor([*prompt, *written])
            mask[side, row, len(prompt) : stop] = True
    return Pairs(tokens[0], tokens[1], mask[0], mask[1])
