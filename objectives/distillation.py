"""Objectives by which a student learns from a teacher's scores."""

from typing import Annotated

import torch
from annotated_types import Ge, Gt, Interval
from jaxtyping import Float, Int
from torch import Tensor

from objectives.classification import frugal_cross_entropy
from objectives.domains import Count, Scalar
from objectives.objective import declare


def kd(
    student_logits: Float[Tensor, "batch classes"],
    teacher_logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    *,
    tau: Annotated[Scalar, Gt(0)] = 4.0,
    alpha: Annotated[Scalar, Interval(ge=0, le=1)] = 0.9,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """Knowledge distillation: the teacher's softened probabilities beside the labels.

    alpha * tau^2 * KL(softmax(t / tau) || softmax(s / tau)) + (1 - alpha) * CE(s, y)

    Args:
        student_logits: Class scores s of the student, unnormalised.
        teacher_logits: Class scores t of the teacher, unnormalised.
        labels: Class indices y.
        tau: Temperature, in logits; as tau -> infinity the first term becomes half of the
            squared difference of the centred scores, summed over classes and divided by their
            number.
        alpha: Weight of the teacher; 0 is cross-entropy.

    Returns:
        Loss per example, in nats, and the share of examples on which both agree.

    Source:
        Hinton, Vinyals & Dean 2015, arXiv:1503.02531.
    """
    soft = tau**2 * divergence(softened(teacher_logits, tau), softened(student_logits, tau))
    hard = frugal_cross_entropy(student_logits, labels)
    return alpha * soft + (1 - alpha) * hard, {
        "agreement": agreement(student_logits, teacher_logits)
    }


@torch.no_grad()
def agreement(
    logits: Float[Tensor, "batch classes"], other: Float[Tensor, "batch classes"]
) -> Float[Tensor, ""]:
    """Share of the examples on which the other's first class has the largest score."""
    # not both first classes: to find where the largest score is takes much longer than to find it,
    # and argmax takes longest
    of_others = logits.gather(1, other.max(-1, keepdim=True).indices)
    return (of_others == logits.amax(-1, keepdim=True)).float().mean()


def softened(logits: Float[Tensor, "batch classes"], tau: Scalar) -> Float[Tensor, "batch classes"]:
    """log softmax(logits / tau) of each row."""
    return (logits / tau).log_softmax(-1)


def divergence(
    logprobs: Float[Tensor, "batch classes"], others: Float[Tensor, "batch classes"]
) -> Float[Tensor, " batch"]:
    """KL(exp(logprobs) || exp(others)) of each row, in nats."""
    return -(logprobs.exp() * (others - logprobs)).sum(-1)  # inside, the sign costs a pass more


@declare(coupled="the batch's examples are transported onto one another")
def sinkd(
    student_logits: Float[Tensor, "batch classes"],
    teacher_logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    *,
    tau: Annotated[Scalar, Gt(0)] = 2.0,
    epsilon: Annotated[Scalar, Gt(0)] = 0.1,
    alpha: Annotated[Scalar, Interval(ge=0, le=1)] = 0.1,
    beta: Annotated[Scalar, Ge(0)] = 0.8,
    iterations: Count = 20,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """Distillation by the Sinkhorn distance between the batch's outputs, beside labels and KL.

    (1 - alpha) * CE(s, y) + alpha * tau^2 * KL(p_t || p_s) + beta * sum_j P_ij C_ij
    C_ij = |p_s,i - p_t,j|_1,  P = exp(-C / epsilon) made doubly stochastic,
    p = softmax(scores / tau)

    Args:
        student_logits: Class scores s of the student, unnormalised.
        teacher_logits: Class scores t of the teacher, unnormalised.
        labels: Class indices y.
        tau: Temperature of both, in logits.
        epsilon: Entropic regularisation, in units of the distance, which is at most 2.
        alpha: Weight of the divergence against the labels.
        beta: Weight of the distance.
        iterations: Times that rows and columns are normalised in turn.

    Returns:
        Loss per example, in nats; kd's where beta = 0. Metric: the mean distance.

    Source:
        Cui et al. 2024, arXiv:2402.17110. The official code, 2018cx/SinKD, sums the distance over
        the batch and scales it by 0.001, so that its beta of 0.8 is 0.0008 * batch here; its
        scripts have alpha at 0.8 to 1, and a temperature of its own, without tau^2, for the KL.
    """
    loss, metrics = kd(student_logits, teacher_logits, labels, tau=tau, alpha=alpha)
    student, teacher = (student_logits / tau).softmax(-1), (teacher_logits / tau).softmax(-1)
    distance = sinkhorn_distance(student, teacher, epsilon, iterations)
    return loss + beta * distance, metrics | {"sinkhorn_distance": distance.detach().mean()}


def sinkhorn_distance(
    points: Float[Tensor, "batch dim"],
    others: Float[Tensor, "batch dim"],
    epsilon: Scalar,
    iterations: int,
) -> Float[Tensor, " batch"]:
    """How far each point is transported, in L1, where entropy spreads the plan."""
    cost = (points[:, None] - others).abs().sum(-1)
    plan = -cost / epsilon  # its logarithm: the exponentials of small ones are all 0
    for _ in range(iterations):
        plan = plan.log_softmax(1).log_softmax(0)
    return (plan.exp() * cost).sum(1)


def pld(
    student_logits: Float[Tensor, "batch classes"],
    teacher_logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    *,
    tau: Annotated[Scalar, Gt(0)] = 1.0,
) -> Float[Tensor, " batch"]:
    """Plackett-Luce distillation: the student ranks the classes as the teacher does.

    sum_k q_{pi_k} * (log sum_{l >= k} exp(s_{pi_l}) - s_{pi_k}),  q = softmax(t / tau),
    pi = the true class, then the others by falling q

    Args:
        student_logits: Class scores s of the student, unnormalised.
        teacher_logits: Class scores t of the teacher, unnormalised.
        labels: Class indices y.
        tau: The teacher's temperature, in logits; tau -> 0 gives cross-entropy where the teacher
            is right, and no weight to the label where it is wrong.

    Returns:
        Loss per example, in nats.

    Source:
        Bassam et al. 2025, arXiv:2506.12542. There is no code of theirs.
    """
    classes = torch.arange(student_logits.shape[1], device=labels.device)
    first = teacher_logits.masked_fill(classes == labels[:, None], torch.inf)
    order = first.argsort(dim=-1, descending=True, stable=True)
    scores = student_logits.gather(1, order)
    weights = (teacher_logits / tau).softmax(-1).gather(1, order)
    remaining = scores.flip(1).logcumsumexp(1).flip(1)
    return (weights * (remaining - scores)).sum(-1)


@declare(surrogate="each network takes the other's scores as they are")
def bd_kd(
    student_logits: Float[Tensor, "batch classes"],
    peer_logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    *,
    tau: Annotated[Scalar, Gt(0)] = 4.0,
    forward: Annotated[Scalar, Ge(0)] = 1.0,
    reverse: Annotated[Scalar, Ge(0)] = 1.0,
    delta: Annotated[Scalar, Ge(1)] = 2.0,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """Balanced divergences: a student and a teacher, its peer, that are trained together.

    student: CE(s, y) + tau^2 * (forward * d_f * KL(p_t || p_s) + reverse * d_r * KL(p_s || p_t))
    peer:    CE(t, y) + tau^2 * KL(p_s || p_t)
    (d_f, d_r) = (delta, 1) where H(p_s) < H(p_t), else (1, delta);  p = softmax(scores / tau)

    Where the student is the surer, the forward divergence, which spreads it, counts for more;
    where it is the less sure, the reverse one, which draws it together.

    Args:
        student_logits: Class scores s of the student, unnormalised.
        peer_logits: Class scores t of the teacher, unnormalised.
        labels: Class indices y.
        tau: Temperature of both, in logits.
        forward: Weight of the student's forward divergence.
        reverse: Weight of its reverse divergence; 0, with delta = 1, is mutual learning by the
            forward divergence alone.
        delta: By how much the divergence that an example needs counts for more; 1 is no balance.

    Returns:
        Sum of both losses per example, in nats; 2 * CE where both are the same. Metrics: that of
        the student, the share of examples on which it is the surer, and on which both agree.

    Source:
        Amara et al. 2022, arXiv:2212.12965. There is no code of theirs: the temperature, the
        weights, which divergence a surer student gets more of, and that no gradient flows from one
        network into the other are of this project.
    """
    student, peer = softened(student_logits, tau), softened(peer_logits, tau)
    spread, drawn = divergence(peer.detach(), student), divergence(student, peer.detach())
    surer = (entropy(student) < entropy(peer)).to(spread.dtype)
    more = delta - 1
    balanced = forward * (1 + more * surer) * spread + reverse * (1 + more * (1 - surer)) * drawn
    own = frugal_cross_entropy(student_logits, labels) + tau**2 * balanced
    others = frugal_cross_entropy(peer_logits, labels)
    others = others + tau**2 * divergence(student.detach(), peer)
    return own + others, {
        "student_loss": own.detach().mean(),
        "surer": surer.mean(),
        "agreement": agreement(student_logits, peer_logits),
    }


@torch.no_grad()
def entropy(logprobs: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    """Entropy of exp(logprobs) of each row, in nats."""
    return -(logprobs.exp() * logprobs).sum(-1)
