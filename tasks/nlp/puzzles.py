"""Prompts with checkable answers: arithmetic, sorting, brackets."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from objectives.domains import Count, checked
from tasks.nlp.judges import Checker
from tasks.nlp.pairs import Pairs, PairSet

ALPHABET = "\0\n0123456789+=>()[]{}"
"""Padding, the end of an answer, and what puzzles are written in."""

PAD, END = 0, 1
MOST, HELD_OUT = 4096, 512
"""Prompts in all, and of them for validation and for test, at most."""

CLOSING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Puzzle:
    """A kind of puzzle whose prompts are all of one length.

    Attributes:
        prompt: Draws a prompt of a difficulty.
        answer: The one right answer to a prompt.
    """

    prompt: Callable[[random.Random, int], str]
    answer: Callable[[str], str]


@dataclass(frozen=True)
class Verifier(Checker):
    """Rewards a response of 1 where it is the right answer, ended; 0 else.

    Attributes:
        puzzle: What the prompts are.
    """

    puzzle: Puzzle

    def reward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """What each response is worth: [batch]."""
        rows = zip(tokens.tolist(), mask.int().argmax(dim=1).tolist(), strict=True)
        right = [self._is_right(text(row[:start]), text(row[start:])) for row, start in rows]
        return torch.tensor(right, dtype=torch.float32, device=tokens.device)

    def _is_right(self, prompt: str, response: str) -> bool:
        said, end, _ = response.partition(ALPHABET[END])
        return bool(end) and said == self.puzzle.answer(prompt)


@cache
@checked
def puzzles(puzzle: Callable[[], Puzzle], *, difficulty: Count = 2) -> PairSet:
    """Prompts with the right answer and a wrong one, the same for every seed.

    No prompt is in two splits; an eighth of them, or 512 where they are many, are for test, and
    as many for validation.

    Args:
        puzzle: addition, sorting or brackets.
        difficulty: Digits of a number, digits to sort, brackets to close.
    """
    made, generator = puzzle(), random.Random(0)
    prompts = _different(made, difficulty, generator)
    held_out = min(HELD_OUT, len(prompts) // 8)
    longest = 1 + max(len(made.answer(prompt)) for prompt in prompts)
    train, val, test = (
        _pairs(made, part, longest)
        for part in (
            prompts[2 * held_out :],
            prompts[:held_out],
            prompts[held_out : 2 * held_out],
        )
    )
    return PairSet(train, val, test, len(ALPHABET), Verifier(made), end=END)


def addition() -> Puzzle:
    """07+45= is 52."""

    def prompt(generator: random.Random, digits: int) -> str:
        one, other = (generator.randrange(10**digits) for _ in range(2))
        return f"{one:0{digits}}+{other:0{digits}}="

    def answer(prompt: str) -> str:
        one, _, other = prompt.rstrip("=").partition("+")
        return str(int(one) + int(other))

    return Puzzle(prompt, answer)


def sorting() -> Puzzle:
    """314> is 134."""

    def prompt(generator: random.Random, count: int) -> str:
        return "".join(generator.choices("0123456789", k=count)) + ">"

    return Puzzle(prompt, lambda prompt: "".join(sorted(prompt[:-1])))


def brackets() -> Puzzle:
    """([> is ])."""

    def prompt(generator: random.Random, count: int) -> str:
        return "".join(generator.choices("([{", k=count)) + ">"

    return Puzzle(prompt, lambda prompt: "".join(CLOSING[c] for c in reversed(prompt[:-1])))


def text(tokens: list[int]) -> str:
    """Tokens as they are read."""
    return "".join(ALPHABET[token] for token in tokens)


def _different(puzzle: Puzzle, difficulty: int, generator: random.Random) -> list[str]:
    """Prompts, each once, in random order."""
    drawn = (puzzle.prompt(generator, difficulty) for _ in range(4 * MOST))
    return list(dict.fromkeys(drawn))[:MOST]


def _pairs(puzzle: Puzzle, prompts: list[str], longest: int) -> Pairs:
    """Each prompt with its answer, and with another one's."""
    right = [puzzle.answer(prompt) for prompt in prompts]
    wrong = [_other(right, number) for number in range(len(right))]
    chosen, rejected = (_encoded(prompts, answers, longest) for answers in (right, wrong))
    return Pairs(chosen[0], rejected[0], chosen[1], rejected[1])


def _other(answers: list[str], number: int) -> str:
    """The next answer that is another, or none where all are the same."""
    following = answers[number:] + answers[:number]
    return next((answer for answer in following if answer != answers[number]), "")


def _encoded(prompts: list[str], answers: list[str], longest: int) -> tuple[Tensor, Tensor]:
    """Tokens, and where the answers and their ends are."""
    rows = [
        p + (a + ALPHABET[END]).ljust(longest, ALPHABET[PAD])
        for p, a in zip(prompts, answers, strict=True)
    ]
    tokens = torch.tensor([[ALPHABET.index(character) for character in row] for row in rows])
    answered = torch.arange(tokens.shape[1]) >= len(prompts[0])
    return tokens, answered & (tokens != PAD)
