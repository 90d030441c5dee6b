"""Clients: who has what, who is there when, and what a round's batch holds."""

from itertools import islice

import numpy as np
import pytest
import torch

from objectives.errors import InputError
from tasks.federated import Clients, bernoulli, class_shares, cyclic, markov, partition

CPU = torch.device("cpu")
LABELS = np.arange(1000) % 5


class Split:
    """Examples of which the labels are all that matters."""

    def __init__(self, labels: np.ndarray):
        self.labels = torch.from_numpy(labels)

    def __len__(self) -> int:
        return len(self.labels)


def clients(**settings) -> Clients:
    return Clients(Split(LABELS), 4, 0, CPU, **{"clients": 10, "local_steps": 2, **settings})


def largest_share(alpha: float) -> float:
    owner = partition(LABELS, 10, alpha, np.random.default_rng(0))
    shares = class_shares(LABELS, owner, 10)
    there = shares.sum(axis=1) > 0
    np.testing.assert_allclose(shares[there].sum(axis=1), 1)
    return float(shares[there].max(axis=1).mean())


def test_classes_are_shared_out_by_their_concentration() -> None:
    assert largest_share(1e4) < 0.25  # a fifth each
    assert largest_share(0.01) > 0.9
    assert 0.3 < largest_share(0.5) < 0.8


def test_every_example_has_one_owner() -> None:
    owner = partition(LABELS, 10, 0.1, np.random.default_rng(0))
    assert owner.min() >= 0
    assert owner.max() < 10
    sampler = clients(alpha=0.01)
    assert sorted(np.concatenate(sampler.examples)) == list(range(1000))


PATTERNS = {"bernoulli": bernoulli, "markov": markov, "cyclic": cyclic}


@pytest.mark.parametrize("name", PATTERNS)
def test_clients_are_there_as_often_as_is_likely(name: str) -> None:
    often = np.array([0.05, 0.3, 0.9, 1.0])
    drawn = PATTERNS[name](often, np.random.default_rng(0))
    there = np.stack(list(islice(drawn, 20_000)))
    np.testing.assert_allclose(there.mean(axis=0), often, atol=0.04)
    changes = (there[1:] != there[:-1]).mean(axis=0)
    fair = 2 * often * (1 - often)
    if name == "bernoulli":
        np.testing.assert_allclose(changes, fair, atol=0.02)
    else:  # they come and go more seldom
        assert (changes[1:3] < 0.7 * fair[1:3]).all()


def test_a_round_holds_the_local_batches_of_those_who_are_there() -> None:
    sampler = clients(mean=0.5)
    for turn, batch in enumerate(sampler.batches(0, 0)):
        there = np.flatnonzero(sampler.there(turn))
        assert len(there) > 0
        owners = sampler.owner[batch.numpy()].reshape(len(there), -1)
        assert owners.shape[1] == 2 * 4
        assert (owners == there[:, None]).all()


def test_rounds_depend_on_seed_and_number_alone() -> None:
    whole, again = list(clients().batches(1, 0)), clients()
    tail = list(again.batches(1, 3))
    assert len(tail) == len(whole) - 3
    assert all(torch.equal(a, b) for a, b in zip(tail, whole[3:], strict=True))
    other = Clients(Split(LABELS), 4, 1, CPU, clients=10, local_steps=2)
    assert not np.array_equal(other.owner, again.owner)


def test_a_client_with_few_examples_meets_them_again_and_one_without_never_comes() -> None:
    split = Split(np.array([0, 0, 0, 1]))
    sampler = Clients(split, 4, 0, CPU, clients=4, alpha=0.01, local_steps=2, least=1.0)
    assert not sampler.present.all()
    for batch in sampler.batches(0, 0):
        own = sampler.owner[batch.numpy()]
        assert set(own) == set(np.flatnonzero(sampler.present))
        assert (np.bincount(own)[list(set(own))] == 8).all()


def test_a_round_without_anybody_is_passed_over() -> None:
    nobody, somebody = np.zeros(10, bool), np.arange(10) == 3
    sampler = clients(alpha=1e4, participation=lambda *_: iter([nobody, nobody, somebody]))
    assert np.array_equal(sampler.there(0), somebody)


def test_more_clients_than_examples_and_no_labels_are_refused() -> None:
    with pytest.raises(InputError, match=r"sampler\.clients=1001 is more than the 1000 examples"):
        clients(clients=1001)
    with pytest.raises(InputError, match="by their labels, which this task does not have"):
        Clients([1, 2, 3], 4, 0, CPU)
