"""Conversations as texts: what was said before, and two ways to go on."""

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple, TypeGuard

from objectives.errors import InputError

Message = Mapping[str, Any]

Chat = Callable[[Sequence[Message], bool], str]
"""From messages, each with role and content, to a text; whether the assistant is to go on."""


class Continued(NamedTuple):
    """A prompt and two responses; a prompt of None is what both texts begin with."""

    prompt: str | None
    chosen: str
    rejected: str


def transcript(messages: Sequence[Message], go_on: bool) -> str:
    """Messages as hh-rlhf has them."""
    names = ("Human" if m["role"] == "user" else m["role"].capitalize() for m in messages)
    said = [f"\n\n{name}: {m['content']}" for name, m in zip(names, messages, strict=True)]
    return "".join(said) + "\n\nAssistant:" * go_on


def continued(row: Mapping[str, Any], chat: Chat) -> Continued:
    """The texts of a row with the columns chosen, rejected and perhaps prompt.

    Raises:
        InputError: These are neither texts nor lists of messages.
    """
    prompt, chosen, rejected = (row.get(name) for name in ("prompt", "chosen", "rejected"))
    if _is_chat(chosen) and _is_chat(rejected):
        before = prompt if _is_chat(prompt) else []  # one that is a text is in them
        return _of_messages([*before, *chosen], [*before, *rejected], chat)
    said = chat(prompt, True) if _is_chat(prompt) else prompt or ""
    if not (isinstance(said, str) and isinstance(chosen, str) and isinstance(rejected, str)):
        raise InputError(
            "expected chosen and rejected to be both texts, or both lists of messages that have a "
            "role and a content; and the prompt, if there is one, too"
        )
    if chosen.startswith(said) and rejected.startswith(said):
        chosen, rejected = chosen.removeprefix(said), rejected.removeprefix(said)
    return Continued(said or None, chosen, rejected)


def _of_messages(chosen: list[Message], rejected: list[Message], chat: Chat) -> Continued:
    """As texts; the prompt is made of the messages that both begin with, all but the last."""
    pairs = zip(chosen[:-1], rejected[:-1], strict=False)
    shared = [message for message, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    prompt = chat(shared, True) if shared else ""
    texts = [chat(side, False) for side in (chosen, rejected)]
    if not prompt or not all(text.startswith(prompt) for text in texts):  # a template looks ahead
        return Continued(None, *texts)
    return Continued(prompt, *(text.removeprefix(prompt) for text in texts))


def _is_chat(value: Any) -> TypeGuard[list[Message]]:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(m, Mapping) and {"role", "content"} <= m.keys() for m in value)
        and all(isinstance(m[key], str) for m in value for key in ("role", "content"))
    )
