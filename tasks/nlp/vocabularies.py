"""Vocabularies: how a text becomes pieces, and pieces numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from objectives.errors import InputError
from tasks.models.hf import loaded, transformers_library


@dataclass(frozen=True)
class Pieces:
    """The vocabulary of a pretrained model.

    Attributes:
        split: A text's pieces, with what the model expects at its beginning.
        index: The number of each piece.
        end: The token that ends a response.
        size: How many tokens there are.
    """

    split: Callable[[str], list[str]]
    index: Mapping[str, int]
    end: int
    size: int


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
    )
