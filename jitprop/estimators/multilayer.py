"""What the classifier and the regressor share: from a table to a network, and to its answers."""

from abc import abstractmethod
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from jitprop.estimators import networks
from jitprop.estimators.descent import descend
from jitprop.estimators.hooks import Hooks
from jitprop.estimators.quasi_newton import approach
from jitprop.estimators.task import Task, as_pixels
from jitprop.layers import Loss, Module
from jitprop.training.asking import Predictor
from jitprop.training.examples import Array, dtype_of

LEAST_WEIGHT = 2.0**-99  # times the largest weight: a row with less counts as absent
LEAST_TOTAL = 1e-300  # of all weights: a larger total has a reciprocal
STOCHASTIC = ("sgd", "adam", "adamw")


def is_stochastic(mlp: Any) -> bool:
    """Whether an estimator has epochs; if not, say what it lacks."""
    if mlp.solver not in STOCHASTIC:
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {mlp.solver} is not "
            "stochastic."
        )
    return True


class MultilayerPerceptron(CallbackSupportMixin, BaseEstimator):
    """A network of layers on a table. `MLPClassifier` and `MLPRegressor` have the docstrings."""

    _splits_by_class = _y_numeric = False
    network_: Module

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(networks.ACTIVATIONS))],
        "solver": [StrOptions({"lbfgs", *STOCHASTIC})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [
            StrOptions({"constant", "invscaling", "adaptive", "linear", "cosine", "step"})
        ],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "warmup": [Interval(Real, 0, None, closed="left")],
        "step_size": [Interval(Integral, 1, None, closed="left")],
        "gamma": [Interval(Real, 0, 1, closed="right")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "restore_best": ["boolean"],
        "callbacks": [callable, list, tuple, None],
        "network": [callable, None],
        "dtype": [StrOptions({"float32", "float64"})],
    }

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation: Any = None) -> Self:
        """Train on a table.

        Parameters
        ----------
        X : (n_samples, n_features) array, data frame or sparse matrix
            Rows to learn from.
        y : (n_samples,) or (n_samples, n_outputs)
            Class labels of any kind; for several labels at once, a column of 0 and 1 for each;
            for a regression, numbers.
        sample_weight : (n_samples,) of numbers, or None
            How much each row counts, at least 0. A row with weight 0 counts as absent.
        validation : pair (X, y), or triple with weights, or None
            The data for `validation_loss_curve_` and, with `early_stopping`, for the scores.

        Returns
        -------
        self
            The estimator, trained.

        Raises
        ------
        ValueError, TypeError
            A parameter or the data make no sense, or training leads to numbers that are not finite.
        """
        return self._fit(X, y, sample_weight, validation, incremental=False)

    @available_if(is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch on a part of a table, from where training stands.

        Parameters
        ----------
        X, y, sample_weight : arrays
            As for `fit`.

        Returns
        -------
        self
            The estimator.
        """
        return self._fit(X, y, sample_weight, None, incremental=True)

    def _fit(self, X: Any, y: Any, sample_weight: Any, validation: Any, incremental: bool) -> Self:
        self._check_choices(validation, incremental)
        first = not hasattr(self, "network_") or not (self.warm_start or incremental)
        wide = self.dtype == "float64" or self.solver == "lbfgs"
        dtype = np.dtype(np.float64 if wide else np.float32)
        # A person's network may have either dtype: nobody knows before it is made.
        either: Any = dtype if self.network is None else [np.float64, np.float32]
        X, y = self._validated(X, y, either, first)
        y = self._encoded(y, first, incremental)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        X, y, sample_weight = _present(X, y, sample_weight)
        X, y, sample_weight = _present(X, y, self._weighted(y, sample_weight))
        self._random_state = check_random_state(self.random_state)
        self._make_network(X.shape[1], dtype, first)
        table = X if incremental else as_pixels(X)
        task = self._task(table, y, sample_weight)
        others = None if validation is None else self._others(validation)
        self._ask = Predictor(self.network_)
        hooks = Hooks(self, X, y)
        if self.solver == "lbfgs":
            approach(self, task, hooks)
            if self.dtype == "float32" and self.network is None:
                self.network_ = networks.rounded(self.network_, np.float32)
                self._ask = Predictor(self.network_)
        else:
            descend(self, task, others, incremental, hooks)
        hooks.close()
        return self

    def _check_choices(self, validation: Any, incremental: bool) -> None:
        """Refuse parameters that do not go together."""
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if self.restore_best and not self.early_stopping and validation is None:
            raise ValueError(
                "restore_best=True needs early_stopping=True or fit(..., validation=(X, y))"
            )
        if self.solver == "lbfgs" and self.dropout:
            raise ValueError(
                "dropout is for solvers with batches, such as solver='adam': lbfgs needs the same "
                "loss each time"
            )
        if self.solver == "lbfgs" and validation is not None:
            raise ValueError(
                "validation is for solvers with epochs, such as solver='adam', not for 'lbfgs'"
            )
        if np.any(np.array(self._hidden()) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {self._hidden()}.")

    def _hidden(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        return [*sizes] if hasattr(sizes, "__iter__") else [sizes]

    def _validated(self, X: Any, y: Any, dtype: Any, first: bool) -> tuple[Any, Any]:
        """Return a table and its targets, checked as scikit-learn checks them."""
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # numbers too large for float32 are refused, as infinity is
            X, y = validate_data(
                self,
                X,
                y,
                accept_sparse="csr",
                multi_output=True,
                y_numeric=self._y_numeric,
                dtype=dtype,
                order="C",
                reset=first,
            )
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _make_network(self, n_features: int, dtype: Any, first: bool) -> None:
        """Make the network, of this dtype, and begin its counts; or check the present one."""
        widths = [n_features, *self._hidden(), self.n_outputs_]
        layers = f"activation={self.activation!r} and dropout={self.dropout}"
        made = layers if self.network is None else "a function, network="
        if first:
            self.t_ = 0
            self.loss_curve_: list[float] = []
            if self.network is not None:
                self.network_ = networks.own(
                    self.network,
                    n_features,
                    self.n_outputs_,
                    self._random_state,
                    classes=hasattr(self, "classes_"),
                )
            else:
                self.network_ = networks.multilayer(
                    widths, self.activation, self._random_state, dtype, self.dropout
                )
            self._made = made
            self.validation_loss_curve_: list[float] = []
        elif self._made != made:
            raise ValueError(
                f"the network was made with {self._made}, now asked for is {made}: fit with "
                "warm_start=False begins anew"
            )
        elif self.network is None:
            found = [n_features, *(len(b) for b in self.intercepts_)]
            if found != widths:
                raise ValueError(
                    f"the network has layers of {found}, hidden_layer_sizes and the data ask for "
                    f"{widths}: fit with warm_start=False begins anew"
                )
            if dtype_of(self.network_) != dtype:
                self.network_ = networks.rounded(self.network_, dtype)
        if first or self.early_stopping == (self.validation_scores_ is None):
            self._no_improvement_count = 0
            self.validation_scores_: list[float] | None = [] if self.early_stopping else None
            self.best_validation_score_ = -np.inf if self.early_stopping else None
            self.best_loss_ = None if self.early_stopping else np.inf
        if dtype_of(self.network_) != np.float64 and self.solver == "lbfgs":
            raise ValueError(
                "solver='lbfgs' computes in float64: let network= make its modules with "
                "dtype='float64'"
            )

    def _task(self, X: Any, y: Array, weights: Array | None) -> Task:
        """Return what the network learns."""
        dtype = dtype_of(self.network_)
        loss, gain, factor = self._loss()
        with np.errstate(over="ignore"):
            X = X if X.dtype in (dtype, np.uint8) else X.astype(dtype)
        return Task(self.network_, loss, gain, factor, X, self._targets(y, dtype), weights, y)

    def _others(self, validation: Any) -> Task:
        """Return the task for a person's `validation`."""
        if not isinstance(validation, tuple | list) or len(validation) not in (2, 3):
            raise TypeError("validation must be a pair (X, y), or a triple with weights")
        dtype = dtype_of(self.network_)
        X, y = self._validated(validation[0], validation[1], dtype, False)
        weights = validation[2] if len(validation) == 3 else None
        if weights is not None:
            weights = _check_sample_weight(weights, X, dtype=np.float64, ensure_non_negative=True)
        return self._task(X, self._encoded(y, False, True), weights)

    def _outputs(self, X: Any) -> Array:
        """Return the outputs of the network for a person's table."""
        check_is_fitted(self)
        with np.errstate(over="ignore", invalid="ignore"):
            X = validate_data(
                self,
                X,
                accept_sparse="csr",
                dtype=dtype_of(self.network_),
                order="C",
                reset=False,
            )
        return self._ask(X)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out objects that are bound to the arrays of this network."""
        bound = ("_ask", "_descent")
        return {n: v for n, v in super().__getstate__().items() if n not in bound}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "network_"):
            self._ask = Predictor(self.network_)

    @property
    def coefs_(self) -> list[Array]:
        """Weights of each layer, (fan_in, fan_out): the network's own arrays."""
        return networks.weights(self._network())

    @coefs_.setter
    def coefs_(self, values: Any) -> None:
        networks.put("coefs_", networks.weights(self._network()), values)

    @property
    def intercepts_(self) -> list[Array]:
        """Biases of each layer, (fan_out,): the network's own arrays."""
        return networks.intercepts(self._network())

    @intercepts_.setter
    def intercepts_(self, values: Any) -> None:
        networks.put("intercepts_", networks.intercepts(self._network()), values)

    @property
    def n_layers_(self) -> int:
        """Layers, including those of the inputs and the outputs."""
        return len(self.coefs_) + 1

    def _network(self) -> Module:
        try:
            return self.network_
        except AttributeError:
            raise AttributeError(f"this {type(self).__name__} is not fitted yet") from None

    @abstractmethod
    def _encoded(self, y: Array, first: bool, incremental: bool) -> Array:
        """Return targets as numbers: classes 0, 1, ..., or as they are; note the outputs."""

    @abstractmethod
    def _targets(self, y: Array, dtype: Any) -> Array:
        """Return such numbers in the form that the loss takes."""

    @abstractmethod
    def _loss(self) -> tuple[Loss, float, float]:
        """Return the loss, and how much smaller its gradient and its value are: see `Task`."""

    @abstractmethod
    def _score_of(self, task: Task) -> float:
        """Return how well the network does, for early stopping."""

    def _decoded(self, y: Array) -> Array:
        """Return targets as a person gives them, from numbers of `_encoded`."""
        return y

    def _weighted(self, y: Array, weights: Array | None) -> Array | None:
        """Return how much each row counts, including the weight of its class."""
        return weights

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _present(X: Any, y: Array, weights: Array | None) -> tuple[Any, Array, Array | None]:
    """Return the rows that do not count as absent, and their weights."""
    if weights is None:
        return X, y, None
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not LEAST_TOTAL <= total < np.inf:
        raise ValueError(
            f"the weights of the rows add up to {total:g}, expected at least {LEAST_TOTAL:g} and "
            "less than infinity"
        )
    rows = np.flatnonzero(weights > LEAST_WEIGHT * weights.max())
    return (X, y, weights) if len(rows) == len(y) else (X[rows], y[rows], weights[rows])
