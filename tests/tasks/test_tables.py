from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, root_mean_squared_error
from torch import Tensor, nn

from objectives.errors import InputError
from tasks.regression.regression import (
    GaussianRegression,
    PointRegression,
    QuantileRegression,
    Rows,
)
from tasks.regression.tables import (
    Split,
    Table,
    diabetes,
    friedman,
    random_splits,
    standardized,
)

CPU = torch.device("cpu")


def test_diabetes_is_scikit_learns_in_three_splits() -> None:
    table = diabetes()
    assert (len(table.train), len(table.val), len(table.test)) == (282, 71, 89)
    targets = torch.cat([s.targets for s in (table.train, table.val, table.test)]).double()
    original = torch.from_numpy(load_diabetes().target)
    mean = original.mean() - (targets * table.scale).mean()  # each row is in one split
    restored = (targets * table.scale + mean).sort().values
    torch.testing.assert_close(restored, original.sort().values, rtol=0, atol=1e-3)


def at_random(features: np.ndarray, targets: np.ndarray) -> Table:
    return standardized(features, targets, *random_splits(len(targets)))


def test_standardized_by_the_training_split_alone() -> None:
    generator = np.random.default_rng(1)
    features = generator.normal(5.0, 3.0, (50, 2))
    table = at_random(features, generator.normal(-2.0, 0.1, 50))
    for column in (table.train.features, table.train.targets):
        torch.testing.assert_close(column.mean(0), torch.zeros_like(column[0]), rtol=0, atol=1e-5)
        spread = column.std(0, correction=0)
        torch.testing.assert_close(spread, torch.ones_like(spread), rtol=1e-5, atol=0)
    assert table.val.targets.mean().abs() > 1e-3


def test_rows_stay_together_in_every_call() -> None:
    numbers = np.arange(40.0)
    table, again = (at_random(numbers[:, None], 3 * numbers) for _ in range(2))
    for split in ("train", "val", "test"):
        rows: Split = getattr(table, split)
        torch.testing.assert_close(rows.features[:, 0], rows.targets)
        assert torch.equal(rows.targets, getattr(again, split).targets)


def test_a_constant_target_is_refused() -> None:
    with pytest.raises(InputError, match="the target is constant: there is nothing to predict"):
        at_random(np.random.default_rng(0).normal(size=(10, 2)), np.full(10, 3.5))


def test_a_feature_that_is_constant_in_training_keeps_its_unit() -> None:
    features = np.stack([np.full(20, 0.1), np.arange(20.0)], axis=1)
    train, val, test = random_splits(20)
    features[test, 0] = 3.1
    table = standardized(features, np.arange(20.0), train, val, test)
    torch.testing.assert_close(table.train.features[:, 0], torch.zeros(len(train)))
    torch.testing.assert_close(table.test.features[:, 0], torch.full((len(test),), 3.0))


def test_friedman_is_the_function_of_its_features_and_noise() -> None:
    table = friedman(size=2000, noise=2.0)
    assert (len(table.train), len(table.val), len(table.test)) == (1280, 320, 400)
    features, targets = make_friedman1(2000, noise=2.0, random_state=0)
    x = features.T
    clean = 10 * np.sin(np.pi * x[0] * x[1]) + 20 * (x[2] - 0.5) ** 2 + 10 * x[3] + 5 * x[4]
    assert (targets - clean).std() == pytest.approx(2.0, rel=0.05)
    rows = random_splits(2000)[2]
    expected = (targets[rows] - targets[random_splits(2000)[0]].mean()) / table.scale
    torch.testing.assert_close(table.test.targets.double().numpy(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"size": 9}, "size=9 is outside the domain of friedman: .* greater than or equal to 10"),
        ({"size": 20.5}, "size=20.5 is outside the domain of friedman: .* valid integer"),
        ({"noise": -0.1}, "noise=-0.1 is outside the domain of friedman: .* or equal to 0"),
        ({"noise": float("nan")}, "noise=nan is outside the domain of friedman"),
        ({"noise": "much"}, "noise=much is outside the domain of friedman"),
    ],
)
def test_friedman_outside_its_domain(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        friedman(**setting)


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


def test_the_median_has_point_metrics_too() -> None:
    # errors of 1 against (-1, 0, 1, 3), times 10, as above; the level 0.9 has nothing to do with it
    protocol = QuantileRegression(table(10.0), 2, 0, CPU, levels=(0.9, 0.5))
    metrics = protocol.evaluate(Constant(7.0, 1.0), "test")
    assert metrics["rmse"] == pytest.approx(10 * (9 / 4) ** 0.5)
    assert metrics["mae"] == pytest.approx(10 * 5 / 4)
    without = QuantileRegression(table(10.0), 2, 0, CPU, levels=(0.9, 0.1))
    assert "rmse" not in without.evaluate(Constant(7.0, 1.0), "test")


def test_gaussian_metrics_in_the_targets_own_units_by_hand() -> None:
    # predicted: mean 1, deviation 1.5, in units of 10; targets (-1, 0, 1, 3)
    protocol = GaussianRegression(table(10.0), 2, 0, CPU)
    metrics = protocol.evaluate(Constant(1.0, 2 * np.log(1.5)), "test")
    likelihoods = norm(loc=10.0, scale=15.0).logpdf([-10.0, 0.0, 10.0, 30.0])
    assert metrics["nll"] == pytest.approx(-likelihoods.mean(), rel=1e-6)
    assert metrics["rmse"] == pytest.approx(10 * (9 / 4) ** 0.5)
    assert metrics["mae"] == pytest.approx(10 * 5 / 4)


def test_gaussian_coverage_by_hand() -> None:
    # 1.645 deviations of 1.2 reach 1.974 to each side of 1: 0 and 1 are inside; of 1.25, 2.056: all
    protocol = GaussianRegression(table(10.0), 2, 0, CPU)
    narrow, wide = (
        protocol.evaluate(Constant(1.0, 2 * np.log(deviation)), "val") for deviation in (1.2, 1.25)
    )
    assert (narrow["coverage"], wide["coverage"]) == (0.5, 1.0)
    assert narrow["nominal_coverage"] == pytest.approx(0.9)


def test_gaussian_coverage_is_nominal_where_the_model_is_right() -> None:
    targets = torch.randn(20_000)
    rows = Split(torch.zeros(20_000, 1), targets)
    protocol = GaussianRegression(Table(rows, rows, rows, 3.0), 2, 0, CPU)
    metrics = protocol.evaluate(Constant(0.0, 0.0), "test")
    assert metrics["coverage"] == pytest.approx(0.9, abs=0.01)
    assert metrics["nll"] == pytest.approx(norm(scale=3.0).entropy(), abs=0.02)


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
