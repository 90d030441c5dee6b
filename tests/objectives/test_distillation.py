import json
import math

import pytest
import torch
from cases import GOLDEN, Case
from torch import Tensor
from torch.nn import functional as F

from objectives.distillation import bd_kd, divergence, kd, pld, sinkd, sinkhorn_distance, softened
from objectives.records import Distilled, Mutual


def distilled() -> Distilled:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 8, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(5, (8,), generator=generator)
    return Distilled(2 * student, 2 * teacher, labels, torch.arange(8))


def mutual() -> Mutual:
    return Mutual(*vars(distilled()).values())


ONE_TEACHER = ("+teacher.seed=0",)
"""A run does not keep its teacher: it is that of another run."""

CASES = {
    "bd_kd": Case(
        mutual,
        ("student_logits", "peer_logits"),
        settings=({}, {"delta": 1.0, "reverse": 0.0}, {"tau": 1.0, "delta": 5.0}),
        lacks={
            "golden": "no code of its authors to take it from; of its divergences see below",
            "stackable": "the temperature of the other's scores has no gradient; see below",
        },
    ),
    "kd": Case(
        distilled,
        ("student_logits",),
        settings=({}, {"alpha": 0.0}, {"tau": 1.0, "alpha": 0.5}),
        on_task={"breast_cancer": ONE_TEACHER},
    ),
    "pld": Case(
        distilled,
        ("student_logits",),
        settings=({}, {"tau": 3.0}),
        lacks={"golden": "no code of its authors to take it from; of its order see below"},
        on_task={"breast_cancer": ONE_TEACHER},
    ),
    "sinkd": Case(
        distilled,
        ("student_logits",),
        settings=({}, {"epsilon": 0.5, "tau": 1.0}),
        lacks={"golden": "its golden case is of the transport alone"},
        on_task={"breast_cancer": ONE_TEACHER},
    ),
}


def example() -> tuple[Tensor, Tensor, Tensor]:
    record = distilled()
    return record.student_logits, record.teacher_logits, record.labels


def test_kd_by_hand() -> None:
    # softmax(log 3, 0) = (3/4, 1/4), softmax(0, 0) = (1/2, 1/2):
    # KL = 3/4 log(3/2) + 1/4 log(1/2); halving the scores at tau = 2 undoes doubling them
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2 * math.log(3), 0.0]])
    kl = 0.75 * math.log(1.5) - 0.25 * math.log(2)
    loss, metrics = kd(student, teacher, torch.tensor([1]), tau=2.0, alpha=0.6)
    assert loss.item() == pytest.approx(0.6 * 4 * kl + 0.4 * math.log(2))
    assert metrics["agreement"].item() == 1


def test_kd_without_its_teacher_is_cross_entropy() -> None:
    student, teacher, labels = example()
    loss, _ = kd(student, teacher, labels, alpha=0.0)
    torch.testing.assert_close(loss, F.cross_entropy(student, labels, reduction="none"))


def test_kd_at_a_high_temperature_compares_centred_scores() -> None:
    student, teacher, labels = example()
    loss, _ = kd(student, teacher, labels, tau=1e4, alpha=1.0)
    gap = student - student.mean(-1, keepdim=True) - (teacher - teacher.mean(-1, keepdim=True))
    torch.testing.assert_close(loss, gap.square().sum(-1) / (2 * 5), rtol=1e-3, atol=1e-3)


def test_divergence_is_torchs() -> None:
    student, teacher, _ = example()
    wanted = F.kl_div(
        student.log_softmax(-1), teacher.log_softmax(-1), reduction="none", log_target=True
    )
    torch.testing.assert_close(
        divergence(softened(teacher, 1.0), softened(student, 1.0)), wanted.sum(-1)
    )


def test_a_shift_of_all_scores_changes_nothing() -> None:
    student, teacher, labels = example()
    torch.testing.assert_close(
        kd(student + 7, teacher - 3, labels)[0], kd(student, teacher, labels)[0]
    )


