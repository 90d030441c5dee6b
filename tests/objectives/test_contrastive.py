import json
import math

import pytest
import torch
from cases import GOLDEN, Case, bound, leaves, views
from pytorch_metric_learning.losses import NTXentLoss
from torch import Tensor

from objectives import contrastive, pairs
from objectives.contrastive import ISogCLR, info_nce
from objectives.errors import InputError

VIEWS = ("embeddings_1", "embeddings_2")
CASES = {
    "info_nce": Case(views, VIEWS, settings=({}, {"tau": 0.7})),
    "isogclr": Case(
        views,
        VIEWS,
        settings=({}, {"tau": 0.5, "gamma": 1.0}),
        lacks={
            "stackable": "it remembers a temperature per example, updated in place",
            "golden": "its golden has three steps, of which each is tested here",
        },
    ),
}


def random_views(pairs: int = 6, dim: int = 4) -> tuple[Tensor, Tensor]:
    first, second = torch.randn(2, pairs, dim, dtype=torch.float64)
    return first.clone(), second.clone()


def test_by_hand() -> None:
    # both views of two examples are the axes: each anchor has its positive at similarity 1 and
    # two negatives at 0, so -log(e^(1/tau) / (e^(1/tau) + 2)) with e^(1/tau) = e^2
    axes = torch.eye(2)
    values, metrics = info_nce(axes, axes, tau=0.5)
    torch.testing.assert_close(values, torch.full((4,), math.log(1 + 2 / math.exp(2))))
    assert metrics["positive_similarity"].item() == pytest.approx(1)
    assert metrics["negative_similarity"].item() == pytest.approx(0)
    assert metrics["contrastive_accuracy"].item() == 1


def test_metrics_by_hand() -> None:
    # rows (1, 0), (1, 0) against (0, 1), (1, 0): the first pair's similarity is 0, the second's 1
    first, second = torch.tensor([[1.0, 0], [1, 0]]), torch.tensor([[0.0, 1], [1, 0]])
    _, metrics = info_nce(first, second)
    assert metrics["positive_similarity"].item() == pytest.approx(0.5)
    # negatives of anchor 1: 1 and 1; of its other view: 0 and 0; of 2: 1 and 0; of its other: 1, 0
    assert metrics["negative_similarity"].item() == pytest.approx(4 / 8)


def test_nearest_positives_are_counted() -> None:
    # the views of the first two examples are swapped: only the third finds its positive
    first = torch.eye(3)
    _, metrics = info_nce(first, first[[1, 0, 2]])
    assert metrics["contrastive_accuracy"].item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("pairs", [1, 2, 8])
def test_equal_embeddings_give_log_of_all_others(pairs: int) -> None:
    same = torch.ones(pairs, 3)
    values, _ = info_nce(same, same)
    torch.testing.assert_close(values, torch.full((2 * pairs,), math.log(2 * pairs - 1)))


def test_small_tau_is_a_hinge_on_the_hardest_negative() -> None:
    first, second = random_views()
    tau = 1e-5
    anchors = torch.nn.functional.normalize(torch.cat([first, second]), dim=-1)
    similarity = anchors @ anchors.T
    for number, value in enumerate(tau * info_nce(first, second, tau=tau)[0]):
        other = (number + 6) % 12
        negatives = [similarity[number, k] for k in range(12) if k not in {number, other}]
        hinge = torch.relu(max(negatives) - similarity[number, other])
        torch.testing.assert_close(value, hinge, rtol=0, atol=1e-4)


def test_swapped_views_swap_the_anchors() -> None:
    first, second = random_views()
    values, swapped = info_nce(first, second)[0], info_nce(second, first)[0]
    torch.testing.assert_close(swapped, values.roll(6))


def test_invariant_to_length_and_rotation() -> None:
    first, second = random_views()
    values = info_nce(first, second)[0]
    rotation, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))
    stretched = info_nce(first * torch.rand(6, 1).add(0.5), 100 * second)[0]
    torch.testing.assert_close(stretched, values)
    torch.testing.assert_close(info_nce(first @ rotation, second @ rotation)[0], values)


