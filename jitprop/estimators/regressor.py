"""Regression of numbers: scikit-learn's MLPRegressor, on these kernels."""

from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import assert_all_finite
from sklearn.utils._param_validation import StrOptions

from jitprop.estimators.multilayer import MultilayerPerceptron
from jitprop.estimators.task import Task
from jitprop.layers import Loss, MeanSquaredError, PoissonLoss
from jitprop.training.examples import Array


class MLPRegressor(RegressorMixin, MultilayerPerceptron):
    """A regression for tables: a network that gives one number, or several, for each row.

    Parameters
    ----------
    loss : str
        "squared_error", half the squared error; or "poisson", for counts and other numbers of at
        least 0: then the network gives their logarithm.
    hidden_layer_sizes : int or sequence of int
        Widths of the hidden layers.
    activation : str
        After each hidden layer: "identity", "logistic" (the sigmoid), "tanh" or "relu".
    solver : str
        "adam", "sgd", "adamw", or "lbfgs" (SciPy's L-BFGS-B, on all rows at once, in float64).
    alpha : float
        Strength of the penalty alpha / 2 * sum of squared weights, divided by the rows of a batch.
        Not for adamw, which has `weight_decay` instead.
    batch_size : int or "auto"
        Rows of a batch; "auto" is 200, or all if there are fewer. Not for lbfgs.
    learning_rate : str
        How the rate changes. For sgd: "constant"; "invscaling" (learning_rate_init / t^power_t
        after each epoch, where t is the number of rows learned so far); "adaptive" (divided by 5
        whenever training would end, down to 1e-6). For sgd, adam and adamw: "linear" and "cosine",
        down to 0 at `max_iter`, and "step". See `jitprop.training.schedules`.
    learning_rate_init : float
        The rate; if it changes, the highest one.
    power_t : float
        Exponent of "invscaling".
    max_iter : int
        Epochs; for lbfgs iterations.
    shuffle : bool
        Whether each epoch has its own order.
    random_state : int, RandomState or None
        Draws the first weights, the set for early stopping and the orders, as scikit-learn draws
        them.
    tol : float
        How much the loss must fall to count as better; with early stopping, how much the score
        must rise.
    verbose : bool or int
        Whether to show a progress bar or, without a terminal, a line for each epoch.
    warm_start : bool
        Whether `fit` goes on from the present weights.
    momentum : float
        For sgd, from 0 to 1.
    nesterovs_momentum : bool
        Whether momentum is Nesterov's.
    early_stopping : bool
        Whether to end when the score on held-out rows has not become better for
        `n_iter_no_change` epochs, with the weights of the best epoch.
    validation_fraction : float
        Share of the rows to hold out for this, unless `fit` gets `validation`.
    beta_1, beta_2 : float
        For adam and adamw: how much a step keeps of the mean of the gradient, and of the mean of
        its square.
    epsilon : float
        For adam and adamw: added to the root of the mean square.
    n_iter_no_change : int
        How many epochs in a row may bring nothing better; after one more, training ends.
    max_fun : int
        For lbfgs: how often it computes the loss at most.
    weight_decay : float
        For adamw: each step takes rate * weight_decay * w off the weights.
    warmup : float
        Epochs, or a part of one, in which the rate rises from 0.
    step_size, gamma : int, float
        For the rate "step": it is multiplied by `gamma` every `step_size` epochs.
    dropout : float
        The probability that a number of a hidden layer is set to 0 in training.
    restore_best : bool
        Whether to end with the weights of the best epoch: the best loss on `fit`'s `validation`, or
        with early stopping the best score. `loss_` stays that of the last epoch.
    callbacks : function, list of functions, or None
        Each is called with a `jitprop.Epoch` after each epoch; training ends if one returns True.
    network : function or None
        Makes any network of this package instead of layers: `network(n_features, n_outputs, rng)`
        returns a Module that gives (batch, n_outputs) logits or numbers. Then
        `hidden_layer_sizes`, `activation`, `dropout` and `dtype` have no effect.
    dtype : str
        "float32" or "float64", for weights and all computing.

    Attributes
    ----------
    network_ : Module
        The network. `jitprop.save` and `jitprop.to_onnx` take it, too.
    coefs_, intercepts_ : list of arrays
        Weights (fan_in, fan_out) and biases (fan_out,) of each layer: the network's own arrays.
    loss_, best_loss_ : float
        The loss of the last epoch, and the least loss; with early stopping, the latter is None.
    loss_curve_ : list of float
        The loss of each epoch with the penalty, summed while the batches are learned.
    validation_scores_, best_validation_score_ : list of float, float
        With early stopping: R^2 after each epoch; else None.
    validation_loss_curve_ : list of float
        The loss after each epoch on the held-out rows, or on `fit`'s `validation`.
    n_iter_, t_ : int
        Epochs of the last `fit`; rows learned in all.
    n_layers_, n_outputs_ : int
        Layers, including inputs and outputs; outputs.
    out_activation_ : str
        "identity"; "exp" for the loss "poisson".
    n_features_in_, feature_names_in_ : int, array of str
        Columns, and their names if all of them are text.

    Notes
    -----
    Parameters, attributes and messages are those of scikit-learn's class of this name. So are the
    numbers: with dtype="float64" and the same `random_state`, weights and losses are equal except
    for rounding. The answer for a row has the same bits, whatever other rows there are.
    `set_callbacks` takes callbacks of scikit-learn's own kind.

    References
    ----------
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    2010. Kingma and Ba, "Adam", 2015. Loshchilov and Hutter, "Decoupled weight decay
    regularization", 2019. Srivastava et al., "Dropout", 2014.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from jitprop import MLPRegressor
    >>> X, y = make_friedman1(random_state=0)
    >>> MLPRegressor(solver="lbfgs", random_state=0).fit(X, y).score(X, y) > 0.9
    True
    """

    _y_numeric = True
    out_activation_: str
    _parameter_constraints: ClassVar[dict[str, Any]] = {
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
        if self.out_activation_ == "exp":
            with np.errstate(over="ignore"):
                z = np.exp(z)
        return z[:, 0] if z.shape[1] == 1 else z

    def _encoded(self, y: Array, first: bool, incremental: bool) -> Array:
        if hasattr(y, "toarray"):
            raise TypeError(
                "Sparse data was passed for y, but dense data is required. Use '.toarray()' to "
                "convert to a dense numpy array."
            )
        if y.dtype.kind not in "biuf":
            raise ValueError(f"y holds {y.dtype}, expected numbers")
        outputs = 1 if y.ndim == 1 else y.shape[1]
        if first:
            self.n_outputs_ = outputs
        elif outputs != self.n_outputs_:
            raise ValueError(f"y has {outputs} outputs, the network gives {self.n_outputs_}")
        if self.loss == "poisson" and y.min() < 0:
            raise ValueError(f"loss='poisson' takes y of at least 0, y holds {y.min():g}")
        function = "exp" if self.loss == "poisson" else "identity"
        if not first and function != self.out_activation_:
            raise ValueError(
                f"the network was trained for another loss than {self.loss!r}: fit with "
                "warm_start=False begins anew"
            )
        self.out_activation_ = function
        return y

    def _targets(self, y: Array, dtype: Any) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            t = np.ascontiguousarray(y, dtype).reshape(len(y), -1)
            assert_all_finite(t, input_name="y")
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
