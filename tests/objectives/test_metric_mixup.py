import json

import pytest
import torch
from cases import GOLDEN, Case, mixed
from torch import Tensor

from objectives import pairs
from objectives.metric import contrastive_pair, ms_loss
from objectives.metric_mixup import metrix, metrix_contrastive

LEARNED = ("embeddings", "mixed_embeddings")
CASES = {
    "metrix": Case(
        mixed,
        LEARNED,
        settings=({}, {"beta": 5.0, "weight": 2.0}),
        lacks={"golden": "its golden file is that of metrix_contrastive"},
    ),
    "metrix_contrastive": Case(
        mixed,
        LEARNED,
        settings=({}, {"neg_margin": 1.1}),
        lacks={"golden": "its mixtures are made from its embeddings, which is done here"},
    ),
}


def at(degrees: list[float]) -> Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def batch(share: float, degrees: float) -> tuple[Tensor, ...]:
    """Examples of class 0 at 0 and 60 degrees, of class 1 at 180, and a mixture of 1 and 2."""
    plain = at([0, 60, 180]), torch.tensor([0, 0, 1]), torch.arange(3)
    mixture = at([degrees]), torch.tensor([[0, 1]]), torch.tensor([[1, 2]])
    return *plain, *mixture, torch.tensor([share]).double()


def test_metrix_by_hand() -> None:
    # the mixture, at a right angle to example 0, counts for that alone, which was not mixed:
    # log(1 + 0.7 e^(-2 (0 - 0.5))) / 2 + log(1 + 0.3 e^(4 (0 - 0.5))) / 4
    e = torch.tensor([1.0, -2.0], dtype=torch.float64).exp()
    expected = (1 + 0.7 * e[0]).log() / 2 + (1 + 0.3 * e[1]).log() / 4
    values, metrics = metrix(*batch(0.7, 90), beta=4.0, weight=10.0)
    clean, _ = ms_loss(*batch(0.7, 90)[:2], beta=4.0)
    torch.testing.assert_close(values - clean, torch.stack([10 * expected, *torch.zeros(2)]))
    torch.testing.assert_close(metrics["mixtures_loss"], expected / 3)


def test_metrix_contrastive_by_hand() -> None:
    # at 60 degrees the mixture has distance 1 from example 0: 0.7 * 1 + 0.3 * (1.5 - 1)
    values, metrics = metrix_contrastive(*batch(0.7, 60), neg_margin=1.5)
    assert metrics["mixtures_loss"].item() == pytest.approx(0.7 + 0.15)
    clean = contrastive_pair(*batch(0.7, 60)[:2], neg_margin=1.5)
    assert (values - clean).mean().item() == pytest.approx(0.4 * 0.85)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_mixture_of_one_alone_is_that_one(share: float) -> None:
    # all of share 1: of class 0, a positive of example 0; of share 0: of class 1, for nobody, since
    # its only anchor was mixed
    _, metrics = metrix(*batch(share, 90), alpha=2.0, lam=0.5)
    expected = torch.log1p(torch.tensor(1.0, dtype=torch.float64).exp()) / 2 / 3
    torch.testing.assert_close(metrics["mixtures_loss"], share * expected)


def test_without_weight_it_is_the_loss_that_is_mixed() -> None:
    record = vars(mixed())
    clean = record["embeddings"], record["labels"]
    assert torch.equal(metrix(**record, weight=0.0)[0], ms_loss(*clean)[0])
    contrastive = metrix_contrastive(**record, weight=0.0)[0]
    assert torch.equal(contrastive, contrastive_pair(*clean, neg_margin=0.5))


def test_order_of_a_mixture_does_not_matter() -> None:
    record = vars(mixed())
    turned = {name: record[name].flip(1) for name in ("mixed_labels", "mixed_index")}
    turned["mixed_shares"] = 1 - record["mixed_shares"]
    for loss in (metrix, metrix_contrastive):
        torch.testing.assert_close(loss(**record | turned)[0], loss(**record)[0])


def test_contrastive_golden() -> None:
    golden = json.loads((GOLDEN / "metrix_contrastive.json").read_text())
    embeddings = torch.tensor(golden["inputs"]["embeddings"], dtype=torch.float64)
    labels = torch.tensor(golden["inputs"]["labels"])
    embeddings.requires_grad_()
    sources = (labels[:, None] != labels).nonzero()
    values, _ = metrix_contrastive(
        embeddings,
        labels,
        torch.arange(8),
        embeddings[sources].mean(dim=1),
        labels[sources],
        sources,
        torch.full((len(sources),), 0.5, dtype=torch.float64),
        **golden["hyper"],
    )
    loss = values.mean()
    assert loss.item() == pytest.approx(golden["output"], rel=1e-12)
    (gradient,) = torch.autograd.grad(loss, embeddings)
    expected = torch.tensor(golden["grad"]["embeddings"], dtype=torch.float64)
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-14)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    record = vars(mixed())
    inputs = [record[n].requires_grad_() for n in ("embeddings", "mixed_embeddings")]

    def passes() -> list[tuple[Tensor, ...]]:
        values = [loss(**record)[0] for loss in (metrix, metrix_contrastive)]
        return [(v, *torch.autograd.grad(v.mean(), inputs)) for v in values]

    whole = passes()
    monkeypatch.setattr(pairs, "BLOCK", 24)  # three rows at once
    torch.testing.assert_close(passes(), whole, rtol=1e-10, atol=1e-12)


def test_no_mixture_for_anyone_is_worth_nothing() -> None:
    # an example mixed with the only other one of the batch
    record = batch(0.5, 90)
    two = [column[1:] for column in record[:3]] + list(record[3:])
    for loss in (metrix, metrix_contrastive):
        assert loss(*two)[1]["mixtures_loss"].item() == 0
