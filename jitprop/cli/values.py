"""Words of a command line as values; a word that makes no sense is refused in one line."""

import argparse
import math
from collections.abc import Callable

MAX_WIDTH = 10**9  # two such sizes make a matrix of fewer than 2**63 bytes: no overflow


def a_path(text: str) -> str:
    """Return an argument that names a file; an unset variable of a shell gives none."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, not ''")
    return text


def integer(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """Return a converter of arguments to integers within bounds."""
    bounds = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = lowest - 1
        if value < lowest or (highest is not None and value > highest):
            raise argparse.ArgumentTypeError(f"expected an integer {bounds}, not {text!r}")
        return value

    return convert


def share(below_one: bool = False) -> Callable[[str], float]:
    """Return a converter of arguments to numbers from 0 to 1."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1 or (below_one and value == 1):
            bounds = "0 to below 1" if below_one else "0 to 1"
            raise argparse.ArgumentTypeError(f"expected a number from {bounds}, not {text!r}")
        return value

    return convert


def not_negative(text: str) -> float:
    """Return a finite number of 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (value >= 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"expected a finite number of 0 or more, not {text!r}")
    return value


def two_numbers(text: str) -> tuple[float, ...]:
    """Return numbers between commas; `Settings` checks them."""
    try:
        return tuple(map(float, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected two numbers, not {text!r}") from None


def batch_size(text: str) -> int | None:
    """Return the number, or None for "full"; `Settings` checks it."""
    try:
        return None if text == "full" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected an integer or full, not {text!r}") from None


def hidden_widths(text: str) -> tuple[int, ...]:
    """Return the numbers between the commas."""
    try:
        return tuple(integer(1, MAX_WIDTH)(width) for width in text.split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"expected integers from 1 to {MAX_WIDTH} such as 300,100, not {text!r}"
        ) from None
