from math import ceil
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from objectives.errors import InputError
from tasks.regression.bags import BaggedRegression, in_bags, responses
from tasks.regression.tables import Table, linear

CPU = torch.device("cpu")


def protocol(data: Table, batch_size: int, bag_size: int, **setting: Any) -> BaggedRegression:
    return BaggedRegression(
        data, batch_size, 3, CPU, bag_size=bag_size, **{"epsilon": None} | setting
    )


def table() -> Table:
    return linear(seed=0, size=23, dim=3)


@pytest.mark.parametrize(("bag_size", "per_batch"), [(1, 8), (4, 2), (5, 1), (9, 1), (40, 1)])
def test_batches_hold_whole_bags(bag_size: int, per_batch: int) -> None:
    data = table()
    made = protocol(data, 8, bag_size)
    batches = list(made.batches(nn.Identity(), 0, 0))
    assert len(batches) == made.steps_per_epoch == ceil(ceil(23 / bag_size) / per_batch)
    of: dict[int, list[int]] = {}
    for batch in batches:
        assert len(batch.bags.unique()) <= per_batch
        assert torch.equal(batch.features, data.train.features[batch.index])
        for bag in batch.bags.unique().tolist():
            assert bag not in of  # in one batch alone
            of[bag] = batch.index[batch.bags == bag].tolist()
            mean = data.train.targets[of[bag]].mean()
            torch.testing.assert_close(batch.targets[batch.bags == bag], mean.expand(len(of[bag])))
    assert sorted(row for rows in of.values() for row in rows) == list(range(23))
    assert sorted(map(len, of.values()))[1:] == [bag_size] * (len(of) - 1)


def test_bags_depend_on_the_seed() -> None:
    one, other = (torch.cat(in_bags(20, Generator().manual_seed(s), bag_size=4)) for s in (0, 1))
    assert not torch.equal(one, other)
    assert torch.equal(one.sort().values, other.sort().values)


def noise(epsilon: float, bag_size: int) -> Tensor:
    bags = in_bags(40_000, Generator().manual_seed(0), bag_size=bag_size)
    return responses(torch.zeros(40_000), bags, Generator().manual_seed(1), epsilon=epsilon)


def test_privacy_is_laplace_noise_of_a_bags_sensitivity() -> None:
    # scale 6 / (bag_size * epsilon), and the standard deviation is sqrt(2) times that
    made = noise(epsilon=0.5, bag_size=4)
    assert made.std().item() == pytest.approx(2**0.5 * 3, rel=0.05)
    assert made.abs().mean().item() == pytest.approx(3, rel=0.05)
    assert noise(epsilon=0.5, bag_size=8).std().item() == pytest.approx(2**0.5 * 1.5, rel=0.05)


def test_privacy_cuts_responses() -> None:
    bags, targets = (torch.arange(2), torch.arange(2, 4)), torch.tensor([9.0, 1.0, -50.0, -50.0])
    private = responses(targets, bags, Generator(), epsilon=1e9)
    torch.testing.assert_close(private, torch.tensor([2.0, -3.0]), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"bag_size": 0}, "bag_size=0 is outside the domain of in_bags"),
        ({"bag_size": 4, "epsilon": 0.0}, "epsilon=0.0 is outside the domain of responses"),
    ],
)
def test_bad_settings_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        protocol(table(), 8, **setting)


def test_linear_is_linear() -> None:
    data = linear(seed=1, size=400, dim=5, noise=0.0)
    found = torch.linalg.lstsq(data.train.features, data.train.targets[:, None])
    assert found.solution.norm().item() == pytest.approx(1)
    torch.testing.assert_close((data.test.features @ found.solution)[:, 0], data.test.targets)
    assert (len(data.train), len(data.val), len(data.test)) == (400, 100, 2000)
    noisy = linear(seed=1, size=4000, dim=5, noise=0.5)
    assert noisy.train.targets.var().item() == pytest.approx(1.25, rel=0.1)


def test_redundant_rows_are_copies_in_training_alone() -> None:
    data = linear(seed=1, size=101, dim=5, redundant=0.9)
    assert (data.train.features == data.train.features[0]).all(dim=1).sum() == 91
    assert (data.train.targets == data.train.targets[0]).sum() == 91
    assert len(data.test.targets.unique()) > 1900
