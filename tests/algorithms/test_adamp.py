"""The optimizer that is a library's, against its authors' code."""

import json
from pathlib import Path

import torch
from pytorch_optimizer import AdamP

GOLDEN = Path(__file__).parents[1] / "golden" / "adamp.json"


def test_golden() -> None:
    golden = json.loads(GOLDEN.read_text())
    inputs, hyper = golden["inputs"], golden["hyper"]
    weight = torch.nn.Parameter(torch.tensor(inputs["weights"]))
    optimizer = AdamP([weight], **hyper | {"betas": tuple(hyper["betas"])})
    for gradient, expected in zip(inputs["gradients"], golden["output"], strict=True):
        weight.grad = torch.tensor(gradient)
        optimizer.step()
        torch.testing.assert_close(weight.detach(), torch.tensor(expected), rtol=0, atol=2e-6)
