"""estimators/: scikit-learn's classes of the same names give the same numbers."""

import copy
import io
import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.preprocessing import StandardScaler

import jitprop
from jitprop import MLPClassifier, MLPRegressor, kernels

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, SPECIES = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
_rng = np.random.default_rng(0)
LINE = X @ _rng.standard_normal(4) + 0.1 * _rng.standard_normal(len(X))
TARGETS = {
    "classes": SPECIES,
    "two classes": SPECIES > 0,
    "one class": np.zeros(len(X), int),
    "labels": np.stack([SPECIES > 0, SPECIES > 1], axis=1).astype(int),
    "number": LINE,
    "numbers": np.stack([LINE, -2 * LINE, LINE**2], axis=1),
    "count": np.round(np.exp(LINE)),
    "counts": np.round(np.exp(np.stack([LINE, -LINE], axis=1) / 2)),
}
HOW = {
    "default": {},
    "alpha": {"alpha": 1.0, "batch_size": 40, "activation": "tanh"},
    "no alpha": {"alpha": 0, "batch_size": 50, "hidden_layer_sizes": 7},
    "deep": {"hidden_layer_sizes": (9, 8, 5), "activation": "logistic", "batch_size": 13},
    "linear": {"hidden_layer_sizes": (), "activation": "identity", "shuffle": False},
    "betas": {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3, "activation": "identity"},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.02, "batch_size": 32},
    "no nesterov": {"solver": "sgd", "nesterovs_momentum": False, "momentum": 0.5},
    "no momentum": {"solver": "sgd", "momentum": 0, "learning_rate_init": 0.05},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 2, "tol": 1e-2},
    "stopping": {"early_stopping": True, "n_iter_no_change": 3, "learning_rate_init": 0.01},
    "ends": {"tol": 1e-2, "n_iter_no_change": 4, "learning_rate_init": 0.01},
}


def both(target, **how):
    """scikit-learn's and ours, with the same parameters."""
    counts = target.startswith("count")
    if counts:
        how["loss"] = "poisson"
    name = "MLPRegressor" if counts or target.startswith("number") else "MLPClassifier"
    how = {"random_state": 3, "max_iter": 30, "hidden_layer_sizes": (20,), **how}
    return getattr(neural_network, name)(**how), getattr(jitprop, name)(dtype="float64", **how)


def assert_equal(theirs, ours, within=1e-12):
    """All that scikit-learn's knows, ours knows as well."""
    for name, value in vars(theirs).items():
        if not name.endswith("_") or name.startswith("_"):
            continue
        own = getattr(ours, name)
        if name in ("coefs_", "intercepts_"):
            for a, b in zip(own, value, strict=True):
                np.testing.assert_allclose(a, b, rtol=within, atol=within)
        elif value is None or isinstance(value, str):
            assert own == value, name
        else:
            np.testing.assert_allclose(own, value, rtol=within, atol=within, err_msg=name)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("how", HOW)
