"""Classification: scikit-learn's MLPClassifier, on these kernels."""

from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    type_of_target,
    unique_labels,
)

from jitprop import kernels
from jitprop.estimators.multilayer import MultilayerPerceptron, is_stochastic
from jitprop.estimators.task import Task
from jitprop.layers import Loss, SigmoidCrossEntropy, SoftmaxCrossEntropy
from jitprop.training.examples import Array

KINDS = ("binary", "multiclass", "multilabel-indicator", "multiclass-multioutput")


class MLPClassifier(ClassifierMixin, MultilayerPerceptron):
    """A classifier for tables: a network that gives the probability of each class, or label.

    Parameters
    ----------
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
    class_weight : dict, "balanced" or None
        How much rows of a class count: {label: weight}; "balanced" lets all classes count alike.
    label_smoothing : float
        Share of the target, from 0 to 1, that all classes get in equal parts; the label gets the
        rest.

    Attributes
    ----------
    classes_ : array
        The labels, in the order of `predict_proba`.
    network_ : Module
        The network. `jitprop.save` and `jitprop.to_onnx` take it, too.
    coefs_, intercepts_ : list of arrays
        Weights (fan_in, fan_out) and biases (fan_out,) of each layer: the network's own arrays.
    loss_, best_loss_ : float
        The loss of the last epoch, and the least loss; with early stopping, the latter is None.
    loss_curve_ : list of float
        The loss of each epoch with the penalty, summed while the batches are learned.
    validation_scores_, best_validation_score_ : list of float, float
        With early stopping: the accuracy after each epoch; else None.
    validation_loss_curve_ : list of float
        The loss after each epoch on the held-out rows, or on `fit`'s `validation`.
    n_iter_, t_ : int
        Epochs of the last `fit`; rows learned in all.
    n_layers_, n_outputs_ : int
        Layers, including inputs and outputs; outputs.
    out_activation_ : str
        "softmax"; for two classes and for several labels "logistic".
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
    >>> from sklearn.datasets import load_iris
    >>> from jitprop import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> MLPClassifier(max_iter=400, random_state=0).fit(X, y).score(X, y) > 0.95
    True
    """

    _splits_by_class = True
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **MultilayerPerceptron._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
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
        class_weight=None,
        label_smoothing=0.0,
    ) -> None:
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
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing

    @available_if(is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one epoch on a part of a table, from where training stands.

        Parameters
        ----------
        X, y, sample_weight : arrays
            As for `fit`.
        classes : (n_classes,) or None
            All classes that will ever come, for the first call.

        Returns
        -------
        self
            The estimator.

        Raises
        ------
        ValueError
            As for `fit`; or the first call names no classes.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all data at once, as fit has them; give partial_fit "
                "class_weight={label: weight, ...}"
            )
        _check_partial_fit_first_call(self, classes)
        return self._fit(X, y, sample_weight, None, incremental=True)

    def predict(self, X: Any) -> Array:
        """Return the class of each row; for several labels, 0 or 1 for each label.

        Parameters
        ----------
        X : (n_samples, n_features) array, data frame or sparse matrix

        Returns
        -------
        (n_samples,) of `classes_`, or (n_samples, n_labels) int64
        """
        return self._decoded(self._numbers(self._outputs(X)))

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, or of each label on its own.

        Parameters
        ----------
        X : (n_samples, n_features) array, data frame or sparse matrix

        Returns
        -------
        (n_samples, n_classes) array of the network's dtype
            Columns are in the order of `classes_`.
        """
        return self._probabilities(self._outputs(X))

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of the probabilities; they are finite even where these are 0.

        Parameters
        ----------
        X : (n_samples, n_features) array, data frame or sparse matrix

        Returns
        -------
        (n_samples, n_classes) array of the network's dtype
        """
        z = self._outputs(X)
        if not self._multilabel:
            return _of_rows(kernels.log_softmax_fprop, self._logits(z))
        # log(sigmoid(z)) is the second log softmax of the logits 0 and z.
        pairs = np.stack([np.zeros_like(z), z], axis=-1).reshape(-1, 2)
        return _of_rows(kernels.log_softmax_fprop, pairs)[:, 1].reshape(z.shape)

    def _probabilities(self, z: Array) -> Array:
        if self._multilabel:
            return _of_rows(kernels.sigmoid_fprop, z)
        return _of_rows(kernels.softmax_fprop, self._logits(z))

    def _logits(self, z: Array) -> Array:
        """Return a logit for each class."""
        if len(self.classes_) == 1:
            return np.zeros_like(z)
        return np.hstack([np.zeros_like(z), z]) if z.shape[1] == 1 else z

    def _numbers(self, z: Array) -> Array:
        """Return classes as `_encoded` numbers them."""
        p = self._probabilities(z)
        return (p > 0.5).astype(np.int64) if self._multilabel else p.argmax(axis=1)

    def _decoded(self, y: Array) -> Array:
        return y if self._multilabel else self.classes_[y]

    @property
    def out_activation_(self) -> str:
        """The function after the last layer: "softmax", or "logistic"."""
        self._network()
        return "logistic" if self._multilabel or len(self.classes_) <= 2 else "softmax"

    def _encoded(self, y: Any, first: bool, incremental: bool) -> Array:
        kind = type_of_target(y, input_name="y")
        if kind not in KINDS:
            check_classification_targets(y)  # says what is wrong with it
        if kind == "multiclass-multioutput":
            raise ValueError("Multioutput target data is not supported with label binarization")
        several = kind == "multilabel-indicator"
        if first:
            self._multilabel = several
        elif several != self._multilabel:
            raise ValueError("y has several labels a row, or had them when training began")
        if several:
            return self._encoded_labels(y, first)
        if first and not (incremental and hasattr(self, "classes_")):
            self.classes_ = _unique(y)
        else:
            self._check_classes(_unique(y), incremental)
        self.n_outputs_ = len(self.classes_) if len(self.classes_) > 2 else 1
        return np.searchsorted(self.classes_, y).astype(np.int64)

    def _encoded_labels(self, y: Any, first: bool) -> Array:
        if first:
            self.classes_ = np.arange(y.shape[1])
            self.n_outputs_ = y.shape[1]
        elif y.shape[1] != self.n_outputs_:
            raise ValueError(f"y has {y.shape[1]} labels, the network gives {self.n_outputs_}")
        y = y.toarray() if hasattr(y, "toarray") else y
        return (y != 0).astype(np.int64)

    def _check_classes(self, classes: Array, incremental: bool) -> None:
        if not incremental and set(classes) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {classes}"
            )
        if set(classes) - set(self.classes_):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {classes}."
            )

    def _targets(self, y: Array, dtype: Any) -> Array:
        if self.out_activation_ == "softmax":
            return y
        smoothing = self.label_smoothing
        t = y.reshape(len(y), -1) * (1 - smoothing) + smoothing / 2
        return np.ascontiguousarray(t, dtype)

    def _loss(self) -> tuple[Loss, float, float]:
        if self.out_activation_ == "softmax":
            return SoftmaxCrossEntropy(float(self.label_smoothing)), 1.0, 1.0
        return SigmoidCrossEntropy(), 1.0, 1.0

    def _score_of(self, task: Task) -> float:
        z = self._ask(task.x)
        if not np.isfinite(z).all():
            return np.nan
        hits = self._numbers(z) == task.y
        hits = hits.all(axis=1) if hits.ndim == 2 else hits
        return float(np.average(hits, weights=task.weights))

    def _weighted(self, y: Array, weights: Array | None) -> Array | None:
        if self.class_weight is None:
            return weights
        if self._multilabel:
            raise ValueError(
                "class_weight is for one class a row; with several labels, give sample_weight"
            )
        ones = np.ones(len(y)) if weights is None else weights
        counts = np.bincount(y, ones, minlength=len(self.classes_))
        if self.class_weight == "balanced":
            with np.errstate(divide="ignore"):
                factors = counts.sum() / (np.count_nonzero(counts) * counts)
        else:
            factors = _factors(self.class_weight, self.classes_)
        return ones * factors[y]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _unique(y: Array) -> Array:
    """Return each label once; for objects of several kinds, scikit-learn explains the error."""
    return unique_labels(y) if y.dtype == object else np.unique(y)


def _of_rows(kernel: Any, z: Array) -> Array:
    out = np.empty_like(z, order="C")
    kernel(np.ascontiguousarray(z), out)
    return out


def _factors(given: dict[Any, float], classes: Array) -> Array:
    """Return the weight of each class; 1 for one that is not given."""
    known = [label for label in classes if label in given]
    if len(known) < len(classes) and len(known) < len(given):
        missing = [label for label in classes.tolist() if label not in given]
        strange = [label for label in given if label not in classes.tolist()]
        raise ValueError(
            f"The classes, {missing}, are not in class_weight, whose {strange} are no classes"
        )
    for label, weight in given.items():
        if not (isinstance(weight, Real) and 0 <= weight < np.inf):
            raise ValueError(
                f"class_weight[{label!r}] is {weight!r}, expected a number of at least 0"
            )
    return np.array([float(given.get(label, 1.0)) for label in classes])
