import pytest
import torch
from cases import Case, bagged
from torch.nn import functional as F

from objectives.aggregate import aggregate_bag_instance

CASES = {
    "aggregate_bag_instance": Case(
        bagged,
        ("predictions",),
        settings=({}, {"rho": 0.0}, {"rho": 0.3}),  # at rho = 1 nothing couples the examples
        lacks={"golden": "a closed form: see the identity with the variance within bags"},
    ),
}


# bags {1, 3} with target 4 and {2} with target 0: means 2 and 2
@pytest.mark.parametrize(
    ("rho", "expected"),
    [(0.0, [4.0, 4.0, 4.0]), (1.0, [9.0, 1.0, 4.0]), (0.25, [5.25, 3.25, 4.0])],
)
def test_by_hand(rho: float, expected: list[float]) -> None:
    predictions, targets = torch.tensor([1.0, 3.0, 2.0]), torch.tensor([4.0, 4.0, 0.0])
    value = aggregate_bag_instance(predictions, targets, torch.tensor([7, 7, 3]), rho=rho)
    assert value.tolist() == expected


def test_of_examples_it_is_that_of_bags_and_the_variance_within() -> None:
    bags = torch.arange(12) % 3
    predictions, targets = torch.randn(12).double(), torch.randn(3).double()[bags]
    bag, instance = (
        aggregate_bag_instance(predictions, targets, bags, rho=rho).mean() for rho in (0.0, 1.0)
    )
    within = torch.stack([predictions[bags == b].var(correction=0) for b in range(3)]).mean()
    torch.testing.assert_close(instance, bag + within)


def test_bags_of_one_are_squared_errors() -> None:
    predictions, targets = torch.randn(6), torch.randn(6)
    value = aggregate_bag_instance(predictions, targets, torch.arange(6), rho=0.4)
    torch.testing.assert_close(value, F.mse_loss(predictions, targets, reduction="none"))


def test_a_batch_of_one() -> None:
    value = aggregate_bag_instance(torch.tensor([2.0]), torch.tensor([0.5]), torch.tensor([9]))
    assert value.item() == 2.25
