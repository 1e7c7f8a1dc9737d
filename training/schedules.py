"""How the learning rate changes in the course of a training, step by step."""

import numpy as np

from training.batches import Array
from training.settings import Settings


def rates(settings: Settings, epoch: int, batches: int) -> Array:
    """Return the rate of each step of an epoch, counted from 1: float64 (batches,)."""
    return np.full(batches, settings.rate)
