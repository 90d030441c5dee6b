import json
import math

import pytest
import torch
from cases import GOLDEN, Case, labelled
from torch import Tensor
from torch.nn import functional as F

from objectives.noise_robust import ALDR, ldr

CASES = {
    "aldr": Case(
        labelled,
        ("logits",),
        settings=(
            {},
            {"tau": 0.3, "alpha": 1.2, "margin": 2.0},
            {"tau": 0.5, "margin": 2.0, "normalize": True},
        ),
        lacks={
            "golden": "its golden case is a sequence of steps",
            "stackable": "its temperatures are made with its hyperparameters",
        },
    ),
    "ldr": Case(
        labelled,
        ("logits",),
        settings=(
            {},
            {"tau": 0.3, "margin": 2.0},
            {"tau": 0.5, "margin": 2.0, "normalize": True},
        ),
    ),
}


def example(batch: int = 6, classes: int = 4) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, classes, dtype=torch.float64), torch.arange(batch) % classes


def violations(logits: Tensor, labels: Tensor, margin: float) -> Tensor:
    """f_j - f_y + margin * [j != y], element by element."""
    rows = zip(logits.tolist(), labels.tolist(), strict=True)
    return torch.tensor(
        [[f - row[y] + margin * (j != y) for j, f in enumerate(row)] for row, y in rows],
        dtype=logits.dtype,
    )


# f = (log 2, 0, log 4), y = 1: the differences to f_y are (log 2, 0, log 4)
@pytest.mark.parametrize(
    ("tau", "margin", "expected"),
    [
        (1.0, 0.0, math.log((2 + 1 + 4) / 3)),
        (0.5, 0.0, 0.5 * math.log((4 + 1 + 16) / 3)),  # e^(d / 0.5) squares
        (1.0, math.log(2), math.log((4 + 1 + 8) / 3)),  # the margin doubles all but j = y
        (0.5, math.log(2), 0.5 * math.log((16 + 1 + 64) / 3)),
    ],
)
def test_ldr_by_hand(tau: float, margin: float, expected: float) -> None:
    logits = torch.tensor([[math.log(2), 0.0, math.log(4)]])
    value = ldr(logits, torch.tensor([1]), tau=tau, margin=margin)
    assert value.item() == pytest.approx(expected, rel=1e-6)


def test_ldr_normalized_by_hand() -> None:
    # softplus(log(e^s - 1)) = s = (1, 2, 3), by their mean (0.5, 1, 1.5); less that of y = 0 and
    # with margin 2: (0, 2.5, 3); tau = 0.5 doubles: 0.5 log((1 + e^5 + e^6) / 3)
    logits = torch.tensor([[1.0, 2.0, 3.0]]).expm1().log()
    value = ldr(logits, torch.tensor([0]), tau=0.5, margin=2.0, normalize=True)
    assert value.item() == pytest.approx(0.5 * math.log((1 + math.exp(5) + math.exp(6)) / 3))


def test_ldr_at_tau_one_is_cross_entropy_less_log_classes() -> None:
    logits, labels = example()
    expected = F.cross_entropy(logits, labels, reduction="none") - math.log(4)
    torch.testing.assert_close(ldr(logits, labels, tau=1.0), expected)


@pytest.mark.parametrize("margin", [0.0, 1.5])
def test_ldr_at_small_tau_is_crammer_singer(margin: float) -> None:
    logits, labels = example()
    largest = violations(logits, labels, margin).amax(dim=-1)
    value = ldr(logits, labels, tau=1e-6, margin=margin)
    torch.testing.assert_close(value, largest, rtol=0, atol=2e-6)  # tau * log(classes)


def test_ldr_at_large_tau_is_the_mean_violation() -> None:
    logits, labels = example()
    # the margin is never met, so that torch's hinge never cuts
    mean = F.multi_margin_loss(logits, labels, margin=50.0, reduction="none")
    value = ldr(logits, labels, tau=1e9, margin=50.0)
    torch.testing.assert_close(value, mean, rtol=0, atol=1e-5)  # variance / (2 tau)


@pytest.mark.parametrize("tau", [0.2, 1.0, 3.0])
def test_ldr_agrees_with_a_plain_loop(tau: float) -> None:
    logits, labels = example()
    expected = [
        tau * math.log(sum(math.exp(v / tau) for v in row) / len(row))
        for row in violations(logits, labels, margin=0.7).tolist()
    ]
    value = ldr(logits, labels, tau=tau, margin=0.7)
    torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float64))


def test_ldr_is_invariant_to_a_shift_and_to_the_order_of_classes() -> None:
    logits, labels = example()
    value = ldr(logits, labels, tau=0.4, margin=1.0)
    shifted = ldr(logits + torch.randn(6, 1), labels, tau=0.4, margin=1.0)
    order = torch.randperm(4)
    reordered = ldr(logits[:, order], order.argsort()[labels], tau=0.4, margin=1.0)
    torch.testing.assert_close(shifted, value)
    torch.testing.assert_close(reordered, value)


def test_normalized_ldr_only_sees_the_ratios_of_softplus() -> None:
    positive, labels = torch.rand(6, 4, dtype=torch.float64) + 0.1, torch.arange(6) % 4
    values = [
        ldr(scores.expm1().log(), labels, margin=2.0, normalize=True)
        for scores in (positive, 5 * positive)
    ]
    torch.testing.assert_close(*values)


