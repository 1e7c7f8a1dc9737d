"""estimators/: what somebody may do in an unusual order, or with unusual data."""

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier as Theirs
from sklearn.preprocessing import StandardScaler

import jitprop
from jitprop import MLPClassifier, MLPRegressor
from jitprop.layers import Linear, Sequential, Softmax, Tanh

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, SPECIES = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
LINE = X @ [1.0, -2.0, 0.5, 1.5]
HOW = {"random_state": 0, "max_iter": 4, "hidden_layer_sizes": (6,)}


def test_alpha_changes_between_parts():
    """What was recorded without a penalty does not add one up."""
    models = Theirs(**HOW), MLPClassifier(dtype="float64", **HOW)
    for model in models:
        for alpha in (1e-2, 0, 1e-2):
            model.set_params(alpha=alpha).partial_fit(X, SPECIES, classes=[0, 1, 2])
    np.testing.assert_allclose(models[1].loss_curve_, models[0].loss_curve_, rtol=1e-12)


def test_parts_train_a_network_that_is_new():
    """Behind lbfgs and in another dtype, it is this one that moves, not the one before."""
    model = MLPClassifier(**HOW).fit(X, SPECIES)
    for change in ({"solver": "lbfgs"}, {"dtype": "float64"}, {"dtype": "float32"}):
        model.set_params(**change)
        if change == {"solver": "lbfgs"}:
            model.fit(X, SPECIES).set_params(solver="adam")
        before = model.coefs_[0].copy()
        model.partial_fit(X, SPECIES)
        assert np.abs(model.coefs_[0] - before).max() > 1e-4


def test_classes_of_no_weight_are_absent():
    for solver in ("adam", "lbfgs"):
        for little in (0, 1e-200):
            how = HOW | {"solver": solver}
            model = MLPClassifier(class_weight={1: little}, **how).fit(X, SPECIES)
            weights = (SPECIES != 1).astype(float)
            other = MLPClassifier(**how).fit(X, SPECIES, sample_weight=weights)
            assert all(map(np.array_equal, model.coefs_, other.coefs_))


@pytest.mark.parametrize("weight", [-1, np.nan, np.inf, "a", None])
def test_weights_of_classes_are_numbers(weight):
    with pytest.raises(ValueError, match=r"class_weight\[2\] is .*, expected a number"):
        MLPClassifier(class_weight={2: weight}, **HOW).fit(X, SPECIES)


@pytest.mark.parametrize("weight", [np.nan, np.inf, 1.7e308, 1e-320])
def test_weights_that_have_no_sum(weight):
    with pytest.raises(ValueError, match=r"weights of the rows add up to .*, expected at least"):
        MLPClassifier(**HOW).fit(X, SPECIES, sample_weight=weight)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_of_scikit_learn_score_as_a_person_does(solver):
    """With their own labels; and lbfgs may reach max_iter."""
    callback = pytest.importorskip("sklearn.callback")
    monitor = callback.ScoringMonitor(scoring="accuracy")
    names = np.array(["a", "b", "c"])[SPECIES]
    model = MLPClassifier(**HOW, solver=solver).set_callbacks(monitor).fit(X, names)
    assert model.n_iter_ == 4
    assert monitor.get_logs()
    seen = []

    class Last:
        def setup(self, estimator, context):
            seen.clear()

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
            seen.append(fitted_estimator.score(X, y))

    model.set_callbacks(Last()).fit(X, SPECIES + 5)
    assert seen[-1] == model.score(X, SPECIES + 5) > 0


def test_what_callbacks_return_and_change():
    """A comparison of NumPy numbers is no bool of Python; a rule stays as training began."""
    model = MLPClassifier(callbacks=lambda epoch: np.float64(1) > 0, **HOW)
    assert model.fit(X, SPECIES).n_iter_ == 1
    model.set_params(callbacks=lambda epoch: model.set_params(early_stopping=True))
    assert model.fit(X, SPECIES).n_iter_ == 4


def test_going_on_in_another_way():
    """Early stopping begins and ends; another network is refused, not ignored."""
    model = MLPClassifier(warm_start=True, **HOW).fit(X, SPECIES)
    assert len(model.set_params(early_stopping=True).fit(X, SPECIES).validation_scores_) == 4
    assert model.set_params(early_stopping=False).fit(X, SPECIES).best_loss_ < np.inf
    for change in ({"activation": "tanh"}, {"dropout": 0.5}, {"network": Linear}):
        other = MLPClassifier(warm_start=True, **HOW).fit(X, SPECIES).set_params(**change)
        for train in (other.fit, other.partial_fit):
            with pytest.raises(ValueError, match=r"made with activation='relu' and dropout=0\.0"):
                train(X, SPECIES)
    counts = MLPRegressor(**HOW).fit(X, abs(LINE)).set_params(loss="poisson")
    before = counts.predict(X)
    assert counts.out_activation_ == "identity"
    with pytest.raises(ValueError, match="trained for another loss than 'poisson'"):
        counts.partial_fit(X, abs(LINE))
    assert np.array_equal(counts.predict(X), before)


