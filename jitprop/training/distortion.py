"""How training distorts images, never twice in the same way."""

import math
from dataclasses import dataclass, fields

from jitprop.training.settings import a_number

LARGEST_SIGMA = 20  # up to this, a thread's memory holds the field


@dataclass(frozen=True)
class Distortion:
    """How far distortions go: see `jitprop.kernels.distort`.

    The defaults were among those with the fewest errors on held-out images of MNIST
    (perf/results/records_sweep.csv).

    The seed of the training, the epoch and its place in the training set determine an image. So it
    depends neither on threads nor on batches or their order.

    Attributes
    ----------
    alpha : float
        Pixels by which the elastic field is multiplied, at least 0; 0 for none.
    sigma : float
        Pixels over which the field is smoothed, above 0, at most 20.
    rotate, shear : float
        The largest angles, in degrees, from 0 to 80.
    scale : float
        How much larger or smaller an image becomes at most, separately in each direction: from 0 to
        below 1, 0.1 for a tenth.
    shift : float
        The most pixels down or up, right or left, at least 0.

    Raises
    ------
    ValueError
        A number is out of range.
    TypeError
        A value is not a number.
    """

    alpha: float = 36.0
    sigma: float = 5.0
    rotate: float = 10.0
    shear: float = 10.0
    scale: float = 0.1
    shift: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, a_number(field.name, getattr(self, field.name)))
        for name, most in (
            ("alpha", 1e4),
            ("sigma", LARGEST_SIGMA),
            ("rotate", 80),
            ("shear", 80),
            ("scale", 0.9),
            ("shift", 1e4),
        ):
            value = getattr(self, name)
            if not 0 <= value <= most or (name == "sigma" and value == 0):
                least = "above 0" if name == "sigma" else "from 0"
                raise ValueError(f"{name} must be {least} to {most:g}, not {value}")

    def numbers(self) -> tuple[float, ...]:
        """Return the numbers that the kernel takes, in its order; angles are radians."""
        rotate, shear = self.rotate * math.pi / 180, self.shear * math.pi / 180
        return self.alpha, self.sigma, rotate, shear, self.scale, self.shift