@pytest.mark.parametrize("tau", [0.07, 0.5, 2.0])
def test_agrees_with_pytorch_metric_learning(tau: float) -> None:
    pairs = [view.requires_grad_() for view in random_views()]
    ours = info_nce(*pairs, tau=tau)[0].mean()
    theirs = NTXentLoss(temperature=tau)(torch.cat(pairs), torch.arange(6).repeat(2))
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, pairs), torch.autograd.grad(theirs, pairs))


def test_hard_negative_share_by_hand() -> None:
    # anchor (1, 0) of both views against negatives at similarity 0.6, twice: half on the nearest
    first = torch.tensor([[1.0, 0], [0.6, 0.8]])
    assert info_nce(first, first)[1]["hard_negative_share"].item() == pytest.approx(0.5)
    # against 1 and 0 at tau = 1: e / (e + 1) for two; the others see 0 and 0
    first, second = torch.tensor([[1.0, 0], [1, 0]]), torch.tensor([[0.0, 1], [1, 0]])
    share = math.e / (math.e + 1)
    _, metrics = info_nce(first, second, tau=1.0)
    assert metrics["hard_negative_share"].item() == pytest.approx((2 * share + 2 * 0.5) / 4)


def test_hard_negative_share_grows_as_tau_falls() -> None:
    pairs = random_views()
    shares = [
        info_nce(*pairs, tau=tau)[1]["hard_negative_share"].item() for tau in (1e6, 1.0, 1e-4)
    ]
    assert shares[0] == pytest.approx(1 / 10, rel=1e-4)
    assert shares[0] < shares[1] < shares[2]
    assert shares[2] == pytest.approx(1)


def robust_loss(first: Tensor, second: Tensor, tau: float) -> Tensor:
    """sum over views of tau * log mean_j exp(s_ij / tau) - s_ip, as it is written."""
    anchors = torch.nn.functional.normalize(torch.cat([first, second]), dim=-1)
    count, similarity = len(first), anchors @ anchors.T
    negative = ~torch.eye(count, dtype=torch.bool).repeat(2, 2)
    means = (similarity / tau).exp().mul(negative).sum(dim=1) / (2 * count - 2)
    values = tau * means.log() - similarity.diagonal(offset=count).repeat(2)
    return values.view(2, -1).sum(dim=0)


def learner(**setting: float) -> ISogCLR:
    return ISogCLR(num_examples=6, **setting).double()


