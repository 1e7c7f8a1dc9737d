"""How well networks learn tables: scikit-learn's classes and ours on the same folds.

With the same `random_state` both begin with the same weights and see the same orders. So only
rounding differs: scikit-learn computes in float64, ours in float32.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn import datasets, neural_network
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import jitprop
from perf import report

FOLDS, REPEATS = 5, 2
COLUMNS = (
    "table", "score", "solver", "folds", "sklearn", "sklearn_error", "ours", "ours_error",
    "difference", "difference_error", "verdict", "version", "cpu", "instructions", "python",
    "numpy", "commit", "date",
)  # fmt: skip
SOLVERS: dict[str, dict[str, Any]] = {
    "sgd": {"learning_rate_init": 0.02, "momentum": 0.9, "max_iter": 300},
    "adam": {"max_iter": 300},
    "lbfgs": {"max_iter": 100},
}


@dataclass(frozen=True)
class Table:
    """A table that scikit-learn ships or makes; a row has a class, several labels or a number."""

    name: str
    make: Callable[[], tuple[np.ndarray, np.ndarray]]
    target: str = "class"

    @property
    def score(self) -> str:
        return "R^2" if self.target == "number" else "accuracy"


def shipped(name: str, target: str = "class") -> Table:
    return Table(name, partial(getattr(datasets, f"load_{name}"), return_X_y=True), target)


def made(kind: str, *more: Any, target: str = "class", **arguments: Any) -> Table:
    """A table that scikit-learn's `make_` of this kind makes from `arguments`; `more` names it."""
    name = " ".join(map(str, (kind, *more)))
    return Table(
        name, partial(getattr(datasets, f"make_{kind}"), random_state=0, **arguments), target
    )


def classes(count: int, rows: int, **arguments: Any) -> Table:
    return made("classification", count, n_classes=count, n_samples=rows, **arguments)


TABLES = (
    shipped("iris"),
    shipped("wine"),
    shipped("breast_cancer"),
    shipped("digits"),
    made("moons", n_samples=500, noise=0.3),
    made("circles", n_samples=500, noise=0.15, factor=0.6),
    classes(2, 500, n_informative=5, flip_y=0.05),
    classes(5, 800, n_informative=8),
    classes(20, 1000, n_informative=12, n_clusters_per_class=1),
    shipped("diabetes", target="number"),
    made("friedman1", n_samples=500, noise=1.0, target="number"),
    made("friedman2", n_samples=500, noise=100.0, target="number"),
    made("friedman3", n_samples=500, noise=0.1, target="number"),
    made("regression", n_samples=500, n_features=20, noise=20.0, target="number"),
    made("multilabel_classification", n_samples=500, n_classes=4, target="labels"),
)
QUICK = ("iris adam", "friedman1 adam")
CASES = {f"{table.name} {solver}": (table, solver) for table in TABLES for solver in SOLVERS}


@dataclass(frozen=True)
class Scored:
    """The score of each fold: accuracy, or R^2."""

    table: Table
    solver: str
    theirs: np.ndarray
    ours: np.ndarray

    @property
    def where(self) -> str:
        return f"{self.table.name} {self.solver}"

    @property
    def over_error(self) -> float:
        """How far our mean is above scikit-learn's, in standard errors of the latter."""
        above, (_, error) = float((self.ours - self.theirs).mean()), mean(self.theirs)
        return above / error if error else math.copysign(math.inf, above) if above else 0.0

    @property
    def verdict(self) -> str:
        return "within" if self.over_error >= -1 else "below"


def mean(values: np.ndarray) -> tuple[float, float]:
    """The mean of some folds, and its standard error as if folds were independent."""
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def estimator(kinds: Any, table: Table, solver: str) -> Any:
    """A network of `kinds`, scikit-learn's module or ours, on columns of mean 0 and deviation 1."""
    numbers = table.target == "number"
    kind = kinds.MLPRegressor if numbers else kinds.MLPClassifier
    chain = make_pipeline(StandardScaler(), kind(solver=solver, random_state=0, **SOLVERS[solver]))
    return TransformedTargetRegressor(chain, transformer=StandardScaler()) if numbers else chain


def measure(table: Table, solver: str, folds: int = FOLDS, repeats: int = REPEATS) -> Scored:
    """Both scores of each fold."""
    x, y = table.make()
    kind = RepeatedStratifiedKFold if table.target == "class" else RepeatedKFold
    split = kind(n_splits=folds, n_repeats=repeats, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # max_iter ends both
        theirs, ours = (
            cross_val_score(estimator(kinds, table, solver), x, y, cv=split, error_score="raise")
            for kinds in (neural_network, jitprop)
        )
    return Scored(table, solver, theirs, ours)


HEADER = (
    f"{'table':27}{'solver':7}{'score':9}{'scikit-learn':>17}{'ours':>18}{'difference':>20}"
    "  verdict"
)


def line(row: Scored) -> str:
    theirs, ours = ("{:.4f} +- {:.4f}".format(*mean(scores)) for scores in (row.theirs, row.ours))
    apart = "{:+.4f} +- {:.4f}".format(*mean(row.ours - row.theirs))
    return (
        f"{row.table.name:27}{row.solver:7}{row.table.score:9}{theirs:>17}{ours:>18}{apart:>20}  "
        f"{row.verdict}"
    )


def records(rows: Sequence[Scored], version: str, instructions: str) -> Iterator[dict[str, object]]:
    run = report.circumstances(instructions)
    for row in rows:
        values = [*mean(row.theirs), *mean(row.ours), *mean(row.ours - row.theirs)]
        yield {
            "table": row.table.name,
            "score": row.table.score,
            "solver": row.solver,
            "folds": len(row.ours),
            **dict(zip(COLUMNS[4:10], map(report.digits, values), strict=True)),
            "verdict": row.verdict,
            "version": version,
            **run,
        }
