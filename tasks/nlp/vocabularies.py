"""Vocabularies: how a text becomes pieces, and pieces numbers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from objectives.errors import InputError
from tasks.models.hf import loaded, transformers_library
from tasks.nlp.text import SPECIAL, UNKNOWN, vocabulary

Split = Callable[[str], list[str]]


@dataclass(frozen=True)
class Pieces:
    """What texts are made of: words, or a pretrained model's pieces.

    Attributes:
        split: A text's pieces, with what the model expects at its beginning.
        index: The number of each piece.
        end: The token behind every response, so that none is empty.
        size: How many tokens there are.
        text: Numbers as they are read.
    """

    split: Split
    index: Mapping[str, int]
    end: int
    size: int
    text: Callable[[list[int]], str]

    def numbers(self, pieces: Sequence[str]) -> list[int]:
        return [self.index.get(piece, UNKNOWN) for piece in pieces]


def words(split: Split, texts: Iterable[Iterable[str]], min_count: int) -> Pieces:
    """The words that stand in texts, split already, at least so often."""
    known = (*SPECIAL, "<end>", *vocabulary(texts, min_count)[len(SPECIAL) :])
    index = {word: number for number, word in enumerate(known)}
    return Pieces(
        split, index, len(SPECIAL), len(known), lambda numbers: " ".join(known[n] for n in numbers)
    )


def pretrained_pieces(name: str, revision: str | None) -> Pieces:
    """The vocabulary that belongs to a model in the hub's format.

    Raises:
        InputError: It is not there, or has no token that ends a text.
    """
    tokenizer = loaded(transformers_library().AutoTokenizer, name, revision)
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"the tokenizer of {name} has no token that ends a text: name its eos_token in "
            "tokenizer_config.json."
        )
    begins = tokenizer.bos_token_id in tokenizer("a")["input_ids"][:1]
    first = [tokenizer.bos_token] if begins else []
    return Pieces(
        lambda text: [*first, *tokenizer.tokenize(text)],
        tokenizer.get_vocab(),
        tokenizer.eos_token_id,
        len(tokenizer),
        tokenizer.decode,
    )
