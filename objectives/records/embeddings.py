"""Embeddings, of views of examples or of labelled examples."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from objectives.records.base import Record


@dataclass(frozen=True)
class Views(Record):
    """Embeddings of two augmented views of each example."""

    embeddings_1: Float[Tensor, "batch dim"]
    embeddings_2: Float[Tensor, "batch dim"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Embedded(Record):
    """Embeddings and class labels."""

    embeddings: Float[Tensor, "batch dim"]
    labels: Int[Tensor, " batch"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Mixed(Embedded):
    """Embeddings and those of mixtures of two examples each; `mixed_shares` are the first one's."""

    mixed_embeddings: Float[Tensor, "mixtures dim"]
    mixed_labels: Int[Tensor, "mixtures 2"]
    mixed_index: Int[Tensor, "mixtures 2"]
    mixed_shares: Float[Tensor, " mixtures"]
