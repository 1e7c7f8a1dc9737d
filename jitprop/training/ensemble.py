"""Networks that answer together: for each class, the mean of their probabilities.

The networks may be of any kind, and of both dtypes. Their inputs have the same widths, and their
classes are the same. Sums run from the first network to the last, in float64. So the bits are the
same on any number of threads, whatever other rows there are.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitprop.layers import Module
from jitprop.layers.node import what
from jitprop.training.examples import Array, given_off, taken


def members(net: Any) -> list[Any]:
    """Return the networks of a list or tuple, or a list of the one network.

    Raises
    ------
    ValueError
        There is none, or the widths of their inputs or outputs differ, as far as these are known
        before they run.
    TypeError
        One of several is not a module.
    """
    if not isinstance(net, list | tuple):
        return [net]
    if not net:
        raise ValueError(f"net is an empty {type(net).__name__}, expected at least one network")
    for place, one in enumerate(net):
        if not isinstance(one, Module):
            raise TypeError(
                f"net[{place}] is {what(one)}, expected a module such as Sequential(...)"
            )
        for verb, ours, first in zip(("takes", "gives"), _ends(one), _ends(net[0]), strict=True):
            known = ours != (None,) != first
            if known and len(ours) != len(first):
                count = f"{len(ours)} array{'s' * (len(ours) > 1)}"
                raise ValueError(f"net[{place}] {verb} {count}, net[0] {len(first)}")
            for width, other in zip(ours, first, strict=False):
                if None not in (width, other) and width != other:
                    raise ValueError(f"net[{place}] {verb} {width} features, net[0] {other}")
    return list(net)


def mean(answers: Sequence[Any]) -> Any:
    """Return the mean of the answers of networks, elementwise; a single answer as it is.

    Parameters
    ----------
    answers : sequence of arrays, or of tuples of arrays
        For each network, and each output, (n, classes).

    Returns
    -------
    array, or tuple of arrays
        With the wider of their dtypes.

    Raises
    ------
    ValueError
        Their shapes differ.
    """
    if len(answers) == 1:
        return answers[0]
    shapes = [_shapes(answer) for answer in answers]
    for place, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ValueError(f"net[{place}] gives {shape}, net[0] {shapes[0]}")
    if isinstance(answers[0], tuple):
        return tuple(map(_mean, zip(*answers, strict=True)))
    return _mean(answers)


def _mean(arrays: Sequence[Array]) -> Array:
    total = np.zeros(arrays[0].shape)
    for array in arrays:
        total += array
    return (total / len(arrays)).astype(np.result_type(*arrays))


def _shapes(answer: Any) -> str:
    """Return the shapes of a network's answer, for a message."""
    if isinstance(answer, tuple):
        return f"a tuple of {', '.join(str(one.shape) for one in answer)}"
    return str(answer.shape)


def _ends(net: Module) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
    """Return the widths of a network's inputs and outputs; None where it takes any."""
    widths = taken(net)
    return widths, given_off(net, widths)
