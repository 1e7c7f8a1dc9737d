"""Digits and numbers on pictures: `read_digits`, and the command `jitprop predict` over it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import numpy.typing as npt

    from jitprop.data.image import Picture
    from jitprop.data.pieces import Shape
    from jitprop.layers import Module

__all__ = ["Digit", "read_digits"]

Array = Any  # of NumPy, which the command line does without until it reads
Ask = Callable[[Array], Array]  # (n, 28, 28) uint8 -> (n, classes) probabilities

MODEL = Path(__file__).parent / "data" / "digits.safetensors"
SURE = 0.9  # a lower probability is doubtful ...
SIGNED = 0.95  # ... and so is one lower than this where there are signs
TWO = 1.6  # times as wide as high: hardly ever one digit
WHOLE, CUT = 0.8, 0.8  # less of a wide shape, and more of both its parts: it is two digits


@dataclass(frozen=True)
class Digit:
    """A digit that was read.

    Attributes
    ----------
    digit : int
        0 to 9; of a network that tells other classes apart, the class.
    probability : float
        The network's, of that digit.
    probabilities : tuple of float
        Of each digit.
    box : (left, top, right, bottom)
        In pixels of the picture, held upright; right and bottom are those behind the last.
    doubt : str or None
        If the answer is not sure: "unsure", and why, as far as the picture tells.
    """

    digit: int
    probability: float
    probabilities: tuple[float, ...]
    box: tuple[int, int, int, int]
    doubt: str | None


def read_digits(
    image: "str | os.PathLike[str] | BinaryIO | npt.ArrayLike",
    net: "Module | Sequence[Module] | None" = None,
) -> list[Digit]:
    """Read the digits on a picture.

    Parameters
    ----------
    image : path, binary file, or (rows, columns) of numbers
        A file that Pillow opens, or grey levels of 0 to 255. Ink is darker or lighter than paper.
    net : Module, list of Modules, or None
        It takes images of 28 x 28 pixels. Several answer by the mean of their probabilities. None
        for the network that comes with the package.

    Returns
    -------
    list of Digit
        In reading order: rows from top to bottom, each from left to right. Empty if nothing is to
        be seen.

    Raises
    ------
    jitprop.data.DataError
        The file is no image, damaged or too large.
    ValueError, TypeError
        The array does not hold grey levels, or `net` does not take images of 28 x 28 pixels.
    ModuleNotFoundError
        Pillow or SciPy is not installed: `pip install 'jitprop[images]'`.
    """
    check_installed()
    from jitprop.data.image import picture_of

    picture = picture_of(image)
    asked = shipped() if net is None else net
    return [digit for digit, _ in recognised(picture, lambda digits: predict(asked, digits))]


def predict(net: "Module | Sequence[Module]", digits: Array) -> Array:
    """Return the probability of each class, (n, classes), of (n, 28, 28) uint8 images.

    Of several outputs, the first counts; of several networks, the mean of what they answer.

    Raises
    ------
    ValueError, TypeError
        The network does not take them.
    """
    from jitprop.training import probabilities

    p = probabilities(net, digits)
    return p[0] if isinstance(p, tuple) else p


def check_installed() -> None:
    """Refuse to go on without the packages that pictures need.

    Raises
    ------
    ModuleNotFoundError
        One line says what is missing, and what to type.
    """
    for package, name in (("PIL", "Pillow"), ("scipy", "SciPy")):
        try:
            __import__(package)
        except ModuleNotFoundError as error:
            if error.name != package:
                raise
            message = f"reading images needs {name}: pip install 'jitprop[images]'"
            raise ModuleNotFoundError(message, name=package) from None


@cache
def shipped() -> "Module":
    """Return the network that comes with the package."""
    from jitprop import training

    return training.load(MODEL)


def recognised(picture: "Picture", ask: Ask) -> list[tuple[Digit, Array]]:
    """Return the digits on a picture, each with what the network saw, (28, 28) uint8.

    Parameters
    ----------
    picture : jitprop.data.image.Picture
    ask : function
        Takes (n, 28, 28) uint8, gives (n, classes) probabilities.

    Returns
    -------
    list of (Digit, array)
    """
    import numpy as np

    from jitprop.data.pieces import shapes_of

    shapes = shapes_of(picture.grey)
    if not shapes:
        return []
    answers = ask(np.stack([shape.pixels for shape in shapes]))
    found = []
    for shape, p in zip(shapes, answers, strict=True):
        found += _digits(shape, p, ask)
    return [(_digit(shape, p.tolist(), picture.box(shape.box)), shape.pixels) for shape, p in found]


def _digits(shape: "Shape", p: Array, ask: Ask) -> "list[tuple[Shape, Array]]":
    """Return the shape and its answer, or those of its parts, if they are more likely digits."""
    import numpy as np

    from jitprop.data.pieces import halves

    ways = halves(shape)
    height, width = shape.ink.shape
    if not ways or (p.max() >= WHOLE and width < TWO * height):
        return [(shape, p)]
    answers = ask(np.stack([part.pixels for way in ways for part in way]))
    answers = answers.reshape(len(ways), 2, -1)
    likely = answers.max(axis=2).min(axis=1)
    best = int(likely.argmax())
    if likely[best] <= CUT:
        return [(shape, p)]
    return [
        one
        for part, answer in zip(ways[best], answers[best], strict=True)
        for one in _digits(part, answer, ask)
    ]


def _digit(shape: "Shape", p: list[float], box: tuple[int, int, int, int]) -> Digit:
    best = max(p)
    doubt = None
    if best < (SIGNED if shape.signs else SURE):
        doubt = ": ".join(["unsure", *([", ".join(shape.signs)] if shape.signs else [])])
    return Digit(p.index(best), best, tuple(p), box, doubt)
