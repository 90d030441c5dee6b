"""What several slow tests look at, made once."""

from pathlib import Path

import pytest

from .commands import runner

SWEEP = "task=digits objective=ldr epochs=2 log_every=5 -m tau=0.1,0.5 seed=0,1"


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a sweep of two settings and two seeds in the default store; to be read only."""
    root = tmp_path_factory.mktemp("swept")
    said = runner(SWEEP, root)
    assert "4 jobs" in said
    assert "Not in MLflow" not in said
    return root