def test_sinkd_transports_as_the_official_code() -> None:
    golden = json.loads((GOLDEN / "sinkd.json").read_text())
    student, teacher = (
        torch.tensor(golden["inputs"][name], dtype=torch.float64, requires_grad=True)
        for name in ("student_logits", "teacher_logits")
    )
    distance = sinkhorn_distance((student / 2).softmax(-1), (teacher / 2).softmax(-1), 0.1, 20)
    value = 0.001 * distance.sum()
    assert value.item() == pytest.approx(golden["output"], rel=1e-12)
    value.backward()
    wanted = torch.tensor(golden["grad"]["student_logits"], dtype=torch.float64)
    torch.testing.assert_close(student.grad, wanted, rtol=1e-9, atol=1e-14)


def test_sinkd_by_hand() -> None:
    # one example: the plan is 1, the distance |0.75 - 0.5| + |0.25 - 0.5| = 0.5
    points, others = torch.tensor([[0.75, 0.25]]), torch.tensor([[0.5, 0.5]])
    assert sinkhorn_distance(points, others, 0.1, 20).item() == pytest.approx(0.5)


def test_sinkd_without_transport_is_kd() -> None:
    student, teacher, labels = example()
    loss, _ = sinkd(student, teacher, labels, beta=0.0)
    torch.testing.assert_close(loss, kd(student, teacher, labels, tau=2.0, alpha=0.1)[0])


def test_sinkhorn_distance_to_itself_in_another_order_is_small() -> None:
    # with little entropy the plan is the permutation, which costs nothing
    points = torch.eye(4, dtype=torch.float64)
    distance = sinkhorn_distance(points, points[[2, 0, 3, 1]], 0.05, 50)
    torch.testing.assert_close(distance, torch.zeros(4, dtype=torch.float64), atol=1e-9, rtol=0)


def test_pld_by_hand() -> None:
    # the teacher's order is 1, 0, 2; the label 2 comes first. Equal scores: each choice among k
    # classes costs log k; weights q = (1/4, 1/2, 1/4): 1/4 log 3 + 1/2 log 2 + 1/4 log 1
    teacher = torch.tensor([[0.25, 0.5, 0.25]]).log()
    value = pld(torch.zeros(1, 3), teacher, torch.tensor([2]))
    assert value.item() == pytest.approx(0.25 * math.log(3) + 0.5 * math.log(2))


def test_pld_of_a_sure_and_right_teacher_is_cross_entropy() -> None:
    student, _, labels = example()
    sure = 50.0 * F.one_hot(labels, 5)
    wanted = F.cross_entropy(student, labels, reduction="none")
    torch.testing.assert_close(pld(student, sure, labels), wanted)


def test_pld_is_the_plackett_luce_likelihood_choice_by_choice() -> None:
    student, teacher, labels = example()
    for row, value in enumerate(pld(student, teacher, labels, tau=2.0)):
        q = (teacher[row] / 2).softmax(-1)
        others = sorted(set(range(5)) - {labels[row].item()}, key=lambda c: -q[c].item())
        order = [labels[row].item(), *others]
        terms = [
            q[c] * (student[row, order[k:]].logsumexp(0) - student[row, c])
            for k, c in enumerate(order)
        ]
        torch.testing.assert_close(value, torch.stack(terms).sum())


