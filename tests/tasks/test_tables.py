import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, root_mean_squared_error
from torch import Tensor, nn

from objectives.errors import InputError
from tasks.regression.regression import PointRegression, QuantileRegression, Rows
from tasks.regression.tables import Split, Table, diabetes, standardized

CPU = torch.device("cpu")


def test_diabetes_is_scikit_learns_in_three_splits() -> None:
    table = diabetes()
    assert (len(table.train), len(table.val), len(table.test)) == (282, 71, 89)
    targets = torch.cat([s.targets for s in (table.train, table.val, table.test)]).double()
    original = torch.from_numpy(load_diabetes().target)
    mean = original.mean() - (targets * table.scale).mean()  # each row is in one split
    restored = (targets * table.scale + mean).sort().values
    torch.testing.assert_close(restored, original.sort().values, rtol=0, atol=1e-3)


def test_standardized_by_the_training_split_alone() -> None:
    generator = np.random.default_rng(1)
    features = generator.normal(5.0, 3.0, (50, 2))
    table = standardized(features, generator.normal(-2.0, 0.1, 50))
    for column in (table.train.features, table.train.targets):
        torch.testing.assert_close(column.mean(0), torch.zeros_like(column[0]), rtol=0, atol=1e-5)
        spread = column.std(0, correction=0)
        torch.testing.assert_close(spread, torch.ones_like(spread), rtol=1e-5, atol=0)
    assert table.val.targets.mean().abs() > 1e-3


def test_rows_stay_together_in_every_call() -> None:
    numbers = np.arange(40.0)
    table, again = (standardized(numbers[:, None], 3 * numbers) for _ in range(2))
    for split in ("train", "val", "test"):
        rows: Split = getattr(table, split)
        torch.testing.assert_close(rows.features[:, 0], rows.targets)
        assert torch.equal(rows.targets, getattr(again, split).targets)


def test_a_constant_target_is_refused() -> None:
    with pytest.raises(InputError, match="the target is constant: there is nothing to predict"):
        standardized(np.random.default_rng(0).normal(size=(10, 2)), np.full(10, 3.5))


def test_a_constant_feature_becomes_zero() -> None:
    features = np.stack([np.full(20, 7.0), np.arange(20.0)], axis=1)
    table = standardized(features, np.arange(20.0))
    assert (table.train.features[:, 0] == 0).all()


class Constant(nn.Module):
    """The same outputs for every row."""

    def __init__(self, *outputs: float):
        super().__init__()
        self.outputs = torch.tensor(outputs)

    def forward(self, features: Tensor) -> Tensor:
        return self.outputs.expand(len(features), -1)


def table(scale: float) -> Table:
    rows = Split(torch.zeros(4, 2), torch.tensor([-1.0, 0.0, 1.0, 3.0]))
    return Table(rows, rows, rows, scale)


def test_point_metrics_by_hand() -> None:
    # errors of 1 against (-1, 0, 1, 3): 2, 1, 0, -2, times 10
    metrics = PointRegression(table(10.0), 2, 0, CPU).evaluate(Constant(1.0), "val")
    assert metrics["rmse"] == pytest.approx(10 * (9 / 4) ** 0.5)
    assert metrics["mae"] == pytest.approx(10 * 5 / 4)


def test_quantile_metrics_by_hand() -> None:
    # pinball at 0.25 of prediction 0: (0.75, 0, 0.25, 0.75); at 0.75 of 2: (0.75, 0.5, 0.25, 0.75);
    # of the targets, 0 and 1 are between
    protocol = QuantileRegression(table(10.0), 2, 0, CPU, levels=(0.75, 0.25))
    metrics = protocol.evaluate(Constant(2.0, 0.0), "val")
    assert metrics["pinball"] == pytest.approx(10 * (1.75 + 2.25) / 8)
    assert metrics["coverage"] == 0.5
    assert metrics["nominal_coverage"] == 0.5


def test_metrics_agree_with_scikit_learn_in_the_targets_own_units() -> None:
    data, original = diabetes(), load_diabetes()
    model = nn.Linear(10, 2)
    with torch.no_grad():
        outputs = model(data.test.features).numpy() * data.scale
        targets = data.test.targets.numpy() * data.scale
        quantiles = QuantileRegression(data, 8, 0, CPU, levels=(0.2, 0.9)).evaluate(model, "test")
        model.weight, model.bias = (nn.Parameter(p[:1]) for p in (model.weight, model.bias))
        points = PointRegression(data, 8, 0, CPU).evaluate(model, "test")
    assert original.target.std() == pytest.approx(data.scale, rel=0.1)
    assert points["rmse"] == pytest.approx(root_mean_squared_error(targets, outputs[:, 0]), 1e-5)
    assert points["mae"] == pytest.approx(mean_absolute_error(targets, outputs[:, 0]), 1e-5)
    losses = [mean_pinball_loss(targets, outputs[:, k], alpha=q) for k, q in enumerate((0.2, 0.9))]
    assert quantiles["pinball"] == pytest.approx(np.mean(losses), 1e-5)


def test_outputs_follow_the_levels() -> None:
    protocol = QuantileRegression(diabetes(), 8, 0, CPU, levels=(0.1, 0.4, 0.5, 0.8))
    assert protocol.facts["num_outputs"] == 4
    batch = next(protocol.batches(nn.Identity(), 0, 0))
    assert isinstance(batch, Rows)
    assert protocol(nn.Linear(10, 4), batch).quantiles.shape == (8, 4)
