import json
from functools import partial

import pytest
import torch
from cases import GOLDEN, Case, attributed, composed
from torch import Tensor

from objectives.classification import cross_entropy
from objectives.fairness import ccdcov, dcov, jdcov
from objectives.objective import bind, check

CASES = {
    "ccdcov": Case(attributed, ("logits",), lacks={"golden": "its golden case has no gradient"}),
    "ccdcov_fair_reg": Case(
        attributed,
        ("logits",),
        lacks={
            "golden": "its terms have theirs",
            "stackable": "its terms are bound before it",
            "defaults": "it has no terms of its own",
        },
    ),
    "dcov": Case(attributed, ("logits",), lacks={"golden": "that of ccdcov, by one attribute"}),
    "jdcov": Case(attributed, ("logits",), lacks={"golden": "that of ccdcov, by one attribute"}),
}

COLUMNS = (1, 2)
each = pytest.mark.parametrize(
    "penalty",
    [ccdcov, partial(dcov, attribute_columns=COLUMNS), partial(jdcov, attribute_columns=COLUMNS)],
    ids=["ccdcov", "dcov", "jdcov"],
)


def example(batch: int = 8) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, dtype=torch.float64), torch.randn(batch, 3, dtype=torch.float64)


def test_golden() -> None:
    golden = json.loads((GOLDEN / "ccdcov_fair_reg.json").read_text())
    predictions, attributes = (
        torch.tensor(golden["inputs"][name], dtype=torch.float64)
        for name in ("predictions", "attributes")
    )
    assert ccdcov(predictions, attributes).item() == pytest.approx(golden["output"], rel=1e-12)


def test_by_hand() -> None:
    # distances 0 and 1 between two rows: off-diagonal 1 - 1/2 - 1/2 + 1/2, on it 0 - 1/2: +-1/2;
    # predictions 3 apart: +-3/2; mean product 3/4; by two such attributes twice that
    predictions, attributes = torch.tensor([0.0, 3.0]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert dcov(predictions, attributes, attribute_columns=(1, 1)).item() == 1.5
    # as one vector sqrt(2) apart
    assert ccdcov(predictions, attributes).item() == pytest.approx(0.75 * 2**0.5)
    # 3/4 by each, and for the three together products of equal signs, - and +: they cancel
    assert jdcov(predictions, attributes, attribute_columns=(1, 1)).item() == pytest.approx(1.5)


def test_of_one_attribute_all_are_the_same() -> None:
    predictions, attributes = example()
    one = ccdcov(predictions, attributes)
    torch.testing.assert_close(dcov(predictions, attributes, attribute_columns=(3,)), one)
    torch.testing.assert_close(jdcov(predictions, attributes, attribute_columns=(3,)), one)


def test_jdcov_is_the_mean_of_the_joint_product() -> None:
    predictions, attributes = example()
    blocks = [predictions[:, None], attributes[:, :1], attributes[:, 1:]]

    def centred(points: Tensor) -> Tensor:
        distances = torch.cdist(points, points)
        projector = torch.eye(8, dtype=torch.float64) - 1 / 8
        return projector @ distances @ projector

    joint, without = (
        torch.stack([1 - centred(block) for block in kept]).prod(dim=0).mean() - 1
        for kept in (blocks, blocks[1:])
    )
    found = jdcov(predictions, attributes, attribute_columns=COLUMNS)
    torch.testing.assert_close(found, joint - without)


def test_only_joint_measures_see_gerrymandering() -> None:
    a, b = torch.tensor([0.0, 0.0, 1.0, 1.0]).double(), torch.tensor([0.0, 1.0, 0.0, 1.0]).double()
    predictions, attributes = (a != b).double(), torch.stack([a, b], dim=1)
    assert dcov(predictions, attributes, attribute_columns=(1, 1)).item() == pytest.approx(0)
    assert ccdcov(predictions, attributes).item() > 0.01
    assert jdcov(predictions, attributes, attribute_columns=(1, 1)).item() > 0.01


@each
def test_unchanged_by_a_shift_and_in_units_of_the_prediction(penalty: partial) -> None:  # type: ignore[type-arg]
    predictions, attributes = example()
    value = penalty(predictions, attributes)
    torch.testing.assert_close(penalty(-3 * predictions + 7, attributes), 3 * value)
    torch.testing.assert_close(penalty(predictions, attributes + 5), value)


@each
def test_nothing_varies(penalty: partial) -> None:  # type: ignore[type-arg]
    predictions, attributes = example()
    predictions.requires_grad_()
    constant = torch.ones_like(attributes)
    for part, those in ((8, constant), (1, attributes[:1]), (1, constant[:1])):
        value = penalty(predictions[:part], those)
        (gradient,) = torch.autograd.grad(value, predictions)
        assert value.item() == pytest.approx(0, abs=1e-15)
        assert gradient.isfinite().all()
    assert penalty(torch.ones(8).double(), attributes).item() == pytest.approx(0, abs=1e-15)


def test_independent_predictions_cost_little() -> None:
    attributes, noise = torch.randn(600, 2).double(), torch.randn(600).double()
    dependent = ccdcov(attributes[:, 0] ** 2, attributes)  # though uncorrelated
    assert ccdcov(noise, attributes) < 0.2 * dependent


def test_the_penalty_is_added_to_any_loss() -> None:
    record = attributed()
    facts = {"attribute_columns": COLUMNS}
    objective = bind(check(composed("ccdcov_fair_reg", "lambda_fair=3")), facts)
    values, metrics = objective(record)
    penalty = ccdcov(record.predictions, record.attributes)
    expected = cross_entropy(record.logits, record.labels) + 3 * penalty
    torch.testing.assert_close(values, expected)
    torch.testing.assert_close(metrics["dependence_loss"], penalty)
    other = composed("ccdcov_fair_reg", "objective@terms.dependence=jdcov", "lambda_fair=3")
    joint = bind(check(other), facts)(record)[1]["dependence_loss"]
    expected = jdcov(record.predictions, record.attributes, attribute_columns=COLUMNS)
    torch.testing.assert_close(joint, expected)