def test_a_grid_of_tau_trains_as_one_program() -> None:
    taus = torch.tensor([0.2, 3.0])
    models = [torch.nn.Linear(5, 4) for _ in taus]
    inputs, labels = torch.randn(8, 5), torch.arange(8) % 4
    parameters, _ = torch.func.stack_module_state(models)

    def loss(weights: dict[str, Tensor], tau: Tensor) -> Tensor:
        logits = torch.func.functional_call(models[0], weights, (inputs,))
        return ldr(logits, labels, tau=tau).mean()

    together = torch.optim.Adam(parameters.values(), lr=0.1)
    for _ in range(3):
        together.zero_grad()
        torch.func.vmap(loss)(parameters, taus).sum().backward()
        together.step()
    for number, (model, tau) in enumerate(zip(models, taus.tolist(), strict=True)):
        alone = torch.optim.Adam(model.parameters(), lr=0.1)
        for _ in range(3):
            alone.zero_grad()
            ldr(model(inputs), labels, tau=tau).mean().backward()
            alone.step()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(parameters[name][number], parameter)


def test_aldr_by_hand() -> None:
    # p = (3/4, 1/4): KL(p || uniform) = log 2 + 3/4 log(3/4) + 1/4 log(1/4);
    # t = 1 - KL / (2 log 2); loss for y = 1: t log((3^(1/t) + 1) / 2) - 2 log 2 / 2 (t - 1)^2
    logits, labels, index = torch.tensor([[math.log(3), 0.0]]), torch.tensor([1]), torch.tensor([2])
    objective = ALDR(tau=1.0, alpha=2.0, num_examples=4)
    value, metrics = objective(logits, labels, index)
    divergence = math.log(2) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    t = 1 - divergence / (2 * math.log(2))
    expected = t * math.log((3 ** (1 / t) + 1) / 2) - math.log(2) * (t - 1) ** 2
    assert value.item() == pytest.approx(expected, rel=1e-6)
    assert metrics["temperature"].item() == pytest.approx(t)
    torch.testing.assert_close(objective.temperatures, torch.tensor([1.0, 1.0, t, 1.0]))


@pytest.mark.parametrize(("margin", "normalize"), [(0.0, False), (1.0, False), (2.0, True)])
def test_aldr_at_large_alpha_is_ldr(margin: float, normalize: bool) -> None:
    logits, labels = example()
    form = {"tau": 0.7, "margin": margin, "normalize": normalize}
    objective = ALDR(alpha=1e12, num_examples=6, **form).double()
    value, _ = objective(logits, labels, torch.arange(6))
    torch.testing.assert_close(value, ldr(logits, labels, **form))


def test_aldr_takes_the_temperature_that_is_best_for_its_p() -> None:
    # at the p of the previous temperature, here tau, nothing beats the new one in
    # -t KL(p || uniform) - alpha log K / (2 tau) (t - tau)^2
    logits, labels = example()
    tau, alpha, margin = 0.8, 1.5, 0.6
    objective = ALDR(tau=tau, alpha=alpha, margin=margin, num_examples=6).double()
    objective(logits, labels, torch.arange(6))
    p = (violations(logits, labels, margin) / tau).softmax(dim=-1)
    divergence = math.log(4) + (p * p.log()).sum(dim=-1)

    def gain(t: Tensor) -> Tensor:
        return -t * divergence - alpha * math.log(4) / (2 * tau) * (t - tau) ** 2

    best = gain(objective.temperatures)
    assert (gain(objective.temperatures + 1e-3) < best).all()
    assert (gain(objective.temperatures - 1e-3) < best).all()


def test_aldr_cools_the_confident_and_keeps_the_uncertain() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1e4, 0.0, 0.0]])
    objective = ALDR(tau=2.0, alpha=1.25, num_examples=3)
    objective(logits, torch.zeros(3, dtype=torch.long), torch.arange(3))
    uncertain, leaning, certain = objective.temperatures.tolist()
    assert uncertain == pytest.approx(2.0)
    assert certain == pytest.approx(2.0 - 2.0 / 1.25)  # KL = log K: tau - tau / alpha
    assert certain < leaning < uncertain


def test_aldr_remembers_by_index_and_only_in_training() -> None:
    logits, labels = example()
    objective = ALDR(num_examples=20).double()
    index = torch.tensor([3, 19, 0, 7, 11, 5])
    objective(logits, labels, index)
    first = objective.temperatures.clone()
    seen = torch.zeros(20, dtype=torch.bool).index_fill(0, index, True)
    assert (first[seen] < 1).all()
    assert (first[~seen] == 1).all()
    objective.eval()(3 * logits, labels, index)
    assert torch.equal(objective.temperatures, first)
    objective.train()(3 * logits, labels, index)
    assert not torch.equal(objective.temperatures, first)


def test_no_gradient_flows_through_aldr_temperatures() -> None:
    logits, labels = example()
    logits.requires_grad_()
    objective = ALDR(margin=0.5, num_examples=6).double()
    objective(logits, labels, torch.arange(6))[0].sum().backward()
    learned = logits.grad
    rows = zip(logits, labels, objective.temperatures.tolist(), strict=True)
    fixed = sum(ldr(row[None], y[None], tau=t, margin=0.5).sum() for row, y, t in rows)
    (expected,) = torch.autograd.grad(fixed, logits)
    torch.testing.assert_close(learned, expected)


def test_aldr_golden() -> None:
    golden = json.loads((GOLDEN / "aldr.json").read_text())
    objective = ALDR(**golden["hyper"]).double()
    inputs, output = golden["inputs"], golden["output"]
    for step, gradient in enumerate(golden["grad"]["logits"]):
        logits = torch.tensor(inputs["logits"][step], dtype=torch.float64, requires_grad=True)
        labels, index = (torch.tensor(inputs[name][step]) for name in ("labels", "index"))
        loss = objective(logits, labels, index)[0].mean()
        loss.backward()
        for ours, theirs in (
            (loss, output["loss"][step]),
            (objective.temperatures, output["temperatures"][step]),
            (logits.grad, gradient),
        ):
            expected = torch.tensor(theirs, dtype=torch.float64)
            torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-14)
