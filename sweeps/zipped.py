"""Axes that go hand in hand: `zip(tau=0.1|0.5, lr=0.1|0.01)`.

Hydra's grammar has no such function, but it has tags: the words above are read as
`tau=tag(zip1,choice(0.1,0.5)) lr=tag(zip1,choice(0.1,0.01))`, which may also be written out, and
stands in configs so.
"""

import re

from objectives.errors import InputError

TAG = "zip"
"""What the tags of zipped axes begin with."""

WRITTEN = re.compile(r"^zip\((.*)\)$", re.DOTALL)
OPENING, CLOSING, QUOTES = "([{", ")]}", "'\""


def spelled_out(words: list[str]) -> list[str]:
    """Command-line words in Hydra's grammar.

    Raises:
        InputError: A zip does not hold KEY=VALUE|VALUE, or as many values of each key.
    """
    found: list[str] = []
    for number, word in enumerate(words):
        written = WRITTEN.match(word.strip())
        found += _zip(word, written.group(1), f"{TAG}{number}") if written else [word]
    return found


def split(text: str, separator: str) -> list[str]:
    """The parts between separators that are in no bracket and no quotes."""
    parts, depth, quote = [""], 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in QUOTES:
            quote = sign
        depth += not quote and ((sign in OPENING) - (sign in CLOSING))
        if sign == separator and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def _zip(word: str, content: str, tag: str) -> list[str]:
    pairs = [part.partition("=") for part in split(content, ",")]
    if any(not equals or not key or not values for key, equals, values in pairs):
        raise InputError(f"{word} is no zip; it reads zip(KEY=VALUE|VALUE, KEY=VALUE|VALUE).")
    columns = {key.strip(): split(values, "|") for key, _, values in pairs}
    check_lengths({key: len(column) for key, column in columns.items()})
    return [f"{key}=tag({tag},choice({','.join(values)}))" for key, values in columns.items()]


def check_lengths(lengths: dict[str, int]) -> None:
    """Raise where keys that go hand in hand have unequally many values."""
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{key} {count}" for key, count in lengths.items())
        raise InputError(f"zipped keys need equally many values; here are: {counts}.")
