"""Trainings that the page starts, stops and draws: each is a `jitprop.Training` in a thread."""

import base64
import threading
from dataclasses import asdict
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop.data import Dataset
from jitprop.layers import Linear, SoftmaxCrossEntropy
from jitprop.training import DivergedError, Epoch, Settings, Training, mlp
from jitprop.training.settings import ACTIVATIONS
from jitprop.web.wire import shortened

Array = npt.NDArray[Any]

NAMES = ("A", "B")  # the two that stand side by side; there are never more
MOST_POINTS = 600  # of a curve, an even number
PICTURES = 24  # units whose weights are drawn
MOST_NUMBERS = 60_000_000  # activations of a batch, which are in memory together
MOST_LAYERS, WIDEST, MOST_EPOCHS = 5, 2500, 1000
UNWATCHED = 180.0  # seconds without a question, after which a run stops: the page was closed


class BusyError(ValueError):
    """A run is in the way of what was asked for."""

    status = 409


class UnknownRunError(ValueError):
    """There is no run of that name."""

    status = 404


class Stopped(Exception):
    """Ends a training between two steps."""


class Curve:
    """The losses and errors of all batches so far, in at most MOST_POINTS points.

    A point stands for `width` batches: at first one. When there are too many points, each two
    become one.

    Attributes
    ----------
    width : int
    """

    def __init__(self) -> None:
        self.width = 1
        self._points = np.zeros((0, 4))  # mean, lowest and highest loss, share of errors
        self._rest = np.zeros((0, 2))

    def add(self, batches: Array) -> None:
        """Take the mean loss and the share of errors of some more batches, (batches, 2)."""
        self._rest = np.concatenate([self._rest, batches])
        while len(self._rest) >= self.width:
            room = MOST_POINTS - len(self._points)
            count = min(room, len(self._rest) // self.width)
            taken, self._rest = np.split(self._rest, [count * self.width])
            loss, errors = taken.reshape(count, self.width, 2).transpose(2, 0, 1)
            new = [loss.mean(axis=1), loss.min(axis=1), loss.max(axis=1), errors.mean(axis=1)]
            self._points = np.concatenate([self._points, np.stack(new, axis=1)])
            if len(self._points) == MOST_POINTS:
                first, second = self._points[::2], self._points[1::2]
                self._points = (first + second) / 2
                self._points[:, 1] = np.minimum(first[:, 1], second[:, 1])
                self._points[:, 2] = np.maximum(first[:, 2], second[:, 2])
                self.width *= 2

    def told(self) -> dict[str, Any]:
        """Return the points, as JSON has them."""
        mean, low, high, errors = self._points.T
        return {"width": self.width, "loss": mean, "low": low, "high": high, "errors": errors}


class Run:
    """A training, where it stands and what it has shown so far.

    Parameters
    ----------
    asked : dict
        "hidden", widths of hidden layers; "activation", "batch_size", an integer or None for the
        whole set; "rate", "momentum", "optimizer", "epochs", "seed", "images", how many of the
        training images; "pause", seconds to wait several times a second, so that one can watch.
    dataset : Dataset

    Attributes
    ----------
    training : Training
    state : str
        "running", "stopped", "done" or "failed".

    Raises
    ------
    ValueError, TypeError
        What was asked for makes no sense.
    """

    def __init__(self, asked: dict[str, Any], dataset: Dataset) -> None:
        known = {"hidden", "activation", "batch_size", "rate", "momentum", "optimizer", "epochs"}
        known |= {"seed", "images", "pause"}
        for name in asked:
            if name not in known:
                raise ValueError(
                    f"there is no setting {shortened(name)}: there are {sorted(known)}"
                )
        hidden = asked.get("hidden", [200])
        if not isinstance(hidden, list) or len(hidden) > MOST_LAYERS:
            raise ValueError(f"hidden is a list of at most {MOST_LAYERS} widths")
        for width in hidden:
            _integer("the width of a layer", width, 1, WIDEST)
        whole = len(dataset.train_labels)
        images = _integer("images", asked.get("images", whole), 1, whole)
        self.pause = _pause(asked.get("pause", 0))
        activation = asked.get("activation", "tanh")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is one of {', '.join(ACTIVATIONS)}")
        settings = Settings(
            epochs=_integer("epochs", asked.get("epochs", 10), 1, MOST_EPOCHS),
            batch_size=asked.get("batch_size", 100),
            rate=asked.get("rate", 0.1),
            momentum=asked.get("momentum", 0.0),
            optimizer=asked.get("optimizer", "sgd"),
        )
        self._size = min(settings.batch_size or images, images)
        numbers = self._size * (sum(hidden) + dataset.classes)
        if numbers > MOST_NUMBERS:
            raise ValueError(
                f"a batch of {self._size} images has {numbers} activations in this network, "
                f"at most {MOST_NUMBERS}: take a smaller batch or network"
            )
        seed = _integer("seed", asked.get("seed", 0), 0, 2**53)
        rng = np.random.default_rng(seed)
        net = mlp(dataset.train_images[0].size, hidden, dataset.classes, rng, activation=activation)
        self.asked = {**asked, **asdict(settings), "hidden": hidden, "images": images}
        self.asked |= {"seed": seed, "activation": activation}
        self.training = Training(
            net,
            SoftmaxCrossEntropy(),
            dataset.train_images[:images],
            dataset.train_labels[:images],
            settings,
            rng=rng,
            test=(dataset.test_images, dataset.test_labels),
            on_batch=self._on_batch,
            on_epoch=self._on_epoch,
        )
        self.state, self._why = "stopped", ""
        self._images, self._seen = images, 0
        self._curve = Curve()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._watched = monotonic()
        self._thread: threading.Thread | None = None
        self._first = next(module for module in net if isinstance(module, Linear))
        self._weights = self._picture()

    def go(self) -> None:
        """Train from where it stands, in a thread."""
        with self._lock:
            if self.state in ("running", "done", "failed"):
                return
            if self._thread:
                self._thread.join()  # it has told its state, and ends
            self._thread = threading.Thread(target=self._train, daemon=True)
            self.state, self._watched = "running", monotonic()
            self._stop.clear()
            self._thread.start()

    def stop(self) -> None:
        """End between two steps, and wait for that; `go` goes on."""
        with self._lock:  # not while `go` starts the thread
            self._stop.set()
            thread = self._thread
        if thread:
            thread.join()

    def slow_down(self, pause: Any) -> None:
        """Wait so many seconds several times a second."""
        self.pause = _pause(pause)

    def told(self) -> dict[str, Any]:
        """Return where it stands, its curve, epochs and weights, as JSON has them."""
        self._watched = monotonic()
        with self._lock:
            return {
                "state": self.state,
                "why": self._why,
                "asked": self.asked,
                "epoch": self.training.epoch,
                "batch": self._seen,
                "batches": -(-self._images // self._size),
                "curve": self._curve.told(),
                "epochs": [asdict(epoch) for epoch in self.training.history],
                "weights": self._weights,
            }

    def _train(self) -> None:
        state, why = "failed", "the page's server made a mistake: the terminal tells which"
        try:
            self.training.run()
            state, why = "done", ""
        except Stopped as stopped:
            state, why = "stopped", str(stopped)
        except DivergedError as error:
            state, why = "failed", f"{error}: the rate is too high"
        except MemoryError:
            state, why = "failed", "there is not enough memory"
        finally:
            with self._lock:
                self.state, self._why = state, why
                self._weights = self._picture()

    def _on_batch(self, epoch: int, batch: int, loss: float) -> None:
        history = self.training.arrays()["epoch.history"]
        with self._lock:
            first = self._seen if self._seen < batch else 0  # a new epoch has begun
            sizes = np.full((batch - first, 1), float(self._size))
            if batch == len(history):
                sizes[-1] = self._images - (batch - 1) * self._size
            self._curve.add(history[first:batch] / sizes)
            self._seen = batch
            self._weights = self._picture()
        if self._stop.wait(self.pause):
            raise Stopped("")
        if monotonic() - self._watched > UNWATCHED:
            raise Stopped("nobody was watching")

    def _on_epoch(self, epoch: Epoch) -> None:
        self._seen = 0

    def _picture(self) -> dict[str, Any]:
        """Return the weights of the first units, as bytes around 128, and the largest of them."""
        w = self._first.w[:, :PICTURES].T
        largest = float(np.abs(w).max()) or 1.0
        if not np.isfinite(largest):
            return {"units": 0, "largest": 0.0, "levels": ""}
        levels = np.rint(128 + 127 * (w / largest)).astype(np.uint8)
        text = base64.b64encode(levels.tobytes()).decode()
        return {"units": len(w), "largest": largest, "levels": text}


class Runs:
    """The two runs of the page.

    Parameters
    ----------
    dataset : Dataset
        What they train on; also an attribute.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._runs: dict[str, Run] = {}
        self._lock = threading.Lock()

    def start(self, name: str, asked: dict[str, Any]) -> Run:
        """Begin a run in the place of another, which may not be running."""
        _expect_name(name)
        with self._lock:
            before = self._runs.get(name)
            if before and before.state == "running":
                raise BusyError(f"run {name} is still running: stop it first")
            run = self._runs[name] = Run(asked, self.dataset)
            run.go()
            return run

    def find(self, name: str) -> Run:
        """Return a run by its name."""
        _expect_name(name)
        if name not in self._runs:
            raise UnknownRunError(f"run {name} was not started")
        return self._runs[name]

    def names(self) -> list[str]:
        """Return those that there are."""
        return sorted(self._runs)


def _expect_name(name: str) -> None:
    if name not in NAMES:
        raise UnknownRunError(f"there is no run {shortened(name)}: there are {' and '.join(NAMES)}")


def _integer(name: str, value: Any, lowest: int, highest: int) -> int:
    if type(value) is not int or not lowest <= value <= highest:
        bounds = f"from {lowest} to {highest}"
        raise ValueError(f"{name} must be an integer {bounds}, not {shortened(value)}")
    return value


def _pause(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 2:
        raise ValueError(f"pause must be 0 to 2 seconds, not {shortened(value)}")
    return float(value)
