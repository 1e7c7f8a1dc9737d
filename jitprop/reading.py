"""Read digits."""
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MODEL = Path(__file__).parent / "data" / "mnist_mlp200.safetensors"
SURE = 0.9

@dataclass(frozen=True)
class Digit:
    digit: int
    probability: float
    probabilities: list
    box: tuple
    doubt: str | None


def load_networks(models):
    from jitprop import training
    return [training.load(m) for m in (models or [str(MODEL)])]


def read_digits(image, net):
    from jitprop.data.image import read_image, ImageError
    from jitprop.data.ink import ink_of
    from jitprop.data.pieces import shapes_of
    from jitprop.training import probabilities
    ink = ink_of(read_image(image))
    shapes = shapes_of(ink) if ink is not None else []
    if not shapes:
        raise ImageError("nothing")
    p = probabilities(net, np.stack([s.pixels for s in shapes]))
    out = []
    for s, q in zip(shapes, p):
        out.append(Digit(int(q.argmax()), float(q.max()), q.tolist(), s.box, "unsure" if q.max() < SURE else None))
    return out
