"""A student beside a teacher or a peer."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from objectives.records.base import Record


@dataclass(frozen=True)
class Distilled(Record):
    """Class scores of a student and of a frozen teacher, and class labels."""

    student_logits: Float[Tensor, "batch classes"]
    teacher_logits: Float[Tensor, "batch classes"]
    labels: Int[Tensor, " batch"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Mutual(Record):
    """Class scores of a student and of a peer that learns beside it, and class labels."""

    student_logits: Float[Tensor, "batch classes"]
    peer_logits: Float[Tensor, "batch classes"]
    labels: Int[Tensor, " batch"]
    index: Int[Tensor, " batch"]
