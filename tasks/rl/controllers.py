"""Policies written by hand, for environments whose solution is known."""

from dataclasses import dataclass

import numpy as np

from objectives.errors import InputError


@dataclass(frozen=True)
class SwingUp:
    """Swings Pendulum-v1 up by pumping energy, and holds it there by a linear law.

    Energy is w^2 / 2 + 15 (cos - 1) per moment of inertia, 0 where the pendulum stands.

    Attributes:
        stiffness: Torque against the angle from upright, in N m per radian.
        damping: Torque against the angular velocity w, in N m s per radian.

    Source:
        Astrom & Furuta 2000, Swinging up a pendulum by energy control, Automatica 36(2).
    """

    stiffness: float = 12.0
    damping: float = 3.0

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        _expect("Pendulum-v1", 3, observations)
        cosine, sine, velocity = observations.T
        energy = velocity**2 / 2 + 15 * (cosine - 1)
        forward = np.where(velocity >= 0, 1.0, -1.0)
        pump = -2 * np.clip(energy, -1, 1) * forward
        hold = -self.stiffness * np.arctan2(sine, cosine) - self.damping * velocity
        near = (cosine > 0.85) & (np.abs(velocity) < 4)
        return np.clip(np.where(near, hold, pump), -2, 2)[:, None].astype(np.float32)


@dataclass(frozen=True)
class WithTheMotion:
    """Pushes MountainCarContinuous-v0 in the direction in which it moves."""

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        _expect("MountainCarContinuous-v0", 2, observations)
        return np.where(observations[:, 1:] >= 0, 1.0, -1.0).astype(np.float32)


def _expect(env: str, size: int, observations: np.ndarray) -> None:
    if observations.shape[1:] != (size,):
        raise InputError(
            f"the controller is for {env} and its {size} observations, not for observations of "
            f"shape {observations.shape[1:]}. Choose controller._target_=... for this environment."
        )
