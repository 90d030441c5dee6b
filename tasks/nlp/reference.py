"""The reference of a policy: what it was before training."""

import copy

from torch import nn


def reference_of(model: nn.Module) -> nn.Module:
    """The model as it is now, which learns no more.

    Weights that do not learn are shared with the model: of one with an adapter, the adapter alone
    is there twice, and a new adapter is zero.
    """
    shared = {id(p): p for p in model.parameters() if not p.requires_grad}
    return copy.deepcopy(model, shared).requires_grad_(False).eval()
