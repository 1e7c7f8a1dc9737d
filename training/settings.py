"""Architectures by name and the settings that each is trained with unless told otherwise."""

import math
from dataclasses import dataclass

# Widths of the hidden layers; a tanh follows each.
ARCHITECTURES: dict[str, tuple[int, ...]] = {
    "linear": (),
    "mlp200": (200,),
    "mlp800": (800,),
    "deep": (2500, 2000, 1500, 1000, 500),
}


@dataclass(frozen=True)
class Settings:
    """How to train. What makes no sense raises ValueError.

    Attributes:
        epochs: passes over the training set, 0 or more.
        batch_size: images a batch, 1 for stochastic learning, None for the whole set (batch
            learning). More than there are images is the whole set, too.
        rate: learning rate.
        momentum: share of the last step that the next one keeps, from 0 to below 1.
    """

    epochs: int
    batch_size: int | None
    rate: float
    momentum: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ValueError(f"epochs must be 0 or more, not {self.epochs}")
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"the batch size must be at least 1, not {self.batch_size}")
        if not (self.rate > 0 and math.isfinite(self.rate)):
            raise ValueError(f"the learning rate must be above 0 and finite, not {self.rate}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, not {self.momentum}")


# Chosen on the last 10,000 training images, held out. The slides' ranges are 0.01 to 0.1 for the
# rate and 100 to 1000 for the batch.
DEFAULTS: dict[str, Settings] = {
    "linear": Settings(epochs=20, batch_size=200, rate=0.05, momentum=0.9),
    "mlp200": Settings(epochs=10, batch_size=100, rate=0.1, momentum=0.9),
    "mlp800": Settings(epochs=10, batch_size=100, rate=0.1, momentum=0.9),
    "deep": Settings(epochs=10, batch_size=100, rate=0.02, momentum=0.9),
}
