import json
import math
from functools import partial

import pytest
import torch
from cases import FACTS, GOLDEN, Case, labelled
from torch.nn import functional as F

from objectives.classification import cross_entropy
from objectives.confusion import anyloss
from objectives.errors import InputError
from objectives.objective import Objective, bind, check
from objectives.reweighting import (
    DynamicLossReweighting,
    Strategy,
    extremes,
    linear_upper,
    quadratic,
    upper,
    weights_of,
)

CASES = {
    "dynamic_loss_reweighting": Case(
        labelled,
        ("logits",),
        settings=(
            {"strategy": partial(linear_upper)},
            {"strategy": partial(quadratic), "r": 1.0},
            {"strategy": partial(extremes)},
        ),
        lacks={
            "golden": "its golden cases are of given losses",
            "stackable": "its term is bound before it",
            "defaults": "it has no term of its own",
            "state": "a warm-up that is over, as here, changes no value",
        },
        on_task={
            task: (f"objective@term={term}",)
            for task, term in {
                "cartpole": "reinforce",
                "diabetes": "mse",
                "friedman": "huber",
                "gym": "reinforce",
                "linear": "mse",
                "pairs": "dpo",
            }.items()
        },
    ),
}

STRATEGIES: dict[str, Strategy] = {
    "linupper": linear_upper,
    "upper": upper,
    "mid": quadratic,
    "extremes": extremes,
}


def reweighted(**setting: object) -> Objective:
    return bind(check(partial(DynamicLossReweighting, **setting)), FACTS)


@pytest.mark.parametrize("name", ["", "_equal_length"])
def test_golden(name: str) -> None:
    file = GOLDEN / f"dynamic_loss_reweighting{name}.json"
    golden = json.loads(file.read_text())
    losses = torch.tensor(golden["inputs"]["losses"], dtype=torch.float64, requires_grad=True)
    tokens = torch.tensor(golden["inputs"]["token_counts"], dtype=torch.float64)
    strategy, r = STRATEGIES[golden["hyper"]["strategy"]], golden["hyper"]["r"]
    value = (weights_of(losses.detach(), strategy, r) * tokens / tokens.sum() * losses).sum()
    value.backward()
    assert value.item() == pytest.approx(golden["output"], rel=1e-9)
    expected = torch.tensor(golden["grad"]["losses"], dtype=torch.float64)
    torch.testing.assert_close(losses.grad, expected, rtol=1e-9, atol=0)


# losses 0, 1, 2, 4 are h = -1, -1/2, 0, 1
@pytest.mark.parametrize(
    ("strategy", "worth"),
    [
        (linear_upper, [0, 0.5, 1, 1]),
        (upper, [0, 0.25, 0.5, 1]),
        (quadratic, [0, 0.75, 1, 0]),
        (extremes, [1, 0.5, 0, 1]),
    ],
)
def test_by_hand(strategy: Strategy, worth: list[float]) -> None:
    weights = weights_of(torch.tensor([0.0, 1.0, 2.0, 4.0]), strategy, 0.5)
    powers = [math.exp(w / 0.5) for w in worth]
    assert weights.tolist() == pytest.approx([4 * p / sum(powers) for p in powers])


def test_at_large_r_it_is_the_term() -> None:
    record = labelled()
    values, _ = reweighted(term=partial(cross_entropy), r=1e12)(record)
    expected = F.cross_entropy(record.logits, record.labels, reduction="none")
    torch.testing.assert_close(values, expected)


def test_weights_only_see_the_losses_up_to_scale_and_shift() -> None:
    losses = torch.rand(9).double()
    for strategy in STRATEGIES.values():
        weights = weights_of(losses, strategy, 0.3)
        torch.testing.assert_close(weights_of(5 * losses - 2, strategy, 0.3), weights)
        assert weights.mean().item() == pytest.approx(1)


@pytest.mark.parametrize("losses", [[3.0, 3.0, 3.0], [7.0], [0.0, 0.0]])
def test_equal_losses_weigh_alike(losses: list[float]) -> None:
    for strategy in STRATEGIES.values():
        torch.testing.assert_close(
            weights_of(torch.tensor(losses), strategy, 0.1), torch.ones(len(losses))
        )


def test_weights_have_no_gradient() -> None:
    record = labelled()
    record.logits.requires_grad_()
    values, metrics = reweighted(term=partial(cross_entropy), r=0.3)(record)
    values.sum().backward()
    learned = record.logits.grad
    losses = cross_entropy(record.logits, record.labels)
    weights = weights_of(losses.detach(), linear_upper, 0.3)
    (expected,) = torch.autograd.grad((weights * losses).sum(), record.logits)
    torch.testing.assert_close(learned, expected)
    torch.testing.assert_close(metrics["largest_weight"], weights.max())


def test_warm_up_weighs_alike_and_is_remembered() -> None:
    record, setting = labelled(), {"term": partial(cross_entropy), "warmup": 2}
    plain = cross_entropy(record.logits, record.labels)
    objective = reweighted(**setting)
    for _ in range(2):
        torch.testing.assert_close(objective(record)[0], plain)
    assert not torch.allclose(objective(record)[0], plain)
    anew = reweighted(**setting)
    torch.testing.assert_close(anew.eval()(record)[0], plain)  # which counts no step
    anew.load_state_dict(objective.state_dict())
    torch.testing.assert_close(anew(record)[0], objective.eval()(record)[0])


def test_what_has_one_value_for_the_batch_is_refused() -> None:
    with pytest.raises(InputError, match="has one value for the whole batch: there is nothing"):
        reweighted(term=partial(anyloss))(labelled())
