"""A process that fits tables with one library: `python -m perf.fitters LIBRARY THREADS DTYPE`.

It reads pickled requests from stdin and answers on stdout, as `perf.worker` does:

    ("prepare", x, y, hidden, batch, epochs)
        keep the table, float32 and classes 0, 1, ..., and fit a network with hidden layers of
        these widths, which compiles if needed; the answer is the class that it gives each row
    ("measure",)
        the answer is the seconds of a whole fit, from arrays of NumPy to a trained network
    ("release",)
        forget the table

Hidden layers end in ReLU. The rule is Adam with a rate of 0.001. Each epoch has a new order, and no
rule ends training before the last epoch. All else is each library's default.
"""

import gc
import importlib
import sys
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from perf import trainers, worker
from perf.providers import OURS

RATE = 0.001
Classes = Callable[[np.ndarray], np.ndarray]  # the classes that a trained network gives to rows


def estimated(kind: Any, x, y, hidden, batch: int, epochs: int) -> Classes:
    """Fit an estimator like those of scikit-learn."""
    net = kind(
        hidden,
        solver="adam",
        batch_size=batch,
        learning_rate_init=RATE,
        max_iter=epochs,
        tol=0.0,
        n_iter_no_change=np.inf,
        random_state=0,
    ).fit(x, y)
    if net.n_iter_ != epochs:
        raise RuntimeError(f"{net.n_iter_} epochs, expected {epochs}")
    return net.predict


class Jitprop(worker.Jitprop):
    """Ours."""

    def fit(self, *table: Any) -> Classes:
        from jitprop import MLPClassifier

        return estimated(MLPClassifier, *table)


class Sklearn(trainers.Sklearn):
    def fit(self, *table: Any) -> Classes:
        from sklearn.neural_network import MLPClassifier

        return estimated(MLPClassifier, *table)


class Torch(worker.Torch):
    """As its users write it: a DataLoader, and the loop."""

    def fit(self, x, y, hidden, batch: int, epochs: int) -> Classes:
        torch = self.library
        from torch.utils.data import DataLoader, TensorDataset

        torch.manual_seed(0)
        outputs = outputs_of(y)
        net = self.sequential([x.shape[1], *hidden, outputs])
        targets = y if outputs > 1 else y.astype(np.float32)[:, None]
        table = TensorDataset(torch.from_numpy(x), torch.from_numpy(targets))
        loader = DataLoader(table, batch_size=batch, shuffle=True)
        loss = torch.nn.CrossEntropyLoss() if outputs > 1 else torch.nn.BCEWithLogitsLoss()
        optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
        for _ in range(epochs):
            for rows, wanted in loader:
                optimizer.zero_grad()
                loss(net(rows), wanted).backward()
                optimizer.step()

        def classes(x: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                z = net(torch.from_numpy(x)).numpy()
            return z.argmax(axis=1) if outputs > 1 else (z[:, 0] > 0).astype(np.int64)

        return classes

    def sequential(self, widths: list[int]) -> Any:
        nn = self.library.nn
        modules: list[Any] = []
        for fan_in, fan_out in pairwise(widths):
            modules += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        return nn.Sequential(*modules[:-1])


class Skorch(Torch):
    """skorch's classifiers, which learn from all rows."""

    def __init__(self, threads: int):
        super().__init__(threads)
        self.skorch = importlib.import_module("skorch")

    def describe(self) -> str:
        return f"skorch {self.skorch.__version__} ({super().describe()})"

    def fit(self, x, y, hidden, batch: int, epochs: int) -> Classes:
        torch = self.library
        torch.manual_seed(0)
        outputs = outputs_of(y)
        several = {"criterion": torch.nn.CrossEntropyLoss} if outputs > 1 else {}
        name = "NeuralNetClassifier" if outputs > 1 else "NeuralNetBinaryClassifier"
        net = getattr(self.skorch, name)(
            self.sequential,
            module__widths=[x.shape[1], *hidden, outputs],
            optimizer=torch.optim.Adam,
            lr=RATE,
            max_epochs=epochs,
            batch_size=batch,
            iterator_train__shuffle=True,
            train_split=None,
            verbose=0,
            **several,
        )
        return net.fit(x, y if outputs > 1 else y.astype(np.float32)).predict


LIBRARIES: dict[str, Any] = {OURS: Jitprop, "sklearn": Sklearn, "torch": Torch, "skorch": Skorch}


def outputs_of(y: np.ndarray) -> int:
    """One output for two classes, else one for each class."""
    found = int(y.max()) + 1
    return found if found > 2 else 1


def answer(library: Any, table: list, request: tuple) -> Any:
    kind, *arguments = request
    if kind != "measure":
        table[:] = arguments
    gc.collect()  # no collection while the clock runs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # max_iter is meant to end training
        if kind == "prepare":
            return np.asarray(library.fit(*table)(table[0]))
        if kind == "measure":
            start = time.perf_counter()
            library.fit(*table)
            return time.perf_counter() - start
    return None


def main() -> None:
    name, threads = sys.argv[1], int(sys.argv[2])
    table: list = []
    worker.serve(
        lambda: LIBRARIES[name](threads), lambda library, request: answer(library, table, request)
    )


if __name__ == "__main__":
    main()
