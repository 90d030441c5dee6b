"""Federated data: who has which examples, who takes part in a round, what a round's batch holds."""

import itertools
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Gt
from torch import Tensor

from objectives.domains import Count, Share
from objectives.errors import InputError
from tasks.sampling import Sampler

Participation = Callable[[np.ndarray, np.random.Generator], Iterator[np.ndarray]]
"""From each client's probability to, round after round, whether it takes part."""


def bernoulli(probabilities: np.ndarray, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Each client takes part with its probability, whatever came before."""
    while True:
        yield generator.random(len(probabilities)) < probabilities


def markov(
    probabilities: np.ndarray,
    generator: np.random.Generator,
    *,
    arrival: Annotated[float, Gt(0)] = 0.05,
) -> Iterator[np.ndarray]:
    """Each client comes and goes as a Markov chain with its probability as the share of time.

    Args:
        arrival: Probability that one who is away comes back in a round, less where it would have
            to leave with a probability above 1.
    """
    come = np.minimum(arrival, probabilities / np.maximum(1 - probabilities, 1e-12))
    leave = come * (1 / probabilities - 1)
    there = generator.random(len(probabilities)) < probabilities
    while True:
        drawn = generator.random(len(probabilities))
        there = np.where(there, drawn >= leave, drawn < come)
        yield there


def cyclic(
    probabilities: np.ndarray, generator: np.random.Generator, *, cycle: Count = 100
) -> Iterator[np.ndarray]:
    """Each client is there for its share of every cycle of rounds, from a start of its own."""
    there = np.maximum(np.round(cycle * probabilities), 1)
    first = generator.integers(cycle, size=len(probabilities))
    for number in itertools.count():
        yield (first + number) % cycle < there


class Clients(Sampler):
    """Rounds of federated learning: in each, the local batches of the clients that take part.

    A client's classes are drawn from a Dirichlet distribution, and every class is shared out in
    proportion. How often it takes part follows from its classes, of which some are seen more
    often than others:

    p_n = mean * classes * sum_c m_c * share_nc,  m ~ Dirichlet(skew),  within [least, 1]

    A batch is `local_steps` batches of `batch_size` examples for the first client of the round,
    then for the next; a client with fewer examples meets them several times. A round in which
    nobody takes part is passed over, and a client without examples never takes part. An epoch is
    as many rounds as use, on average, as many examples as there are.

    Args:
        split: What is shared out; it has `labels`.
        batch_size: Examples of a local batch.
        seed: Decides the partition, the participation and the order.
        device: Where the positions are wanted.
        clients: Number of clients.
        alpha: Concentration of a client's classes; small: one class each, large: all alike.
        local_steps: Batches of a client in a round.
        participation: Who takes part, given the probabilities.
        mean: Mean probability of taking part.
        skew: Concentration of the classes' part in the probabilities; large: all alike.
        least: Smallest probability; 1 for everybody in every round.

    Attributes:
        owner: The client of each example.
        present: The clients that have examples.

    Raises:
        InputError: The split has no labels, or fewer examples than there are clients.

    Source:
        Wang & Ji 2024, arXiv:2306.03401, section 6 and its code (IBM/fedau).
    """

    def __init__(
        self,
        split: Any,
        batch_size: int,
        seed: int,
        device: torch.device,
        *,
        clients: Count = 20,
        alpha: Annotated[float, Gt(0)] = 0.1,
        local_steps: Count = 5,
        participation: Participation = bernoulli,
        mean: Annotated[Share, Gt(0)] = 0.3,
        skew: Annotated[float, Gt(0)] = 0.1,
        least: Annotated[Share, Gt(0)] = 0.02,
    ):
        labels = _labels(split, clients)
        self.batch_size, self.local_steps = batch_size, local_steps
        self.seed, self.device = seed, device
        generator = np.random.default_rng([seed, 0])
        self.owner = partition(labels, clients, alpha, generator)
        shares = class_shares(labels, self.owner, clients)
        self.probabilities = probabilities(shares, generator, mean, skew, least)
        self.examples = [np.flatnonzero(self.owner == client) for client in range(clients)]
        self.present = np.array([len(own) > 0 for own in self.examples])
        self._rounds: list[np.ndarray] = []
        self._pattern = participation(self.probabilities, generator)
        expected = self.probabilities[self.present].sum() * local_steps * batch_size
        self.steps_per_epoch = max(1, round(len(labels) / expected))

    def batches(self, epoch: int, start: int) -> Iterator[Tensor]:
        for number in range(start, self.steps_per_epoch):
            turn = epoch * self.steps_per_epoch + number
            own = [self._local(int(n), turn) for n in np.flatnonzero(self.there(turn))]
            yield torch.from_numpy(np.concatenate(own)).to(self.device)

    def there(self, turn: int) -> np.ndarray:
        """Whether each client takes part in a round."""
        while len(self._rounds) <= turn:
            drawn = next(self._pattern) & self.present
            if drawn.any():
                self._rounds.append(drawn)
        return self._rounds[turn]

    def _local(self, client: int, turn: int) -> np.ndarray:
        """What a client learns from in a round: its examples in random order, again and again."""
        generator = np.random.default_rng([self.seed, 1, turn, client])
        needed = self.local_steps * self.batch_size
        passes = -(-needed // len(self.examples[client]))
        orders = [generator.permutation(self.examples[client]) for _ in range(passes)]
        return np.concatenate(orders)[:needed]


def partition(
    labels: np.ndarray, clients: int, alpha: float, generator: np.random.Generator
) -> np.ndarray:
    """The client of each example: every class shared out by the clients' draws of it."""
    count = int(labels.max()) + 1
    drawn = generator.dirichlet(np.full(count, alpha), clients) + 1e-12  # a class goes somewhere
    owner = np.empty(len(labels), dtype=np.int64)
    for number in range(count):
        members = generator.permutation(np.flatnonzero(labels == number))
        ends = np.round(len(members) * drawn[:, number].cumsum() / drawn[:, number].sum())
        owner[members] = np.searchsorted(ends, np.arange(len(members)), side="right")
    return owner


def class_shares(labels: np.ndarray, owner: np.ndarray, clients: int) -> np.ndarray:
    """The share of each class among each client's examples [clients, classes]; 0 without any."""
    counts = np.zeros((clients, int(labels.max()) + 1))
    np.add.at(counts, (owner, labels), 1)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def probabilities(
    shares: np.ndarray, generator: np.random.Generator, mean: float, skew: float, least: float
) -> np.ndarray:
    """How likely each client takes part, by the classes that it has."""
    classes = shares.shape[1]
    seen = generator.dirichlet(np.full(classes, skew))
    return np.clip(mean * classes * shares @ seen, least, 1.0)


def _labels(split: Any, clients: int) -> np.ndarray:
    if not hasattr(split, "labels"):
        raise InputError(
            "sampler=clients shares out examples by their labels, which this task does not have."
        )
    if clients > len(split):
        raise InputError(f"sampler.clients={clients} is more than the {len(split)} examples.")
    return np.asarray(split.labels.cpu())
