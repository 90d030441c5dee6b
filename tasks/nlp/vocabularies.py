"""Vocabularies: how a text becomes pieces, and pieces numbers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from objectives.errors import InputError
from tasks.models.hf import loaded, transformers_library
from tasks.nlp.conversations import Chat, Message, transcript
from tasks.nlp.text import SPECIAL, UNKNOWN, vocabulary

Split = Callable[[str], list[str]]


@dataclass(frozen=True)
class Pieces:
    """What texts are made of: words, or a pretrained model's pieces.

    Attributes:
        split: A text's pieces.
        index: The number of each piece.
        end: The token behind every response, so that none is empty.
        size: How many tokens there are.
        text: Numbers as they are read.
        chat: Messages as a text.
        first: What the model expects in front of all.
    """

    split: Split
    index: Mapping[str, int]
    end: int
    size: int
    text: Callable[[list[int]], str]
    chat: Chat = transcript
    first: tuple[str, ...] = ()

    def numbers(self, pieces: Sequence[str]) -> list[int]:
        return [self.index.get(piece, UNKNOWN) for piece in pieces]

    def prompt(self, pieces: Sequence[str], most: int) -> list[int]:
        """Numbers of a prompt, of which at most so many are read, from its end.

        Where there is no prompt, the token that ends a text stands in front of a response.
        """
        first = self.numbers(self.first)
        numbers = self.numbers(pieces)
        return [*first, *numbers[max(0, len(first) + len(numbers) - most) :]] or [self.end]

    def response(self, pieces: Sequence[str], most: int) -> list[int]:
        """Numbers of a response, at most so many, of which the last one ends it."""
        numbers = self.numbers(pieces)
        if numbers[-1:] == [self.end]:  # a chat template's own
            numbers.pop()
        return [*numbers[: most - 1], self.end]


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
    first = (tokenizer.bos_token,) if begins else ()

    def chat(messages: Sequence[Message], go_on: bool) -> str:
        try:
            said = tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=go_on
            )
        except Exception as error:  # a template may refuse what it likes
            raise InputError(f"the chat template of {name} refuses the messages: {error}") from None
        return str(said).removeprefix("".join(first))

    return Pieces(
        tokenizer.tokenize,
        tokenizer.get_vocab(),
        tokenizer.eos_token_id,
        len(tokenizer),
        tokenizer.decode,
        chat if tokenizer.chat_template else transcript,
        first,
    )
