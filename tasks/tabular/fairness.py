"""How far decisions differ between groups."""

import torch
from torch import Tensor

FEWEST = 10
"""Members that a group must have among the rows for its rates to count."""


def fairness(decisions: Tensor, labels: Tensor, groups: Tensor) -> dict[str, float]:
    """Gaps between the groups of every attribute, and between the subgroups of all together.

    A gap is the largest rate of any group less the smallest; of several attributes the worst one
    counts. Groups with fewer than 10 rows are left out; a gap is 0 where fewer than two are left.

    Args:
        decisions: The class that is decided for [n]; the last class is the outcome granted.
        labels: The true class [n].
        groups: Number of the group by each attribute [n, attributes].

    Returns:
        parity_gap: Of the share that is granted (demographic parity).
        odds_gap: Of the share that is granted among those of one true outcome (equalised odds).
        intersectional_gap: Of the share that is granted, between subgroups.
        worst_group: Accuracy in the subgroup where it is lowest.
    """
    last = max(int(labels.max()), int(decisions.max()))
    granted, earned = (decisions == last).double(), labels == last
    subgroups = intersections(groups)
    return {
        "parity_gap": max(gap(granted, column) for column in groups.T),
        "odds_gap": max(
            gap(granted[among], column[among]) for column in groups.T for among in (earned, ~earned)
        ),
        "intersectional_gap": gap(granted, subgroups),
        "worst_group": min(rates((decisions == labels).double(), subgroups), default=0.0),
    }


def gap(values: Tensor, groups: Tensor) -> float:
    """Largest mean of a group less the smallest."""
    found = rates(values, groups)
    return max(found, default=0.0) - min(found, default=0.0)


def rates(values: Tensor, groups: Tensor) -> list[float]:
    """Mean of the values in each group that has enough members."""
    counts = groups.bincount()
    means = groups.bincount(weights=values) / counts.clamp_min(1)
    found: list[float] = means[counts >= FEWEST].tolist()
    return found


def intersections(groups: Tensor) -> Tensor:
    """Number of the subgroup that a row belongs to by all attributes [n]."""
    return torch.unique(groups, dim=0, return_inverse=True)[1]