def test_the_numbers_are_those_of_scikit_learn(how, target):
    theirs, ours = both(target, **HOW[how])
    y = TARGETS[target]
    with np.errstate(all="ignore"):
        theirs.fit(X, y)
        ours.fit(X, y)
    assert_equal(theirs, ours)
    answers, expected = ours.predict(X), theirs.predict(X)
    assert answers.shape == expected.shape
    np.testing.assert_allclose(answers, expected, rtol=1e-12, atol=1e-12)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), rel=1e-12)
    if hasattr(theirs, "predict_proba") and target != "one class":
        p = theirs.predict_proba(X)
        np.testing.assert_allclose(ours.predict_proba(X), p, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(ours.predict_log_proba(X), np.log(p), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("target", TARGETS)
def test_lbfgs(target):
    """Its line searches choose by the last digits: a few iterations are alike, and the end is."""
    theirs, ours = both(target, solver="lbfgs", max_iter=12)
    theirs.fit(X, TARGETS[target])
    ours.fit(X, TARGETS[target])
    assert_equal(theirs, ours, 1e-6)
    assert len(ours.loss_curve_) == ours.n_iter_ <= 12
    narrow = clone(ours).set_params(dtype="float32").fit(X, TARGETS[target])
    assert all(w.dtype == np.float32 for w in narrow.coefs_)
    for a, b in zip(narrow.coefs_, ours.coefs_, strict=True):
        np.testing.assert_array_equal(a, b.astype(np.float32))


@pytest.mark.parametrize("how", ["default", "alpha", "sgd", "invscaling"])
@pytest.mark.parametrize("target", ["classes", "two classes", "numbers", "counts"])
def test_weights_of_rows(target, how):
    theirs, ours = both(target, **HOW[how])
    weights = np.random.default_rng(1).uniform(0.1, 3, len(X))
    theirs.fit(X, TARGETS[target], sample_weight=weights)
    ours.fit(X, TARGETS[target], sample_weight=weights)
    assert_equal(theirs, ours)


@pytest.mark.filterwarnings("ignore:Got .batch_size.")
@pytest.mark.parametrize("how", ["default", "sgd", "invscaling", "linear"])
def test_partial_fit_warm_start_and_fit_again(how):
    """In any order; a pickle in between changes nothing; parts may be of any size."""
    theirs, ours = both("classes", **HOW[how])
    given = X.copy()
    for start, stop in ((0, 60), (60, 120), (50, 150), (0, 60), (100, 101)):
        rows = slice(start, stop)
        theirs.partial_fit(X[rows], SPECIES[rows], classes=[0, 1, 2])
        ours.partial_fit(X[rows], SPECIES[rows], classes=[0, 1, 2])
        assert_equal(theirs, ours)
        ours = pickle.loads(pickle.dumps(ours)) if stop == 120 else copy.deepcopy(ours)
    assert np.array_equal(X, given)
    for options in ({}, {"warm_start": True, "max_iter": 5}, {"alpha": 0}, {"warm_start": False}):
        theirs.set_params(**options).fit(X, SPECIES)
        ours.set_params(**options).fit(X, SPECIES)
        assert_equal(theirs, ours)


def test_the_seeds_of_scikit_learn():
    """A RandomState is left where scikit-learn leaves it, also where epochs run several at a go."""
    for how in ({"tol": 1e-2}, {"max_iter": 7}, {"early_stopping": True}, {"shuffle": False}):
        states = [np.random.RandomState(5), np.random.RandomState(5)]
        for model, state in zip(both("classes", **how), states, strict=True):
            model.set_params(random_state=state).fit(X, SPECIES)
        assert states[0].randint(10**9) == states[1].randint(10**9)


def test_float32_is_near():
    theirs, ours = both("classes", max_iter=100)
    theirs.fit(X, SPECIES)
    ours.set_params(dtype="float32").fit(X, SPECIES)
    assert ours.predict_proba(X).dtype == np.float32
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-5)


def test_an_answer_is_the_same_in_any_company():
    model = MLPClassifier(max_iter=3, random_state=0).fit(X, SPECIES)
    whole = model.predict_proba(X)
    order = np.random.default_rng(2).permutation(len(X))
    assert np.array_equal(model.predict_proba(X[order]), whole[order])
    for rows in (slice(0, 1), slice(3, 10), slice(0, 150, 7)):
        assert np.array_equal(model.predict_proba(X[rows]), whole[rows])


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_any_number_of_threads_gives_the_same_bits(kind):
    found = []
    x = np.random.default_rng(3).standard_normal((700, 30))
    for threads in (1, 2, 3):
        kernels.set_num_threads(threads)
        model = kind(hidden_layer_sizes=(90,), max_iter=4, random_state=0)
        found.append(model.fit(x, (x[:, 0] > 0).astype(int)).coefs_[0].tobytes())
    assert len(set(found)) == 1


def test_rows_of_weight_0_are_absent():
    """To the bit, and classes too: those of `classes_` stay."""
    weights = np.random.default_rng(4).integers(0, 3, len(X)).astype(float)
    there = weights > 0
    for solver in ("adam", "lbfgs"):
        one, other = (MLPClassifier(solver=solver, max_iter=9, random_state=0) for _ in range(2))
        one.fit(X, SPECIES, sample_weight=weights)
        other.fit(X[there], SPECIES[there], sample_weight=weights[there])
        assert all(map(np.array_equal, one.coefs_, other.coefs_))
        assert one.loss_curve_ == other.loss_curve_
        assert one.t_ == other.t_


def test_parameters_are_those_of_scikit_learn():
    for name in ("MLPClassifier", "MLPRegressor"):
        theirs = getattr(neural_network, name)().get_params()
        ours = getattr(jitprop, name)().get_params()
        assert theirs.items() <= ours.items()
    assert MLPClassifier((5,), "tanh").get_params()["activation"] == "tanh"
    assert MLPRegressor("poisson", (5,)).get_params()["hidden_layer_sizes"] == (5,)


def test_messages_and_warnings():
    with pytest.warns(ConvergenceWarning, match="Maximum iterations .3. reached"):
        model = MLPClassifier(max_iter=3).fit(X, SPECIES)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge after 3 iteration"):
        MLPClassifier(max_iter=3, solver="lbfgs").fit(X, SPECIES)
    with pytest.warns(UserWarning, match="clipped"):
        MLPClassifier(max_iter=3, batch_size=1000).fit(X, SPECIES)
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(X)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.predict(X * np.nan)
    with pytest.raises(ValueError, match="Input X contains infinity or a value too large"):
        model.fit(X * 1e300, SPECIES)
    with pytest.raises(ValueError, match="X has 3 features, but MLPClassifier is expecting 4"):
        model.predict(X[:, :3])
    with pytest.raises(AttributeError, match="no attribute 'partial_fit'"):
        MLPClassifier(solver="lbfgs").partial_fit(X, SPECIES)
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        MLPRegressor(solver="sgd", learning_rate_init=100, random_state=0).fit(X, LINE)


def test_verbose_shows_each_epoch(capsys):
    MLPClassifier(max_iter=300, tol=0.1, verbose=True, random_state=0).fit(X, SPECIES)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Iteration 1, loss = ")
    assert lines[-1].startswith("Training loss did not improve more than tol=0.1")


def test_saved_and_loaded(tmp_path):
    """By jitprop.save, too: the network is one of this package."""
    model = MLPClassifier(max_iter=3, random_state=0).fit(X, SPECIES)
    jitprop.save(tmp_path / "net.safetensors", model.network_)
    net = jitprop.load(tmp_path / "net.safetensors")
    assert np.array_equal(jitprop.probabilities(net, X.astype("f")), model.predict_proba(X))
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pickle.dump(model, file)
    assert len(file.getvalue()) < 60_000  # three times the weights, and no rows