def test_isogclr_descends_the_robust_loss() -> None:
    first, second = (view.requires_grad_() for view in random_views())
    values, metrics = learner(tau=0.3, rho=0.0)(first, second, torch.arange(6))
    expected = robust_loss(first, second, 0.3)
    assert 2 * metrics["robust_loss"].item() == pytest.approx(expected.mean().item(), rel=1e-6)
    ours, theirs = (torch.autograd.grad(v.mean(), (first, second)) for v in (values, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_isogclr_at_a_small_and_a_large_rho() -> None:
    # rho bounds the divergence of the weights: a large one asks for a small temperature
    both, index = random_views(), torch.arange(6)
    small, large = learner(rho=0.0, tau=0.3), learner(rho=2.0, tau=0.3)
    for objective in (small, large):
        for _ in range(200):
            objective(*both, index)
    assert (small.temperatures == 0.7).all()
    assert (large.temperatures < 0.3).all()


def test_isogclr_temperature_is_where_the_divergence_is_rho() -> None:
    first, _ = random_views(pairs=6, dim=8)
    objective = learner(rho=0.2, tau=0.3, eta=0.02, tau_max=5.0)
    for _ in range(500):
        objective(first, first, torch.arange(6))
    anchors = torch.nn.functional.normalize(first, dim=-1)
    others = (anchors @ anchors.T)[0, 1:].repeat(2)
    p = (others / objective.temperatures[0]).softmax(dim=0)
    divergence = (p * (p * 10).log()).sum().item()
    assert divergence == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize("step", [0, 1, 2])
def test_isogclr_golden(step: int) -> None:
    golden = json.loads((GOLDEN / "isogclr.json").read_text())
    objective = learner(**golden["hyper"], relative=False)
    objective.temperatures[:] = golden["hyper"]["tau"]  # to all its digits
    after = golden["output"]
    if step:
        objective.temperatures[:] = torch.tensor(after["tau_after"][step - 1])
        objective.momenta[:] = torch.tensor(after["u_after"][step - 1])
    if step == 2:  # as if all were new before
        objective.log_means[:] = torch.tensor(after["s_after"][step - 1]).double().log()
    index = torch.tensor(golden["inputs"]["index"][step])
    views = [torch.tensor(golden["inputs"][name][step]).double().requires_grad_() for name in VIEWS]
    loss = objective(*views, index)[0].mean()
    assert loss.item() == pytest.approx(after["loss"][step], rel=1e-6)
    gradients = torch.autograd.grad(loss, views)
    for name, gradient in zip(VIEWS, gradients, strict=True):
        expected = torch.tensor(golden["grad"][name][step]).double()
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-7)
    seen = {
        "tau_after": objective.temperatures,
        "s_after": objective.log_means.exp(),
        "u_after": objective.momenta,
    }
    for name, ours in seen.items():
        expected = torch.tensor(after[name][step]).double()
        torch.testing.assert_close(ours[index], expected[index], rtol=1e-5, atol=1e-7, msg=name)


def test_isogclr_is_that_of_its_authors_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contrastive, "LARGEST_STEP", math.inf)  # which it does not have
    golden = json.loads((GOLDEN / "isogclr_libauc.json").read_text())
    objective, after = learner(**golden["hyper"], relative=False), golden["output"]
    objective.temperatures[:] = golden["hyper"]["tau"]  # to all its digits
    for step in range(3):
        if step == 1:  # where it begins an average that is new by now from 0
            objective.log_means[4] = -1e30
        index = torch.tensor(golden["inputs"]["index"][step])
        views = [torch.tensor(golden["inputs"][n][step]).double().requires_grad_() for n in VIEWS]
        loss = objective(*views, index)[0].mean()
        assert loss.item() == pytest.approx(after["loss"][step], rel=1e-6)
        for name, gradient in zip(VIEWS, torch.autograd.grad(loss, views), strict=True):
            expected = torch.tensor(golden["grad"][name][step]).double()
            torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-7)
        for name, ours in (("tau", objective.temperatures), ("s", objective.log_means.exp())):
            expected = torch.tensor(after[f"{name}_after"][step]).double()
            torch.testing.assert_close(ours[index], expected[index], rtol=1e-6, atol=0, msg=name)


def test_isogclr_remembers_by_example_and_in_training_alone() -> None:
    pairs, objective = random_views(pairs=2), learner()
    objective(*pairs, torch.tensor([4, 1]))
    assert (objective.temperatures != learner().temperatures).nonzero().flatten().tolist() == [1, 4]
    before = {name: buffer.clone() for name, buffer in objective.named_buffers()}
    objective.eval()(*random_views(pairs=2), torch.tensor([4, 1]))
    assert all(torch.equal(before[name], b) for name, b in objective.named_buffers())


def test_isogclr_takes_an_example_twice_by_its_mean() -> None:
    first, second = random_views(pairs=4)
    index = torch.tensor([0, 2, 2, 5])
    twice, apart = learner(), learner()
    twice(first, second, index)
    apart(first, second, torch.tensor([0, 2, 3, 5]))
    expected = apart.temperatures[[2, 3]].mean()
    torch.testing.assert_close(twice.temperatures[2], expected)
    torch.testing.assert_close(twice.log_means[2], apart.log_means[[2, 3]].mean())


def test_isogclr_of_a_single_example_teaches_nothing() -> None:
    first, second = random_views(pairs=1)
    objective = learner(tau=0.3, rho=0.5)
    values, metrics = objective(first.requires_grad_(), second, torch.tensor([3]))
    assert values.item() == 0
    assert torch.autograd.grad(values.sum(), first)[0].eq(0).all()
    assert metrics["robust_loss"].item() == pytest.approx(0.3 * 0.5, rel=1e-6)
    assert torch.equal(objective.log_means, learner().log_means)