def golden(name: str) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Inputs, output and the gradient of the first input, which is a leaf."""
    content = json.loads((GOLDEN / f"{name}.json").read_text())
    inputs = {
        key: torch.tensor(value, dtype=torch.long)
        if key == "labels"
        else torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for key, value in content["inputs"].items()
    }
    (gradient,) = content["grad"].values()
    output, expected = (torch.tensor(v, dtype=torch.float64) for v in (content["output"], gradient))
    return inputs, output, expected


def test_pld_has_the_order_of_an_independent_list_mle() -> None:
    inputs, output, gradient = golden("pld")
    scores, ranks = inputs.values()
    even = 5 * pld(scores, ranks.detach(), ranks.argmax(-1), tau=1e9).mean()  # weights are 1 / 5
    torch.testing.assert_close(even, output, rtol=1e-7, atol=0)
    torch.testing.assert_close(torch.autograd.grad(even, scores)[0], gradient, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "weight"),
    [("bd_kd", "forward"), ("reverse_kl", "reverse")],
    ids=["forward", "reverse"],
)
def test_the_divergences_of_bd_kd_are_those_of_distillation_libraries(
    name: str, weight: str
) -> None:
    inputs, output, gradient = golden(name)
    leaf, teacher = inputs["student_logits"], inputs["teacher_logits"].detach()
    counted = inputs.get("labels", torch.zeros(leaf.shape[:-1], dtype=torch.long)) != -100
    student, peer, labels = leaf[counted], teacher[counted], torch.zeros(counted.sum()).long()

    def value(share: float) -> Tensor:
        weights = {"forward": 0.0, "reverse": 0.0, weight: share}
        return bd_kd(student, peer, labels, tau=1.0, delta=1.0, **weights)[0]

    found = value(1.0) - value(0.0)
    if not output.ndim:
        found = found.mean()
    torch.testing.assert_close(found, output, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(torch.autograd.grad(found.sum(), leaf)[0], gradient)


def test_bd_kd_by_hand() -> None:
    # p_s = (3/4, 1/4) is surer than p_t = (1/2, 1/2), so the forward divergence counts twice:
    # KL(t || s) = 1/2 log(2/3) + 1/2 log 2 = 1/2 log(4/3), KL(s || t) = 3/4 log(3/2) - 1/4 log 2
    student, peer = torch.tensor([[math.log(3), 0.0]]), torch.tensor([[0.0, 0.0]])
    spread, drawn = 0.5 * math.log(4 / 3), 0.75 * math.log(1.5) - 0.25 * math.log(2)
    loss, metrics = bd_kd(student, peer, torch.tensor([0]), tau=1.0)
    own = -math.log(0.75) + 2 * spread + drawn
    assert metrics["student_loss"].item() == pytest.approx(own)
    assert loss.item() == pytest.approx(own + math.log(2) + drawn)
    assert metrics["surer"].item() == 1
    _, metrics = bd_kd(peer, student, torch.tensor([0]), tau=1.0)  # now the reverse one
    assert metrics["student_loss"].item() == pytest.approx(math.log(2) + drawn + 2 * spread)
    assert metrics["surer"].item() == 0


def test_bd_kd_of_equals_is_cross_entropy_twice() -> None:
    student, _, labels = example()
    loss, _ = bd_kd(student, student, labels)
    torch.testing.assert_close(loss, 2 * F.cross_entropy(student, labels, reduction="none"))


def test_bd_kd_gives_each_network_the_gradient_of_its_own_loss() -> None:
    student, peer, labels = example()
    student, peer = student.requires_grad_(), peer.clone().requires_grad_()
    loss, _ = bd_kd(student, peer, labels, tau=2.0, reverse=0.0, delta=1.0)
    given = torch.autograd.grad(loss.sum(), (student, peer))
    alone = (
        F.cross_entropy(student, labels, reduction="none")
        + 4 * divergence(softened(peer.detach(), 2.0), softened(student, 2.0))
    ).sum()
    torch.testing.assert_close(given[0], torch.autograd.grad(alone, student)[0])
    alone = (
        F.cross_entropy(peer, labels, reduction="none")
        + 4 * divergence(softened(student.detach(), 2.0), softened(peer, 2.0))
    ).sum()
    torch.testing.assert_close(given[1], torch.autograd.grad(alone, peer)[0])


def test_bd_kd_takes_no_shift_of_scores_for_a_difference() -> None:
    student, peer, labels = example()
    torch.testing.assert_close(
        bd_kd(student + 7, peer - 3, labels)[0], bd_kd(student, peer, labels)[0]
    )


@pytest.mark.parametrize("hyper", ["tau", "forward", "reverse", "delta"])
def test_bd_kd_can_be_stacked(hyper: str) -> None:
    tensors = example()

    def value(setting: Tensor) -> Tensor:
        return bd_kd(*tensors, **{hyper: setting})[0]

    grid = torch.tensor([1.0, 3.0], dtype=torch.float64)
    stacked = torch.func.vmap(value)(grid)
    torch.testing.assert_close(stacked, torch.stack([value(setting) for setting in grid]))
    assert not torch.allclose(*stacked)
