"""A small text world: a house to be walked through, turn by turn, to the room that is named."""

import random
from collections import deque
from dataclasses import dataclass
from functools import cache
from string import ascii_letters
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor, nn

from objectives.domains import Count, Share, checked
from tasks.nlp.judges import Judge
from tasks.nlp.pairs import Pairs, PairSet, Written
from tasks.nlp.sampling import drawn

STEPS = {"^": (-1, 0), "v": (1, 0), "<": (0, -1), ">": (0, 1)}
"""What may be written, and where it leads: rows and columns."""

DOORS = 0.3
"""Share of the walls with a door, beside those that the way to a room needs."""

WALKS = 8
"""Times that each training prompt is there, each with other episodes."""

SEED = 0

START = 2
"""Tokens of a prompt: the goal, and the room where an episode starts."""

Rooms = Annotated[int, Interval(ge=2, le=7)]
"""A letter for each."""


@dataclass(frozen=True)
class House(Judge):
    """Rewards an episode of 1 where it comes to the room that its prompt names; 0 else.

    An episode is a text: the goal and the room where it starts, a letter each; then in turns what
    the policy writes, one of ^ v < >, and the room where it is then. A wall, or any other token,
    leads nowhere.

    Attributes:
        leads: Where each written token leads from each room: [tokens, tokens].
    """

    leads: Tensor
    best = "pass_at"

    def reward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return arrivals(tokens).any(dim=1).float()

    def shown(self, tokens: Tensor, mask: Tensor) -> dict[str, Tensor]:
        return {
            "success": self.reward(tokens, mask).mean(),
            "turns": mask.sum(dim=1).float().mean(),
        }


@dataclass(frozen=True)
class Quests(PairSet):
    """Prompts to go somewhere, each with the way of a guide and with that of a stranger."""

    @torch.no_grad()
    def responses(
        self, model: nn.Module, prompts: Tensor, generator: torch.Generator | None, **how: float
    ) -> Written:
        """Episodes, the model's words and the house's in turns, with padding behind the goal."""
        assert isinstance(self.judge, House)
        how, mode = {"temperature": 1.0, "top_p": 1.0} | how, model.training
        past: list[list[Tensor]] = []
        tokens = prompts[:, :START]
        scores = model.eval().following(tokens, past)  # type: ignore[operator]
        while tokens.shape[1] < prompts.shape[1]:
            word = drawn(scores.float(), generator, **how)
            room = self.judge.leads[word, tokens[:, -1:]]
            model.following(word, past)  # type: ignore[operator]
            scores = model.following(room, past)  # type: ignore[operator]
            tokens = torch.cat([tokens, word, room], dim=1)
        model.train(mode)
        came = arrivals(tokens).int()
        return Written(tokens * (came.cumsum(dim=1) - came == 0), words(tokens))


def words(tokens: Tensor) -> Tensor:
    """True on what the policy wrote, until it arrived: [batch, time]."""
    places = torch.arange(tokens.shape[1], device=tokens.device)
    arrived = arrivals(tokens).cumsum(dim=1) > 0
    return (places >= START) & (places % 2 == 0) & ~arrived


def arrivals(tokens: Tensor) -> Tensor:
    """True where an episode is in the room that it begins with: [batch, time]."""
    places = torch.arange(tokens.shape[1], device=tokens.device)
    return (tokens == tokens[:, :1]) & (places % 2 == 1)


@cache
@checked
def house(*, rooms: Rooms = 5, turns: Count = 16, lost: Share = 0.5) -> Quests:
    """Every room of a house as the goal from every other one, the same for every seed.

    A fifth of these prompts is for test, and another one for validation.

    Args:
        rooms: Rooms on a side.
        turns: Words of an episode, at most.
        lost: How often the guide writes any word instead of one that leads nearer.
    """
    generator = random.Random(SEED)
    leads = ways(rooms, generator)
    names = range(1, rooms**2 + 1)
    asked = [(goal, start) for goal in names for start in names if goal != start]
    generator.shuffle(asked)
    fifth = len(asked) // 5
    parts = WALKS * asked[2 * fifth :], asked[:fifth], asked[fifth : 2 * fifth]
    train, val, test = (_walked(part, leads, turns, lost, generator) for part in parts)
    return Quests(train, val, test, len(leads), House(torch.tensor(leads)))


def text(tokens: list[int], rooms: int) -> str:
    """Tokens as they are read."""
    return "".join(("·" + ascii_letters[: rooms**2] + "".join(STEPS))[token] for token in tokens)


def ways(rooms: int, generator: random.Random) -> list[list[int]]:
    """Where each token leads from each room, every room from every other: [tokens][tokens]."""
    size = 1 + rooms**2 + len(STEPS)
    leads = [list(range(size)) for _ in range(size)]
    reached, walls = {1}, [(1, *beside) for beside in _beside(1, rooms)]
    while walls:
        room, word, other = walls.pop(generator.randrange(len(walls)))
        if other not in reached:
            walls += [(other, *beside) for beside in _beside(other, rooms)]
        elif generator.random() >= DOORS:
            continue
        reached.add(other)
        leads[word][room] = other
        leads[_back(word, rooms)][other] = room
    return leads


def distances(leads: list[list[int]], goal: int, words: range) -> dict[int, int]:
    """How many words each room is from a goal."""
    found, queue = {goal: 0}, deque([goal])
    while queue:
        room = queue.popleft()
        for other in {leads[word][room] for word in words} - found.keys():
            found[other] = found[room] + 1
            queue.append(other)
    return found


def _beside(room: int, rooms: int) -> list[tuple[int, int]]:
    """The words that lead out of a room, and the rooms behind its walls."""
    row, column = divmod(room - 1, rooms)
    places = ((row + down, column + right) for down, right in STEPS.values())
    return [
        (1 + rooms**2 + number, 1 + r * rooms + c)
        for number, (r, c) in enumerate(places)
        if r in range(rooms) and c in range(rooms)
    ]


def _back(word: int, rooms: int) -> int:
    """The word that leads back."""
    first = 1 + rooms**2
    return first + ((word - first) ^ 1)


def _walked(
    asked: list[tuple[int, int]],
    leads: list[list[int]],
    turns: int,
    lost: float,
    generator: random.Random,
) -> Pairs:
    """The guide's episodes beside a stranger's."""
    episodes = [
        [_walk(goal, start, leads, turns, share, generator) for goal, start in asked]
        for share in (lost, 1.0)
    ]
    chosen, rejected = torch.tensor(episodes)
    return Pairs(chosen, rejected, *(_words(tokens) for tokens in (chosen, rejected)))


def _walk(
    goal: int,
    start: int,
    leads: list[list[int]],
    turns: int,
    lost: float,
    generator: random.Random,
) -> list[int]:
    """An episode, filled up with padding."""
    words = range(len(leads) - len(STEPS), len(leads))
    far, episode = distances(leads, goal, words), [goal, start]
    while episode[-1] != goal and len(episode) < 2 + 2 * turns:
        room = episode[-1]
        near = [word for word in words if far[leads[word][room]] < far[room]]
        word = generator.choice(words if generator.random() < lost else near)
        episode += [word, leads[word][room]]
    return episode + [0] * (2 + 2 * turns - len(episode))


def _words(tokens: Tensor) -> Tensor:
    """True on the words of episodes that were walked: [n, time]."""
    places = torch.arange(tokens.shape[1])
    return (places > 1) & (places % 2 == 0) & (tokens > 0)
