"""What the page asks of one network: all that passes through it, both ways, and one update."""

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop import kernels, training
from jitprop.data import Dataset
from jitprop.layers import (
    CrossEntropy,
    Graph,
    Linear,
    Loss,
    Module,
    Sequential,
    Sigmoid,
    Softmax,
    SoftmaxCrossEntropy,
    gradcheck,
)
from jitprop.training.architectures import mlp
from jitprop.training.asking import Predictor, as_probabilities, last_module
from jitprop.training.examples import dtype_of, given_off, inputs, taken
from jitprop.web.sources import described

Array = npt.NDArray[Any]

SIDE = 28
MOST_CLASSES = 100
JUDGED = 1000  # test images that tell what a lesson does to the rest
HIGHEST_RATE = 1e6


class Passed(NamedTuple):
    """What passed through a network.

    Attributes
    ----------
    values : list of arrays
        The input and, for each output of each step, what it gave, one row each.
    gradients : list of arrays or None
        dE/d of each of these; None without a target, and where nothing leads to the loss.
    loss : float or None
        E.
    """

    values: list[Any]
    gradients: list[Any]
    loss: float | None


class Model:
    """A network on the page, in evaluation; one thread at a time uses it.

    Parameters
    ----------
    name : str
        What the page calls it.
    net : Module
        It takes an image of 28 x 28 pixels and gives a number for each of at most 100 classes.

    Attributes
    ----------
    name : str
    net : Graph
    loss : Loss
        The cross-entropy of what it gives.
    lock : RLock
        Held by whoever uses the network.
    classes : int
    taught : int
        Updates since it was loaded or has forgotten.

    Raises
    ------
    ValueError
        It takes or gives something else.
    """

    def __init__(self, name: str, net: Module) -> None:
        self.name = name
        self.net = (net if isinstance(net, Graph) else Sequential(net)).eval()
        self.net.pixels = net.pixels
        widths = taken(self.net)
        if widths not in ((SIDE * SIDE,), (None,)):
            given = " and ".join(map(str, widths))
            raise ValueError(f"takes {given} numbers, expected {SIDE * SIDE}, an image of 28 x 28")
        outputs = given_off(self.net, [SIDE * SIDE])
        if len(outputs) != 1 or not 2 <= (outputs[0] or 0) <= MOST_CLASSES:
            given = " and ".join(map(str, outputs))
            raise ValueError(f"gives {given} numbers, expected one for each of 2 to 100 classes")
        self.classes = int(outputs[0] or 0)
        by_itself = isinstance(last_module(self.net), Softmax | Sigmoid)
        self.loss: Loss = CrossEntropy() if by_itself else SoftmaxCrossEntropy()
        self.taught = 0
        each = [one for step in self.net.steps for one in step.module.parameters()]
        self._shares = len(each) > len(self.net.parameters())
        self._start = [parameter.value.copy() for parameter in self.net.parameters()]
        self.lock = threading.RLock()
        self._ask = Predictor(self.net)
        self._judges: Any = None

    def judge(self, dataset: Dataset) -> None:
        """Let the first test images of a data set tell what a lesson does to the rest."""
        if dataset.classes == self.classes and dataset.test_images[0].size == SIDE * SIDE:
            self._judges = dataset.test_images[:JUDGED], dataset.test_labels[:JUDGED]

    def described(self) -> dict[str, Any]:
        """Return what stays the same while the network learns: its steps, formulas and code."""
        parameters = self.net.parameters()
        return {
            "name": self.name,
            "classes": self.classes,
            "parameters": sum(parameter.value.size for parameter in parameters),
            "loss": described(self.loss),
            "steps": [
                {
                    **described(module),
                    "label": label,
                    "takes": list(takes),
                    "gives": list(gives),
                    "parameters": [
                        {"name": one.name, "shape": one.value.shape} for one in module.parameters()
                    ],
                }
                for label, module, takes, gives in self.net.steps
            ],
            "taught": self.taught,
        }

    def see(self, digit: Array, target: int | None = None) -> dict[str, Any]:
        """Return all that passes through the network for an image, and back for a target.

        Parameters
        ----------
        digit : (28, 28) uint8
        target : int or None
            The class that it should be.

        Returns
        -------
        dict
            "digit", "values" of the input and all steps, "probabilities"; with a target "gradients"
            of all values, and "loss".
        """
        with self.lock:
            passed = self.passed(digit, target)
            found: dict[str, Any] = {
                "digit": digit.reshape(-1),
                "values": [value[0] for value in passed.values],
                "probabilities": self._probabilities(passed),
                "taught": self.taught,
            }
            if target is not None:
                found["gradients"] = [None if dy is None else dy[0] for dy in passed.gradients]
                found["loss"] = passed.loss
            return found

    def weights(
        self, digit: Array, target: int | None, step: int, unit: int | None, entry: int | None
    ) -> dict[str, Any]:
        """Return the weights that lead to a unit, or those that lead away from an entry of `x`.

        Parameters
        ----------
        digit : (28, 28) uint8
        target : int or None
            The class that it should be; with one, gradients are told, too.
        step : int
            The place of a Linear in the network.
        unit, entry : int or None
            A column of `w`, or a row; one of the two.

        Returns
        -------
        dict
            "w", and of a unit "b", "x" and "y"; "dw", "db", "dy" of a unit, "dy" and "dx" of an
            entry.
        """
        module = self.net.steps[step].module if 0 <= step < len(self.net.steps) else None
        if not isinstance(module, Linear):
            raise ValueError(f"step {step} has no weights: choose a Linear")
        index, most = (unit, module.out_features) if entry is None else (entry, module.in_features)
        if index is None or not 0 <= index < most:
            raise ValueError(f"there is no number {index} there, expected 0 to {most - 1}")
        with self.lock:
            passed = self.passed(digit, target)
            _, _, (x,), (y,) = self.net.steps[step]
            dx, dy = passed.gradients[x], passed.gradients[y]
            if entry is not None:
                found = {"w": module.w[index].copy(), "x": passed.values[x][0, index]}
                if dy is not None:
                    found |= {"dy": dy[0], "dx": dx[0, index]}
                return found
            found = {"w": module.w[:, index].copy(), "b": module.b[index]}
            found |= {"x": passed.values[x][0], "y": passed.values[y][0, index]}
            if dy is not None:
                found |= {"dw": module.dw[:, index].copy(), "db": module.db[index]}
                found |= {"dy": dy[0, index]}
            return found

    def teach(self, digit: Array, target: int, rate: float, times: int = 1) -> dict[str, Any]:
        """Update the network on one image; return what that did.

        Parameters
        ----------
        digit : (28, 28) uint8
        target : int
            The class that it should be.
        rate : float
            Of `update(rate)`, above 0 and at most a million.
        times : int
            Updates, 1 to 100.

        Returns
        -------
        dict
            "before" and "after", each "probabilities", "loss", and "errors" on JUDGED test images,
            if these were given; "taught", the updates so far.
        """
        if not 0 < rate <= HIGHEST_RATE:
            raise ValueError(f"the rate must be above 0 and at most {HIGHEST_RATE:g}, not {rate}")
        if not 1 <= times <= 100:
            raise ValueError(f"there can be 1 to 100 updates at once, not {times}")
        with self.lock:
            told: dict[str, Any] = {"before": self._state(digit, target)}
            for _ in range(times):
                self.passed(digit, target)
                self.net.update(rate)
                self.taught += 1
            told["after"] = self._state(digit, target)
            return told | {"taught": self.taught, "judged": JUDGED if self._judges else 0}

    def forget(self) -> None:
        """Give the network the weights that it was loaded with, to the bit."""
        with self.lock:
            for parameter, start in zip(self.net.parameters(), self._start, strict=True):
                parameter.value[...] = start
            self.taught = 0

    def passed(self, digit: Array, target: int | None) -> Passed:
        """Run the network forwards and, for a target, backwards; the parameters get gradients."""
        with np.errstate(all="ignore"):  # after a rate too high, all may be infinite
            values = self._forwards(self.input(digit))
            gradients: list[Any] = [None] * len(values)
            if target is None:
                return Passed(values, gradients, None)
            if not 0 <= target < self.classes:
                raise ValueError(f"there is no class {target}, expected 0 to {self.classes - 1}")
            y = values[self.net.results[0]]
            loss = self.loss.fprop(y, np.array([target]))
            gradients[self.net.results[0]] = dz = self.loss.bprop(1.0).copy()
            self._backwards(values, gradients)
            if self._shares:  # the sum of their gradients, which the graph alone makes
                self.net.fprop(values[0])
                self.net.bprop(dz)
            return Passed(values, gradients, loss)

    def input(self, digit: Array) -> Array:
        """Return an image as the network takes it, (1, 784) of its dtype."""
        (x,) = inputs(self.net, digit[None])
        if x.dtype == np.uint8:  # pixels, which are divided by 255 as in training
            pixels, x = x, kernels.aligned_zeros(x.shape, dtype_of(self.net))
            kernels.gather(pixels, np.zeros(1, np.int64), x)
        return x

    def _forwards(self, x: Array) -> list[Any]:
        values: list[Any] = [x]
        for _, module, takes, gives in self.net.steps:
            y = module.fprop(*(values[place] for place in takes))
            values += [one.copy() for one in (y if isinstance(y, tuple) else (y,))]
            assert len(values) == gives[-1] + 1
        return values

    def _backwards(self, values: list[Any], gradients: list[Any]) -> None:
        """Fill in the gradients of all values that lead to the last; where several meet, a sum."""
        for _, module, takes, gives in reversed(self.net.steps):
            dys = [gradients[place] for place in gives]
            if all(dy is None for dy in dys):
                continue
            dys = [
                np.zeros_like(values[place]) if dy is None else dy
                for place, dy in zip(gives, dys, strict=True)
            ]
            dx = module.bprop(*dys)
            for place, one in zip(takes, dx if isinstance(dx, tuple) else (dx,), strict=True):
                before = gradients[place]
                gradients[place] = one.copy() if before is None else before + one

    def _probabilities(self, passed: Passed) -> Array:
        return as_probabilities(self.net, passed.values[self.net.results[0]])[0]

    def _state(self, digit: Array, target: int) -> dict[str, Any]:
        passed = self.passed(digit, target)
        told: dict[str, Any] = {"loss": passed.loss, "probabilities": self._probabilities(passed)}
        if self._judges:
            images, labels = self._judges
            guesses = self._ask(images).argmax(axis=1)
            told["errors"] = int((guesses != labels).sum())
        return told


def warm_up(models: Sequence[Model], dataset: Dataset) -> None:
    """Compile, or load from the cache, the kernels that the page will need; models stay as are."""
    blank = np.zeros((SIDE, SIDE), np.uint8)
    for model in models:
        model.see(blank, 0)
    rows = slice(0, 200)
    small = mlp(dataset.train_images[0].size, [8], dataset.classes, rng=0)
    images, labels = dataset.train_images[rows], dataset.train_labels[rows]
    for size in (1, 100):
        training.warm_up(small, SoftmaxCrossEntropy(), images, labels, batch_size=size)
    Model("", mlp(SIDE * SIDE, [8], 10, rng=0)).teach(blank, 0, 0.1)
    gradcheck(mlp(4, [3], 2, rng=0), np.ones((1, 4)))
    gradcheck(SoftmaxCrossEntropy(), np.ones((1, 4)), np.array([0]))
