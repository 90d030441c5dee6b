from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from objectives.errors import InputError
from tasks.models.ordinal import nonproportional_odds, proportional_odds
from tasks.regression import tables as regression
from tasks.regression.tables import diabetes
from tasks.tabular.ordered import OrderedTable, Split, binned, rare_steps
from tasks.tabular.ordinal import NominalClassification, OrdinalClassification, ordinal_metrics

CPU = torch.device("cpu")


def test_bins_are_those_of_the_target() -> None:
    table, original = binned(diabetes(), shares=[0.6, 0.3, 0.1]), diabetes()
    shares = table.train.labels.bincount() / len(table.train)
    torch.testing.assert_close(shares, torch.tensor([0.6, 0.3, 0.1]), rtol=0, atol=0.01)
    for name in ("train", "val", "test"):
        order = getattr(original, name).targets.argsort()
        assert (getattr(table, name).labels[order].diff() >= 0).all()
    assert table.test.rare.shape == (89, 0)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ([0.5, 0.4], r"shares=\[0\.5, 0\.4\] add up to 0\.9, not to 1"),
        ([1.0], "is outside the domain of binned"),
    ],
)
def test_bad_shares_are_refused(shares: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        binned(diabetes(), shares=shares)


def test_a_class_between_equal_targets_is_refused() -> None:
    rows = regression.Split(torch.zeros(11, 1), torch.arange(11).eq(10).float())
    with pytest.raises(InputError, match="class 1 has no training row; make its share larger"):
        binned(regression.Table(rows, rows, rows, 1.0), shares=[0.3, 0.3, 0.4])


def test_the_last_step_is_rare_and_its_probability_known() -> None:
    table = rare_steps(seed=0, size=20_000)
    frequency = (table.train.labels == 3).double().mean().item()
    assert 0.003 < frequency < 0.03
    assert table.train.rare.mean().item() == pytest.approx(frequency, abs=0.003)
    likely = table.train.rare[:, 0] > table.train.rare.quantile(0.9)
    assert (table.train.labels[likely] == 3).double().mean() > 2 * frequency


def test_without_deviation_odds_are_proportional() -> None:
    table = rare_steps(seed=3, size=40, dim=4, deviation=0.0, sparsity=1.0, intercepts=[-1.0, 1.0])
    x, rare = table.test.features.double(), table.test.rare[:, 0]
    torch.testing.assert_close(rare, torch.sigmoid(-(1.0 + x.sum(dim=1))), rtol=1e-5, atol=0)


def test_steps_are_new_for_a_seed_and_have_every_class() -> None:
    one, same, other = (rare_steps(seed=s, size=30) for s in (0, 0, 1))
    assert torch.equal(one.train.features, same.train.features)
    assert not torch.equal(one.train.features, other.train.features)
    assert all((rare_steps(seed=s, size=30).train.labels == 3).any() for s in range(5))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"intercepts": [3.0, 0.0]}, r"intercepts=\[3\.0, 0\.0\] do not rise"),
        ({"deviation": 9.0}, "deviation=9 leaves some class a negative probability"),
        ({"sparsity": 1.5}, "sparsity=1.5 is outside the domain of rare_steps"),
    ],
)
def test_bad_steps_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rare_steps(seed=0, size=30, **setting)


def test_metrics_by_hand() -> None:
    data = Split(torch.zeros(2, 1), torch.tensor([0, 2]), torch.tensor([[0.1], [0.5]]))
    probabilities = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])
    found = ordinal_metrics(probabilities, data)
    assert found["accuracy"] == 0
    assert found["mae"] == (1 + 2) / 2
    assert found["rare_brier"].item() == pytest.approx((0.3**2 + 0.7**2) / 2)
    assert found["rare_mse"].item() == pytest.approx((0.2**2 + 0.2**2) / 2)
    assert found["nll"].item() == pytest.approx(-np.log([0.2, 0.3]).mean())


def table() -> OrderedTable:
    rows = Split(torch.randn(6, 2), torch.arange(6) % 3, torch.empty(6, 0))
    return OrderedTable(rows, rows, rows, 3)


class Fixed(nn.Module):
    """The same outputs for every row."""

    def __init__(self, *outputs: float):
        super().__init__()
        self.outputs = torch.tensor(outputs)

    def forward(self, features: Tensor) -> Tensor:
        return self.outputs.expand(len(features), -1)


def test_both_protocols_say_the_same_of_the_same_probabilities() -> None:
    # 1/4, 1/4 and 1/2
    nominal = NominalClassification(table(), 2, 0, CPU)
    ordinal = OrdinalClassification(table(), 2, 0, CPU)
    assert (nominal.facts["num_outputs"], ordinal.facts["num_outputs"]) == (3, 2)
    by_class = nominal.evaluate(Fixed(0.0, 0.0, float(np.log(2))), "val")
    by_threshold = ordinal.evaluate(Fixed(-float(np.log(3)), 0.0), "val")
    assert by_class == pytest.approx(by_threshold, rel=1e-6)
    assert "rare_mse" not in by_class


def test_the_record_has_the_weights_of_the_head() -> None:
    protocol = OrdinalClassification(table(), 4, 0, CPU)
    model = proportional_odds((2,), 2)
    record = protocol(model, next(protocol.batches(model, 0, 0)))
    torch.testing.assert_close(record.coefficients, model.head.score.weight.expand(2, 2))
    record.coefficients.sum().backward()
    assert model.head.score.weight.grad.tolist() == [[2.0, 2.0]]


def test_thresholds_of_proportional_odds_never_cross() -> None:
    model = proportional_odds((4,), 5)
    model.head.steps.data = 10 * torch.randn(4)
    outputs = model(torch.randn(7, 4))
    assert (outputs.diff(dim=1) > 0).all()
    apart = outputs - outputs[:, :1]
    torch.testing.assert_close(apart, apart[:1].expand(7, 5))  # the same for every row
    torch.testing.assert_close(
        model.head(model.features(torch.ones(1, 4))), model(torch.ones(1, 4))
    )


def test_separate_weights_start_without_crossing() -> None:
    model = nonproportional_odds((4,), 3)
    torch.testing.assert_close(model(torch.randn(2, 4)), torch.tensor([[-1.0, 0.0, 1.0]] * 2))
    assert [p.shape for p in model.parameters()] == [(3, 4), (3,)]