@pytest.mark.parametrize("relative", [True, False])
def test_isogclr_without_memory_does_not_care_where_the_positive_is(relative: bool) -> None:
    views, index = [view.requires_grad_() for view in random_views()], torch.arange(6)
    objective, other = (learner(gamma=1.0, tau=0.3, relative=r) for r in (relative, True))
    for _ in range(3):
        ours, theirs = (o(*views, index) for o in (objective, other))
    torch.testing.assert_close(objective.temperatures, other.temperatures)
    torch.testing.assert_close(ours[1], theirs[1])
    ours, theirs = (torch.autograd.grad(v.mean(), views) for v, _ in (ours, theirs))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("relative", "least", "largest"), [(True, 0.3, 0.5), (False, 0.05, 0.06)])
def test_isogclr_in_batches_without_near_neighbours(
    relative: bool, least: float, largest: float
) -> None:
    """Learned from all at once the temperatures are some 0.55; from four at once less."""
    centres = torch.randn(4, 8, dtype=torch.float64)
    examples = centres.repeat_interleave(6, dim=0) + 0.3 * torch.randn(24, 8, dtype=torch.float64)
    objective = ISogCLR(num_examples=24, relative=relative).double()
    for _ in range(200):
        index = torch.randperm(24)[:4]
        objective(examples[index], examples[index], index)
    assert least <= objective.temperatures.median().item() <= largest


@pytest.mark.parametrize("name", ["info_nce", "isogclr"])
def test_blocks_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record = leaves(views(), VIEWS)

    def passes() -> tuple[Tensor, dict[str, Tensor], tuple[Tensor, ...]]:
        objective = bound(name, {}).double()
        for _ in range(2):
            values, metrics = objective(record)
        gradient = torch.autograd.grad(values.mean(), [getattr(record, n) for n in VIEWS])
        return values, metrics, gradient

    whole = passes()
    monkeypatch.setattr(pairs, "BLOCK", 5 * 12)  # five rows at once
    torch.testing.assert_close(passes(), whole, rtol=1e-10, atol=1e-12)


def test_blocks_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backward pass makes the similarities as the forward pass did."""

    inputs = [view.float().requires_grad_() for view in random_views()]

    def passes() -> tuple[Tensor, ...]:
        with torch.autocast("cpu", torch.bfloat16):
            values, _ = info_nce(*inputs)
        return values, *torch.autograd.grad(values.mean(), inputs)

    whole = passes()
    monkeypatch.setattr(pairs, "BLOCK", 5 * 12)
    for ours, theirs in zip(passes(), whole, strict=True):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=0.02, atol=1e-3)


def test_blocks_refuse_what_would_lose_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "BLOCK", 5 * 12)
    with pytest.raises(InputError, match="of 12 embeddings at once no setting can be learned"):
        info_nce(*random_views(), tau=torch.tensor(0.1, requires_grad=True))


def test_second_derivative_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "BLOCK", 5 * 12)
    inputs = [view.requires_grad_() for view in random_views()]
    assert torch.autograd.gradgradcheck(lambda a, b: info_nce(a, b)[0], inputs, fast_mode=True)


@pytest.mark.parametrize("name", ["info_nce", "isogclr"])
def test_zero_vectors_are_finite(name: str) -> None:
    first, second = torch.randn(2, 6, 4)
    first[:2], second[1:3] = 0, 0
    views = first.requires_grad_(), second.requires_grad_()
    values, metrics = bound(name, {}).of_tensors(
        embeddings_1=views[0], embeddings_2=views[1], index=torch.arange(6)
    )
    assert values.isfinite().all()
    assert all(metric.isfinite() for metric in metrics.values())
    for gradient in torch.autograd.grad(values.mean(), views):
        assert gradient.abs().max() < 1e3
