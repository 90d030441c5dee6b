import pytest
import torch
from sklearn.metrics import mean_pinball_loss, mean_squared_error
from torch import Tensor
from torch.nn import functional as F

from objectives.regression import mse, quantile


def example(levels: int = 3) -> tuple[Tensor, Tensor]:
    return torch.randn(9, levels, dtype=torch.float64), torch.randn(9, dtype=torch.float64)


def test_mse_by_hand() -> None:
    # (1 - 3)^2 = 4, (0.5 - 0)^2 = 0.25
    value = mse(torch.tensor([1.0, 0.5]), torch.tensor([3.0, 0.0]))
    assert value.tolist() == [4.0, 0.25]


def test_mse_is_twice_the_gaussian_likelihood_at_unit_variance() -> None:
    predictions, targets = torch.randn(2, 9)
    likelihood = F.gaussian_nll_loss(predictions, targets, 1.0, reduction="none")
    torch.testing.assert_close(mse(predictions, targets), 2 * likelihood)


def test_mse_is_invariant_to_shift_and_sign_of_both() -> None:
    predictions, targets = torch.randn(2, 9, dtype=torch.float64)
    value = mse(predictions, targets)
    torch.testing.assert_close(mse(predictions + 3, targets + 3), value)
    torch.testing.assert_close(mse(-predictions, -targets), value)


def test_mse_gradient_points_from_the_target_away() -> None:
    predictions, targets = torch.randn(9, requires_grad=True), torch.randn(9)
    mse(predictions, targets).sum().backward()
    torch.testing.assert_close(predictions.grad, 2 * (predictions.detach() - targets))


def test_mse_agrees_with_scikit_learn() -> None:
    predictions, targets = torch.randn(2, 9, dtype=torch.float64)
    ours = mse(predictions, targets).mean().item()
    assert ours == pytest.approx(mean_squared_error(targets, predictions))


def test_quantile_by_hand() -> None:
    # levels 0.1 and 0.7, target 2: f = 1 is below by 1: 0.1 and 0.7; f = 4 is above by 2:
    # 0.9 * 2 and 0.3 * 2; means of the two levels: (0.1 + 0.6) / 2 and (1.8 + 0.7) / 2
    quantiles = torch.tensor([[1.0, 4.0], [4.0, 1.0]])
    value = quantile(quantiles, torch.tensor([2.0, 2.0]), levels=(0.1, 0.7))
    torch.testing.assert_close(value, torch.tensor([0.35, 1.25]))


def test_quantile_at_one_half_is_half_the_absolute_error() -> None:
    quantiles, targets = example(levels=1)
    value = quantile(quantiles, targets, levels=(0.5,))
    torch.testing.assert_close(value, (quantiles[:, 0] - targets).abs() / 2)


def test_quantile_mirrors() -> None:
    quantiles, targets = example(levels=2)
    value = quantile(quantiles, targets, levels=(0.2, 0.7))
    mirrored = quantile(-quantiles, -targets, levels=(0.8, 0.3))
    torch.testing.assert_close(mirrored, value)


def test_quantile_goes_with_its_levels_and_is_invariant_to_shift() -> None:
    quantiles, targets = example()
    value = quantile(quantiles, targets, levels=(0.1, 0.5, 0.9))
    reordered = quantile(quantiles[:, [2, 0, 1]], targets, levels=(0.9, 0.1, 0.5))
    torch.testing.assert_close(reordered, value)
    torch.testing.assert_close(quantile(quantiles - 5, targets - 5), value)


@pytest.mark.parametrize("level", [0.1, 0.3, 0.9])
def test_the_best_constant_is_the_quantile(level: float) -> None:
    targets = torch.arange(101, dtype=torch.float64)
    losses = torch.stack(
        [quantile(c.expand(101, 1), targets, levels=(level,)).mean() for c in targets]
    )
    assert losses.argmin().item() == pytest.approx(100 * level, abs=1)


@pytest.mark.parametrize("level", [0.05, 0.5, 0.8])
def test_quantile_agrees_with_scikit_learn(level: float) -> None:
    quantiles, targets = example(levels=1)
    ours = quantile(quantiles, targets, levels=(level,)).mean().item()
    assert ours == pytest.approx(mean_pinball_loss(targets, quantiles[:, 0], alpha=level))


@pytest.mark.parametrize(("below", "gradient"), [(True, -0.3), (False, 0.7)])
def test_quantile_corners(below: bool, gradient: float) -> None:
    # level 0.3: d/df is -0.3 where the prediction is below the target, 0.7 above
    predicted = torch.tensor([[-1.0 if below else 1.0]], requires_grad=True)
    quantile(predicted, torch.zeros(1), levels=(0.3,)).backward()
    assert predicted.grad.item() == pytest.approx(gradient)
