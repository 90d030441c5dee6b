"""How large the weights are."""

import torch

from runner.diagnostics.diagnostic import Diagnostic


class WeightNorm(Diagnostic):
    """The Euclidean norm of all weights together, without biases and other vectors.

    weight_norm: sqrt( sum of squares ) over the model's parameters of two and more dimensions.
    """

    def metrics(self, split: str) -> dict[str, float]:
        weights = [p.detach() for p in self.learner.model.parameters() if p.dim() > 1]
        return {"weight_norm": torch.stack([w.double().norm() for w in weights]).norm().item()}
