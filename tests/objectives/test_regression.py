import math

import pytest
import torch
from cases import Case, gaussian, predicted, quantiles
from scipy.stats import norm
from sklearn.metrics import mean_pinball_loss, mean_squared_error
from torch import Tensor
from torch.nn import functional as F

from objectives.regression import gaussian_nll, huber, mse, quantile

CASES = {
    "gaussian_nll": Case(
        gaussian,
        ("predictions", "log_variances"),
        lacks={"golden": "compared with torch and scipy"},
    ),
    "huber": Case(
        predicted,
        ("predictions",),
        settings=({}, {"delta": 0.2}),
        lacks={"golden": "compared with torch"},
    ),
    "mse": Case(
        predicted, ("predictions",), lacks={"golden": "no code but torch's own to take it from"}
    ),
    "quantile": Case(quantiles, ("quantiles",), settings=({}, {"levels": [0.9, 0.2, 0.6]})),
}


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


def test_huber_by_hand() -> None:
    # delta 2: an error of 1 is near, 1/2; one of -5 is far, 2 (5 - 1) = 8; one of 2 is at the
    # corner, where both are 2
    value = huber(torch.tensor([1.0, -4.0, 3.0]), torch.tensor([0.0, 1.0, 1.0]), delta=2.0)
    assert value.tolist() == [0.5, 8.0, 2.0]


@pytest.mark.parametrize(
    ("error", "gradient"), [(0.5, 0.5), (-0.5, -0.5), (9.0, 2.0), (-9.0, -2.0)]
)
def test_huber_gradient_is_the_error_cut_to_delta(error: float, gradient: float) -> None:
    predicted = torch.tensor([error], requires_grad=True)
    huber(predicted, torch.zeros(1), delta=2.0).backward()
    assert predicted.grad.item() == pytest.approx(gradient)


def test_huber_limits_are_the_squared_and_the_absolute_error() -> None:
    predictions, targets = torch.randn(2, 9, dtype=torch.float64)
    wide, narrow = (huber(predictions, targets, delta=delta) for delta in (1e6, 1e-9))
    torch.testing.assert_close(wide, mse(predictions, targets) / 2)
    torch.testing.assert_close(narrow / 1e-9, (predictions - targets).abs())


def test_huber_is_invariant_to_shift_and_sign_of_both() -> None:
    predictions, targets = torch.randn(2, 9, dtype=torch.float64)
    value = huber(predictions, targets, delta=0.7)
    torch.testing.assert_close(huber(predictions + 3, targets + 3, delta=0.7), value)
    torch.testing.assert_close(huber(-predictions, -targets, delta=0.7), value)


@pytest.mark.parametrize("delta", [0.1, 1.0, 3.0])
def test_huber_agrees_with_torch(delta: float) -> None:
    predictions, targets = torch.randn(2, 50, dtype=torch.float64)
    expected = F.huber_loss(predictions, targets, reduction="none", delta=delta)
    torch.testing.assert_close(huber(predictions, targets, delta=delta), expected)


def normals() -> list[Tensor]:
    """Means, targets and logarithms of variances."""
    return list(torch.randn(3, 9, dtype=torch.float64))


def test_gaussian_nll_by_hand() -> None:
    # error 2, variance 4: (log 4 + 4 / 4 + log 2 pi) / 2; error 0, variance 1: log(2 pi) / 2
    log_variances = torch.tensor([math.log(4.0), 0.0])
    value = gaussian_nll(torch.tensor([3.0, 5.0]), torch.tensor([1.0, 5.0]), log_variances)
    expected = [math.log(2) + 0.5 + 0.918939, 0.918939]
    torch.testing.assert_close(value, torch.tensor(expected))


def test_gaussian_nll_at_unit_variance_is_half_the_squared_error_and_a_constant() -> None:
    predictions, targets, _ = normals()
    value = gaussian_nll(predictions, targets, torch.zeros(9, dtype=torch.float64))
    torch.testing.assert_close(value, mse(predictions, targets) / 2 + math.log(2 * math.pi) / 2)


def test_gaussian_nll_changes_with_the_unit_by_its_logarithm() -> None:
    predictions, targets, log_variances = normals()
    value = gaussian_nll(predictions, targets, log_variances)
    scaled = gaussian_nll(5 * predictions, 5 * targets, log_variances + 2 * math.log(5))
    torch.testing.assert_close(scaled, value + math.log(5))
    torch.testing.assert_close(gaussian_nll(predictions - 3, targets - 3, log_variances), value)


def test_gaussian_nll_is_least_at_the_squared_error() -> None:
    predictions, targets, _ = normals()
    best = mse(predictions, targets).log().requires_grad_()
    gaussian_nll(predictions, targets, best).sum().backward()
    torch.testing.assert_close(best.grad, torch.zeros(9, dtype=torch.float64))


def test_gaussian_nll_agrees_with_torch_and_scipy() -> None:
    predictions, targets, log_variances = normals()
    value = gaussian_nll(predictions, targets, log_variances)
    variances = log_variances.exp()
    torchs = F.gaussian_nll_loss(predictions, targets, variances, full=True, reduction="none")
    torch.testing.assert_close(value, torchs)
    scipys = norm(predictions.numpy(), variances.sqrt().numpy()).logpdf(targets.numpy())
    torch.testing.assert_close(value, -torch.from_numpy(scipys))


@pytest.mark.parametrize("sign", [1, -1])
def test_gaussian_nll_cuts_the_variance(sign: int) -> None:
    log_variances = torch.tensor([sign * 20.0, sign * 500.0])
    value = gaussian_nll(torch.ones(2), torch.zeros(2), log_variances)
    assert value[0] == value[1]
    assert value.isfinite().all()


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
