"""What all records have."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Record:
    """Base of all records."""


def field_names(record: type[Record]) -> set[str]:
    """Everything that an objective may ask of this record by name: fields and properties."""
    derived = {
        name
        for cls in record.__mro__
        for name, value in vars(cls).items()
        if isinstance(value, property)
    }
    return {field.name for field in fields(record)} | derived


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """The sum of each row where the mask is true: [batch]."""
    return torch.where(mask, values, 0.0).sum(dim=-1)


def length(mask: Tensor) -> Tensor:
    """Tokens of each response; 1 of an empty one, whose mean is 0."""
    return mask.sum(dim=-1).clamp_min(1)