def test_a_function_that_gives_one_network_again():
    """Each fit begins with its weights, and leaves them."""
    net = Linear(4, 3, 0)
    before = net.w.copy()
    one, other = (MLPClassifier(network=lambda *_: net, **HOW).fit(X, SPECIES) for _ in range(2))
    assert np.array_equal(one.coefs_[0], other.coefs_[0])
    assert np.array_equal(net.w, before)


def test_a_network_of_float64_gets_all_digits():
    net = Linear(4, 3, 0, "float64")
    how = {"network": lambda *_: net, **HOW}
    for x in (X, sparse.csr_matrix(X)):
        one, other = (MLPClassifier(dtype=d, **how).fit(x, SPECIES) for d in ("float32", "float64"))
        assert np.array_equal(one.coefs_[0], other.coefs_[0])
    with pytest.raises(ValueError, match=r"x holds .*infinity"):
        MLPClassifier(network=lambda n, k, rng: Linear(n, k, rng), **HOW).fit(X * 1e300, SPECIES)


def test_a_network_with_nothing_to_learn():
    with pytest.raises(ValueError, match=r"returned Tanh\(\), which has nothing to learn"):
        MLPClassifier(network=lambda *_: Tanh(), **HOW).fit(X[:, :3], SPECIES)


def test_pixels_are_scored_as_they_are_learned(monkeypatch):
    """Whatever somebody said of the bytes that the network was given elsewhere."""
    net = Linear(64, 3, 0)
    net.pixels = False
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (200, 64)) * (rng.random((200, 64)) < 0.2) / 255
    found = []
    for least in (64, 10**6):
        monkeypatch.setattr("jitprop.estimators.task.PIXELS", least)
        model = MLPClassifier(network=lambda *_: net, early_stopping=True, **HOW)
        found.append(model.fit(x, np.arange(200) % 3).validation_scores_)
    assert found[0] == found[1]


def test_targets_that_make_no_sense():
    """One line says it."""
    for kind, y, error, match in (
        (MLPClassifier, np.stack([SPECIES, SPECIES], 1), ValueError, "Multioutput target data"),
        (MLPRegressor, sparse.csr_matrix(LINE[:, None]), TypeError, "Sparse data was passed for y"),
        (MLPRegressor, SPECIES.astype(str), ValueError, "y holds <U21, expected numbers"),
        (MLPRegressor, SPECIES.astype("M8[D]"), ValueError, "y holds datetime64"),
        (MLPRegressor, np.array([None, *SPECIES[1:]]), ValueError, "Input y contains NaN"),
        (MLPRegressor, LINE * 1e300, ValueError, "Input y contains infinity or a value too large"),
    ):
        with pytest.raises(error, match=match) as caught:
            kind(**HOW).fit(X, y)
        assert "\n" not in str(caught.value)
    assert MLPClassifier(label_smoothing=True, **HOW).fit(X, SPECIES).n_iter_ == 4


def test_the_network_answers_as_the_estimator_does(tmp_path):
    """Of two classes, too: one logit gets a sigmoid, not a softmax."""
    for y in (SPECIES, SPECIES > 0):
        model = MLPClassifier(**HOW).fit(X, y)
        jitprop.save(tmp_path / "net", model.network_)
        p = jitprop.probabilities(jitprop.load(tmp_path / "net"), X.astype("f"))
        np.testing.assert_allclose(p[:, -1], model.predict_proba(X)[:, -1], rtol=1e-6)
    with pytest.raises(TypeError, match="net is of type MLPClassifier, whose network is its netw"):
        jitprop.save(tmp_path / "other", model)
    assert not (tmp_path / "other").exists()


def test_networks_that_are_none_or_give_probabilities():
    for network, error, match in (
        (Linear(4, 3, 0), TypeError, "network is of type Linear, expected a function"),
        (Sequential, TypeError, "network is a class, expected a function"),
        (
            lambda n, k, rng: Sequential(Linear(n, k, rng), Softmax()),
            ValueError,
            "gives probabilities, expected logits",
        ),
    ):
        with pytest.raises(error, match=match):
            MLPClassifier(network=network, **HOW).fit(X, SPECIES)


def test_dropout_is_not_for_lbfgs():
    with pytest.raises(ValueError, match="dropout is for solvers with batches"):
        MLPClassifier(solver="lbfgs", dropout=0.5, **HOW).fit(X, SPECIES)


def test_a_rate_that_came_down_has_no_more_to_do():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MLPClassifier(learning_rate="cosine", **HOW).fit(X, SPECIES)
    with pytest.warns(ConvergenceWarning):
        MLPClassifier(**HOW).fit(X, SPECIES)


def test_a_long_fit_has_no_subnormal_numbers():
    """A column of zeros has weights that only alpha moves; they would make each step slow."""
    x = np.hstack([X, np.zeros((150, 3))])
    model = MLPClassifier(alpha=1.0, max_iter=3000, tol=0, n_iter_no_change=3000, random_state=0)
    model.fit(x, SPECIES)
    arrays = [*model.coefs_, *model._optimizer.arrays().values()]
    least = np.finfo(np.float32).tiny
    assert not any((np.abs(array[array != 0]) < least).any() for array in arrays)
