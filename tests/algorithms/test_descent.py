import pytest
from toys import learner, rows

from runner.algorithms.descent import Descent


def test_two_updates_by_hand() -> None:
    # mean of (w x - y)^2 over (x, y) = (1, 0), (2, 1); gradient mean of 2 x (w x - y):
    # at w = 1: (2 * 1 + 4 * 1) / 2 = 3, w = 1 - 0.1 * 3 = 0.7;
    # at w = 0.7: (2 * 0.7 + 4 * 0.4) / 2 = 1.5, w = 0.7 - 0.15 = 0.55
    descending = learner(1.0, lr=0.1)
    algorithm, batch = Descent(descending), rows([1.0, 2.0], [0.0, 1.0])
    first, second = algorithm.update(batch), algorithm.update(batch)
    assert first["loss"].item() == pytest.approx((1 + 1) / 2)
    assert second["loss"].item() == pytest.approx((0.49 + 0.16) / 2)
    assert descending.model.weight.item() == pytest.approx(0.55)


def test_remembers_nothing_of_its_own() -> None:
    assert Descent(learner()).state_dict() == {}
