"""Grade-school mathematics in words, whose answers are numbers."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Annotated, NamedTuple

import torch
from annotated_types import Gt
from torch import Tensor

from objectives.domains import Count, checked
from objectives.errors import InputError
from tasks.nlp.judges import Checker
from tasks.nlp.pair_files import TextPair, encoded
from tasks.nlp.pairs import Pairs, PairSet
from tasks.nlp.rows import rows_of
from tasks.nlp.vocabularies import Pieces, Split, pretrained_pieces, words
from tasks.origin import Origin

ANSWER = re.compile(r"####[\s$]*(-?[0-9][0-9.,]*)")
"""What the official grader finds, or with a currency in front."""

SPACED = re.compile(r"(?<=#) (?=#)|(?<=[\d.,-]) (?=[\d.,])")
"""The blanks that stand between words alone, in a number and in what comes before it."""

WORD = re.compile(r"\d|[^\W\d]+(?:'\w+)*|[^\w\s]")

NOTE = re.compile(r"<<.*?>>")
"""What a calculator would compute, between the words of the solutions."""

TENTH, FEWEST = 10, 20
"""One training problem in so many is for validation, of so many in all."""

ORIGIN = Origin(
    name="GSM8K",
    folder="gsm8k",
    files="t*.jsonl",
    how="Put its train.jsonl and test.jsonl there",
    hub="openai/gsm8k",
    part={"name": "main"},
    instead="task=verify",
)


class Problem(NamedTuple):
    """A question and a solution, as words or pieces, and the number that answers it."""

    question: list[str]
    solution: list[str]
    answer: str


@dataclass(frozen=True)
class Grader(Checker):
    """Rewards a solution of 1 where it ends and its number behind #### is the right one; 0 else.

    Attributes:
        pieces: How what is written is read.
        answers: The right number, by the tokens of a question.
    """

    pieces: Pieces
    answers: dict[tuple[int, ...], str]

    def reward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        rows = zip(tokens.tolist(), mask.int().argmax(dim=1).tolist(), strict=True)
        right = [self._is_right(row[:start], row[start:]) for row, start in rows]
        return torch.tensor(right, dtype=torch.float32, device=tokens.device)

    def _is_right(self, question: list[int], solution: list[int]) -> bool:
        if self.pieces.end not in solution:
            return False
        said = self.pieces.text(solution[: solution.index(self.pieces.end)])
        return number_of(said) == self.answers[tuple(question)]


@cache
@checked
def gsm8k(
    data: str,
    max_length: Annotated[int, Gt(8)] = 512,
    min_count: Count = 2,
    subset: Annotated[int, Gt(1)] | None = None,
    held_out: Annotated[int, Gt(1)] | None = None,
    tokenizer: str | None = None,
    revision: str | None = None,
) -> PairSet:
    """Problems with their solution, and with the next problem's.

    A tenth of the training problems is held out for validation, the same for every seed. The
    calculator's notes in the solutions are left out. Where no pretrained model is named, words are
    in lower case and numbers are read digit by digit. A solution has at most half of `max_length`
    tokens; what is longer is cut off.

    Args:
        data: The folder that holds the data sets' own folders.
        max_length: Tokens of a question and its solution together.
        min_count: Times that a word has to stand in the training split to be known.
        subset: Problems to learn from, the first ones; None for all.
        held_out: Problems of validation and of test, the first ones; None for all.
        tokenizer: The pretrained model whose pieces are read; None reads words.
        revision: Of that model, on the hub.

    Raises:
        InputError: The set is not there, a line is no problem, or a question is too long.

    Source:
        Cobbe et al. 2021, arXiv:2110.14168.
    """
    pieces = pretrained_pieces(tokenizer, revision) if tokenizer else None
    read = _read(data, pieces.split if pieces else split)
    splits = {
        "train": [p for n, p in enumerate(read["train"]) if n % TENTH][:subset],
        "val": read["train"][::TENTH][:held_out],
        "test": read["test"][:held_out],
    }
    texts = (chain(p.question, p.solution) for p in splits["train"])
    pieces = pieces or words(split, texts, min_count)
    problems = list(chain(*splits.values()))
    _check(problems, max_length, len(pieces.first))
    answers = {tuple(pieces.prompt(p.question, max_length)): p.answer for p in problems}
    train, val, test = (_pairs(part, pieces, max_length) for part in splits.values())
    judge = Grader(pieces, answers)
    return PairSet(train, val, test, pieces.size, judge, pieces.end, tokenizer or "")


def split(text: str) -> list[str]:
    """Lower-case words, digits, and punctuation marks, one by one."""
    return WORD.findall(text.lower())


def number_of(text: str) -> str:
    """The answer of a solution, "" where it has none."""
    found = ANSWER.search(SPACED.sub("", text))
    return found[1].replace(",", "").rstrip(".") if found else ""


def _read(data: str, split: Split) -> dict[str, list[Problem]]:
    """The problems of both files, or of both splits of the hub, by name."""
    folder, names = ORIGIN.own_files(data), ("train", "test")
    if folder:
        files = {name: folder / f"{name}.jsonl" for name in names}
        return {name: _problems(str(file), rows_of(file), split) for name, file in files.items()}
    tables = ORIGIN.splits(data)
    return {name: _problems(f"{ORIGIN.hub}, {name}", tables[name], split) for name in names}


def _problems(where: str, rows: Collection[object], split: Split) -> list[Problem]:
    """All problems of a file or a split.

    Raises:
        InputError: There are too few.
    """
    if len(rows) < FEWEST:
        raise InputError(f"{where} has {len(rows)} problems; at least {FEWEST} are needed.")
    return [_problem(where, number, row, split) for number, row in enumerate(rows, 1)]


def _problem(where: str, number: int, row: object, split: Split) -> Problem:
    """A row's texts.

    Raises:
        InputError: It has no question, or no solution with an answer.
    """
    texts = [row.get(name) for name in ("question", "answer")] if isinstance(row, dict) else []
    question, solution = (text if isinstance(text, str) else "" for text in texts or ("", ""))
    if not split(question) or not number_of(solution):
        raise InputError(
            f"{where}, row {number}: expected a question, and an answer that ends with #### and a "
            "number."
        )
    return Problem(split(question), split(NOTE.sub("", solution)), number_of(solution))


def _check(problems: list[Problem], max_length: int, first: int) -> None:
    """That every question leaves half of the places to its solution.

    Raises:
        InputError: One does not.
    """
    longest = first + max(len(problem.question) for problem in problems)
    if 2 * longest > max_length:
        raise InputError(
            f"the longest question has {longest} tokens: task.data.max_length={max_length} must be "
            f"{2 * longest} at least."
        )


def _pairs(problems: list[Problem], pieces: Pieces, max_length: int) -> Pairs:
    following = problems[1:] + problems[:1]
    pairs = [
        TextPair(problem.question, problem.solution, other.solution)
        for problem, other in zip(problems, following, strict=True)
    ]
    return encoded(pairs, pieces, max_length)
