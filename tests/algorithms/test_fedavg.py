"""Federated averaging: by hand, against the official code, and without bias."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toys import Products, learner

from objectives.errors import InputError
from objectives.objective import Objective
from runner.algorithms.fedavg import FedAU, FedAvg
from runner.learner import Learner
from tasks.federated import Clients, bernoulli
from tasks.regression.regression import Rows

GOLDEN = Path(__file__).parents[1] / "golden" / "fedau.json"
Built = Callable[..., Any]
CPU = torch.device("cpu")


@dataclass
class Split:
    """Examples of one class."""

    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def shared_out(clients: int, participation: Any, local_steps: int = 1) -> Clients:
    """Clients that all have some of 300 examples, and meet them one by one."""
    split = Split(torch.zeros(300, dtype=torch.long))
    made = Clients(
        split,
        1,
        0,
        CPU,
        clients=clients,
        alpha=1000.0,
        local_steps=local_steps,
        participation=participation,
        mean=1.0,
        skew=1000.0,
    )
    assert made.present.all()
    return made


class Pulls(Products):
    """Each client pulls the weights its own way: the loss is (w - c_n)^2 / 2, or as given."""

    def __init__(self, sampler: Clients, pull: Callable[[Tensor, int], Tensor]):
        super().__init__()
        self.sampler, self.pull = sampler, pull

    def predictions(self, weight: Tensor, batch: Rows) -> Tensor:
        owners = self.sampler.owner[batch.index.numpy()]
        return torch.stack([self.pull(weight, int(owner)) for owner in owners])


def federated(
    sampler: Clients, weight: Any, pull: Callable[[Tensor, int], Tensor], lr: float
) -> Learner:
    height = Objective(lambda predictions: predictions, ("predictions",), {})
    return learner(weight, height, Pulls(sampler, pull), lr=lr)


def rounds(sampler: Clients) -> Iterator[Rows]:
    epoch = 0
    while True:
        for index in sampler.batches(epoch, 0):
            yield Rows(torch.zeros(len(index)), torch.zeros(len(index)), index)
        epoch += 1


def test_the_clients_ends_are_averaged_by_hand() -> None:
    # client n has its least at n; two steps of lr 0.5 from 4: 4 -> 2 -> 1 and 4 -> 2.5 -> 1.75
    sampler = shared_out(2, lambda *_: iter([np.array([True, True])] * 9), local_steps=2)
    learning = federated(sampler, 4.0, lambda w, n: (w - n) ** 2 / 2, lr=0.5)
    batch = next(rounds(sampler))
    FedAvg(learning).update(batch)
    assert learning.model.weight.item() == pytest.approx((1 + 1.75) / 2)
    learning.model.weight.data.fill_(4.0)
    FedAvg(learning, server_lr=0.5).update(batch)
    assert learning.model.weight.item() == pytest.approx((4 + (1 + 1.75) / 2) / 2)


def test_golden_of_fedau() -> None:
    golden = json.loads(GOLDEN.read_text())
    there = np.array(golden["inputs"]["participation"], dtype=bool)
    updates = torch.tensor(golden["inputs"]["updates"], dtype=torch.float64)
    sampler = shared_out(there.shape[1], lambda *_: iter(there))
    changes: list[Tensor] = []
    learning = federated(
        sampler, golden["inputs"]["weights"], lambda w, n: -(w * changes[-1][n]).sum(), lr=1.0
    )
    algorithm = FedAU(
        learning, server_lr=golden["hyper"]["global_lr"], cutoff=golden["hyper"]["cutoff"]
    )
    batches = rounds(sampler)
    for given, weights in zip(updates, golden["output"], strict=True):
        changes.append(given)
        algorithm.update(next(batches))
        expected = torch.tensor(weights, dtype=torch.float64)
        torch.testing.assert_close(
            learning.model.weight.detach(), expected, rtol=0, atol=1e-6
        )  # theirs is float32


def test_an_interval_that_reaches_the_cutoff_ends_there() -> None:
    sampler = shared_out(2, lambda *_: iter([np.array([True, False])] * 9))
    algorithm = FedAU(federated(sampler, 0.0, lambda w, _: w, lr=1.0), cutoff=3)
    for _ in range(7):
        algorithm.shares([0])
    assert algorithm.intervals.tolist() == [7, 2]
    assert algorithm.rounds.tolist() == [7, 6]
    assert algorithm.waiting.tolist() == [0, 1]
    assert algorithm.shares([0, 1]) == pytest.approx([0.5, 1.5])  # 1 / 2 and 3 / 2


def test_fedau_is_not_biased_to_those_who_are_often_there() -> None:
    # optima 0 and 1 of clients who are there in 90 and 20 % of the rounds
    def ends(algorithm: type[FedAvg]) -> float:
        often = np.array([0.9, 0.2])
        sampler = shared_out(2, lambda _, generator: bernoulli(often, generator))
        learning = federated(sampler, 0.5, lambda w, n: (w - n) ** 2 / 2, lr=0.02)
        update, seen = algorithm(learning).update, []
        for batch in islice(rounds(sampler), 900):
            update(batch)
            seen.append(learning.model.weight.item())
        return float(np.mean(seen[300:]))

    # of the rounds with anybody there, 0.72 have the first alone, 0.02 the second alone: the
    # mean change is nought at 0.02 + 0.18 / 2 over 0.92
    assert ends(FedAvg) == pytest.approx(0.11 / 0.92, abs=0.05)
    assert ends(FedAU) == pytest.approx(0.5, abs=0.08)


def trained(built: Built, *overrides: str, steps: int = 3) -> Tensor:
    experiment = built("digits", "optimizer=sgd", "lr=0.1", "momentum=0", *overrides)
    learning = experiment.learner
    for batch in islice(learning.protocol.batches(learning.model, 0, 0), steps):
        experiment.algorithm.update(batch)
    return torch.cat([p.detach().flatten() for p in learning.model.parameters()])


FEDERATED = ("sampler=clients", "batch_size=16")


def test_one_client_with_one_local_step_is_descent(built: Built) -> None:
    alone = *FEDERATED, "sampler.clients=1", "sampler.local_steps=1", "sampler.least=1.0"
    plain = trained(built, *alone)
    torch.testing.assert_close(trained(built, *alone, "algorithm=fedavg"), plain)
    torch.testing.assert_close(trained(built, *alone, "algorithm=fedau"), plain)


def test_where_everybody_is_there_fedau_is_fedavg(built: Built) -> None:
    everybody = *FEDERATED, "sampler.clients=4", "sampler.least=1.0", "sampler.alpha=100"
    averaged = trained(built, *everybody, "algorithm=fedavg")
    torch.testing.assert_close(trained(built, *everybody, "algorithm=fedau"), averaged)
    assert not torch.allclose(trained(built, *everybody), averaged)


def test_fedau_goes_on_from_its_state(built: Built) -> None:
    one, other = (built("digits", *FEDERATED, "algorithm=fedau").algorithm for _ in range(2))
    for there in ([0, 3], [1], [0, 1, 3]):
        one.shares(there)
    other.load_state_dict(one.state_dict())
    assert one.shares([0, 1, 2]) == other.shares([0, 1, 2])
    assert one.shares([0, 1, 2]) == other.shares([0, 1, 2])


def test_without_clients_it_is_refused(built: Built) -> None:
    for name in ("fedavg", "fedau"):
        with pytest.raises(InputError, match=f"{name} needs the local batches of clients: add"):
            built("digits", f"algorithm={name}")
