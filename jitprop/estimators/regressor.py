"""Regression of numbers: scikit-learn's MLPRegressor, on these kernels."""

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import StrOptions

from jitprop.estimators.multilayer import MultilayerPerceptron
from jitprop.estimators.task import Task
from jitprop.layers import Loss, MeanSquaredError, PoissonLoss
from jitprop.training.examples import Array


class MLPRegressor(RegressorMixin, MultilayerPerceptron):
    """TODO."""

    _y_numeric = True
    _parameter_constraints: dict[str, Any] = {
        **MultilayerPerceptron._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    def __init__(
        self,
        loss="squared_error",
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        weight_decay=0.01,
        warmup=0.0,
        step_size=50,
        gamma=0.1,
        dropout=0.0,
        restore_best=False,
        callbacks=None,
        network=None,
        dtype="float32",
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.step_size = step_size
        self.gamma = gamma
        self.dropout = dropout
        self.restore_best = restore_best
        self.callbacks = callbacks
        self.network = network
        self.dtype = dtype

    def predict(self, X: Any) -> Array:
        """Return the numbers that the network gives.

        Parameters
        ----------
        X : (n_samples, n_features) array, data frame or sparse matrix

        Returns
        -------
        (n_samples,) or (n_samples, n_outputs) array of the network's dtype
        """
        return self._numbers(self._outputs(X))

    def _numbers(self, z: Array) -> Array:
        if self.loss == "poisson":
            with np.errstate(over="ignore"):
                z = np.exp(z)
        return z[:, 0] if z.shape[1] == 1 else z

    @property
    def out_activation_(self) -> str:
        """The function behind the last layer: "identity", or for the loss "poisson" "exp"."""
        self._network()
        return "exp" if self.loss == "poisson" else "identity"

    def _encoded(self, y: Array, first: bool, incremental: bool) -> Array:
        outputs = 1 if y.ndim == 1 else y.shape[1]
        if first:
            self.n_outputs_ = outputs
        elif outputs != self.n_outputs_:
            raise ValueError(f"y has {outputs} outputs, the network gives {self.n_outputs_}")
        if self.loss == "poisson" and y.min() < 0:
            raise ValueError(f"loss='poisson' takes y of at least 0, y holds {y.min():g}")
        return y

    def _targets(self, y: Array, dtype: Any) -> Array:
        with np.errstate(over="ignore"):
            t = np.ascontiguousarray(y, dtype).reshape(len(y), -1)
        if not np.isfinite(t).all():
            raise ValueError(f"Input y contains infinity or a value too large for {dtype!r}.")
        return t

    def _loss(self) -> tuple[Loss, float, float]:
        outputs = float(self.n_outputs_)
        if self.loss == "poisson":
            return PoissonLoss(), outputs, outputs
        return MeanSquaredError(), outputs / 2, 0.5

    def _score_of(self, task: Task) -> float:
        answers = self._numbers(self._ask(task.x))
        if not np.isfinite(answers).all():
            return np.nan
        return float(r2_score(task.y, answers, sample_weight=task.weights))
