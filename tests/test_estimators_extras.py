"""estimators/: what scikit-learn's do not have, and data as people have them."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn")
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jitprop import Identity, MLPClassifier, MLPRegressor, data, layers
from jitprop.layers import Add, Dropout, Graph, Input, Linear, ReLU, Sequential, Tanh
from jitprop.training.batches import Batches

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, SPECIES = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)


def same(one, other):
    return all(
        np.array_equal(a, b)
        for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True)
    )


def fitted(kind=MLPClassifier, x=X, y=SPECIES, given=None, **how):
    how = {"random_state": 0, "max_iter": 5, "hidden_layer_sizes": (12,), **how}
    return kind(**how).fit(x, y, **(given or {}))


# What is new.


def test_dropout():
    """The first weights are those without it; asking, it is off; the same seed, the same bits."""
    plain, model, again = fitted(), fitted(dropout=0.5), fitted(dropout=0.5)
    assert [type(m) for m in model.network_] == [Linear, ReLU, Dropout, Linear]
    assert same(model, again)
    assert not same(model, plain)
    assert np.array_equal(model.predict_proba(X), model.predict_proba(X))
    first = [fitted(dropout=p, learning_rate_init=1e-30) for p in (0.0, 0.5)]
    assert same(*first)


def test_class_weight():
    """It is a weight of rows; balanced, all classes weigh alike; the rest weighs 1."""
    y = np.minimum(SPECIES, 1)
    weights = np.where(y == 0, 5.0, 1.0)
    assert same(fitted(y=y, class_weight={0: 5.0}), fitted(y=y, given={"sample_weight": weights}))
    balanced = np.where(y == 0, 150 / 2 / 50, 150 / 2 / 100)
    assert same(
        fitted(y=y, class_weight="balanced"), fitted(y=y, given={"sample_weight": balanced})
    )
    assert same(
        fitted(y=np.array(["no", "yes"])[y], class_weight={"no": 5.0}),
        fitted(y=y, class_weight={0: 5.0}),
    )
    with pytest.raises(ValueError, match=r"classes, \[1\], are not in class_weight"):
        fitted(y=y, class_weight={0: 5.0, "1": 2.0})
    with pytest.raises(ValueError, match="give partial_fit class_weight"):
        MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1])


def test_label_smoothing():
    """Of two classes as of more: the least loss is that of p = 1 - s + s / n."""
    for y in (SPECIES, np.minimum(SPECIES, 1)):
        n = len(set(y))
        x = np.eye(n)[y] * 10
        model = fitted(x=x, y=y, label_smoothing=0.3, alpha=0, solver="lbfgs", max_iter=500)
        p = model.predict_proba(x)[np.arange(len(y)), y]
        np.testing.assert_allclose(p, 1 - 0.3 + 0.3 / n, rtol=1e-3)


def test_adamw_is_that_of_fit():
    """And weight decay takes the place of alpha."""
    how = {"solver": "adamw", "batch_size": 50, "shuffle": False, "weight_decay": 0.1}
    model = fitted(**how)
    assert same(model, fitted(**how, alpha=3))
    assert not same(model, fitted(**{**how, "weight_decay": 0.0}))
    net = fitted(learning_rate_init=1e-30).network_
    x = X.astype(np.float32)
    # AdamW by hand, in the manner of PyTorch.
    values = [p.value.astype(np.float64) for p in net.parameters()]
    m, v = ([np.zeros_like(w) for w in values] for _ in range(2))
    loss = layers.SoftmaxCrossEntropy()
    step = 0
    for _ in range(5):
        for start in (0, 50, 100):
            rows = slice(start, start + 50)
            for p, w in zip(net.parameters(), values, strict=True):
                p.value[...] = w
            loss.fprop(net.fprop(x[rows]), SPECIES[rows])
            net.bprop(loss.bprop(1 / 50))
            step += 1
            for i, p in enumerate(net.parameters()):
                g = p.grad.astype(np.float64)
                values[i] *= 1 - (1e-3 * 0.1 if g.ndim > 1 else 0)
                m[i] += 0.1 * (g - m[i])
                v[i] += 0.001 * (g * g - v[i])
                root = np.sqrt(v[i] / (1 - 0.999**step)) + 1e-8
                values[i] -= 1e-3 * m[i] / (1 - 0.9**step) / root
    for p, w in zip(model.network_.parameters(), values, strict=True):
        np.testing.assert_allclose(p.value, w, atol=2e-6)


@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("rate", ["linear", "cosine", "step"])
def test_learning_rates(rate, solver):
    """Each differs from the constant one; linear and cosine end near 0; warm-up begins there."""
    how = {"solver": solver, "max_iter": 8, "step_size": 2, "learning_rate_init": 0.05}
    model = fitted(learning_rate=rate, **how)
    assert not same(model, fitted(**how))
    assert not same(model, fitted(learning_rate=rate, warmup=3, **how))
    gentle = fitted(warmup=8, **how)
    assert gentle.loss_curve_[1] > fitted(**how).loss_curve_[1]


def test_validation_and_restore_best():
    noisy = np.random.default_rng(5).permutation(SPECIES)
    given = {"validation": (X[::3], noisy[::3])}
    seen = []
    how = {"x": X[1::3], "y": noisy[1::3], "given": given, "max_iter": 60}
    how |= {"learning_rate_init": 0.05, "callbacks": seen.append}
    model = fitted(restore_best=True, **how)
    curve = model.validation_loss_curve_
    assert len(curve) == model.n_iter_ == len(seen) == 60
    assert [e.validation_loss for e in seen] == curve
    best = int(np.argmin(curve)) + 1
    assert best < 60
    how["max_iter"] = best
    assert same(model, fitted(**how))
    early = fitted(early_stopping=True, **{**how, "max_iter": 60})
    assert early.best_validation_score_ == max(early.validation_scores_)
    assert early.score(*given["validation"]) == early.best_validation_score_
    weighted = fitted(**{**how, "given": {"validation": (X, SPECIES, np.eye(1, 150)[0])}})
    alone = fitted(**{**how, "given": {"validation": (X[:1], SPECIES[:1])}})
    assert weighted.validation_loss_curve_ == alone.validation_loss_curve_


def test_callbacks_see_epochs_and_stop():
    seen = []
    model = fitted(max_iter=50, callbacks=[seen.append, lambda epoch: epoch.epoch == 4])
    assert model.n_iter_ == 4
    assert [e.train_loss for e in seen] == model.loss_curve_
    assert same(model, fitted(max_iter=4))
    model = fitted(max_iter=50, solver="lbfgs", callbacks=lambda epoch: epoch.epoch == 4)
    assert model.n_iter_ == 4


def test_callbacks_of_scikit_learn():
    callback = pytest.importorskip("sklearn.callback")

    class Log:
        def __init__(self):
            self.said = []

        def setup(self, estimator, context):
            self.said.append("setup")

        def teardown(self, estimator, context):
            self.said.append("teardown")

        def on_fit_task_begin(self, estimator, context):
            self.said.append(f"begin {context.task_name}")

        def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
            self.said.append(fitted_estimator.score(X, y))
            return context.task_name == "epoch" and context.task_id == 2

    log = Log()
    assert isinstance(log, callback.FitCallback)
    model = MLPClassifier(max_iter=9, random_state=0).set_callbacks(log).fit(X, SPECIES)
    assert model.n_iter_ == 3
    assert log.said[:3] == ["setup", "begin fit", "begin epoch"]
    assert log.said[-1] == "teardown"
    assert log.said[-2] == model.score(X, SPECIES)


def test_any_network():
    """One that skips a layer; its weights are those of the estimator; early stopping is for it."""

    def skip(n_features, n_outputs, rng):
        x = Input(n_features)
        h = Tanh()(Linear(n_features, 9, rng)(x))
        return Graph(x, Add()(Linear(9, n_outputs, rng)(h), Linear(n_features, n_outputs, rng)(x)))

    how = {"early_stopping": True, "max_iter": 40, "learning_rate_init": 0.05, "tol": 0}
    model = fitted(network=skip, **how)
    assert isinstance(model.network_, Graph)
    assert [w.shape for w in model.coefs_] == [(4, 9), (9, 3), (4, 3)]
    assert model.score(X, SPECIES) > 0.9
    assert same(model, fitted(network=skip, **how))
    wide = fitted(
        network=lambda n, k, rng: Sequential(Identity(), Linear(n, k, rng, "float64")),
        solver="lbfgs",
    )
    assert wide.coefs_[0].dtype == np.float64
    for wrong, error, match in (
        (lambda n, k, rng: Linear(n, k + 1, rng), ValueError, "with 4 outputs, expected 3"),
        (lambda n, k, rng: Linear(n + 1, k, rng), ValueError, "x has 4 features"),
        (lambda n, k, rng: None, TypeError, "returned is of type NoneType, expected a module"),
    ):
        with pytest.raises(error, match=match):
            fitted(network=wrong)
    with pytest.raises(ValueError, match="lbfgs' computes in float64"):
        fitted(network=skip, solver="lbfgs")


def test_parameters_that_do_not_go_together():
    for how, given, error, match in (
        ({"restore_best": True}, {}, ValueError, "needs early_stopping=True or fit"),
        ({"solver": "lbfgs"}, {"validation": (X, SPECIES)}, ValueError, "not for 'lbfgs'"),
        ({}, {"validation": X}, TypeError, "must be a pair"),
        ({}, {"validation": (X, SPECIES + 1)}, ValueError, "classes not in"),
        ({"callbacks": [3]}, {}, TypeError, "callbacks holds 3, expected functions"),
        ({"hidden_layer_sizes": (3, 0)}, {}, ValueError, "must be > 0, got"),
        ({"solver": "rmsprop"}, {}, ValueError, "'solver' parameter of MLPClassifier must be"),
        ({"dtype": "float16"}, {}, ValueError, "'dtype' parameter of MLPClassifier must be"),
        ({}, {"sample_weight": np.zeros(150)}, ValueError, "zero"),
        ({}, {"sample_weight": -np.ones(150)}, ValueError, "Negative"),
    ):
        with pytest.raises(error, match=match):
            fitted(given=given, **how)
    model = fitted(warm_start=True)
    with pytest.raises(ValueError, match=r"has layers of \[4, 12, 3\], .* ask for \[4, 5, 3\]"):
        model.set_params(hidden_layer_sizes=(5,)).fit(X, SPECIES)
    with pytest.raises(ValueError, match="takes y of at least 0, y holds -1"):
        fitted(MLPRegressor, y=X[:, 0] * 0 - 1, loss="poisson")
    with pytest.raises(ValueError, match="coefs_ has shapes"):
        model.coefs_ = [np.zeros((4, 3))]


def test_weights_can_be_set():
    model, other = fitted(), fitted(random_state=1)
    other.coefs_, other.intercepts_ = model.coefs_, model.intercepts_
    assert np.array_equal(model.predict_proba(X), other.predict_proba(X))


# Data as people have them.


def test_labels_of_any_kind():
    """Text, objects, numbers that are not 0 to n - 1, booleans: the same network for all."""
    plain = fitted()
    for names in (["a", "bc", "d"], [-7, 3, 40], [0.5, 1.0, 1.5], ["x", "y", "z"]):
        labels = np.array(names)
        for y in (labels[SPECIES], labels.astype(object)[SPECIES], list(labels[SPECIES])):
            if not isinstance(y, list) and y.dtype == object and not isinstance(names[0], str):
                continue
            if isinstance(names[0], float):
                y = (labels * 2).astype(int)[SPECIES].astype(float)
            model = fitted(y=y)
            assert same(model, plain)
            assert list(model.classes_) == sorted(set(y))
            assert model.score(X, y) == plain.score(X, SPECIES)
    answers = fitted(y=SPECIES > 0).predict(X)
    assert answers.dtype == bool


def test_frames():
    pd = pytest.importorskip("pandas")
    plain = fitted()
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    model = fitted(x=frame, y=pd.Series(SPECIES, name="species").astype("category"))
    assert same(model, plain)
    assert list(model.feature_names_in_) == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a", "c", "d"]])
    weights = pd.Series(np.ones(150), index=np.arange(150)[::-1])
    assert same(fitted(x=frame, given={"sample_weight": weights}), plain)
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({name: X[:, i] for i, name in enumerate("abcd")})
    model = fitted(x=frame, y=pl.Series(SPECIES))
    assert same(model, plain)
    assert np.array_equal(model.predict(frame), plain.predict(X))


def test_arrays_of_any_kind(tmp_path):
    whole = np.round(X * 100)
    plain = fitted(x=whole)
    np.save(tmp_path / "x.npy", whole)
    memory = np.load(tmp_path / "x.npy", mmap_mode="r")
    for x in (
        whole.astype(int),
        np.asfortranarray(whole),
        whole.astype("f"),
        whole.tolist(),
        memory,
    ):
        model = fitted(x=x)
        assert same(model, plain)
        assert np.array_equal(model.predict(x), plain.predict(whole))
    bits = whole > 0
    assert same(fitted(x=bits), fitted(x=bits.astype(float)))


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_array", "coo_matrix", "lil_matrix"])
def test_sparse_matrices(kind, monkeypatch):
    """Never dense as a whole; the same bits as if they were."""
    rng = np.random.default_rng(6)
    dense = rng.standard_normal((300, 40)) * (rng.random((300, 40)) < 0.1)
    y = rng.integers(0, 3, 300)
    table = getattr(sparse, kind)(dense)
    for how in ({}, {"solver": "lbfgs"}, {"early_stopping": True}, {"dtype": "float64"}):
        plain = fitted(x=dense, y=y, **how)
        model = fitted(x=table, y=y, **how)
        assert same(model, plain)
        assert np.array_equal(model.predict_proba(table), plain.predict_proba(dense))
    parts = [MLPClassifier(random_state=0) for _ in range(2)]
    for model, x in zip(parts, (dense, table), strict=True):
        x = sparse.csr_matrix(x) if sparse.issparse(x) else x
        for start in (0, 100, 200):
            model.partial_fit(x[start : start + 100], y[start : start + 100], classes=[0, 1, 2])
    assert same(*parts)


def test_pixels_are_learned_as_bytes(monkeypatch):
    """The zeros are left out, the bits are the same; another table is taken as it is."""
    images = data.load_dataset().train_images[:400].reshape(400, -1)
    labels = data.load_dataset().train_labels[:400]
    x = images / 255.0
    how = {"y": labels, "max_iter": 2, "hidden_layer_sizes": (30,)}
    taken = []
    monkeypatch.setattr(Batches, "__init__", _noting(Batches.__init__, taken))
    model = fitted(x=x, **how)
    monkeypatch.setattr("jitprop.estimators.task.PIXELS", 10**6)
    assert same(fitted(x=x, **how), model)
    assert taken == [np.uint8, np.float32]
    monkeypatch.setattr("jitprop.estimators.task.PIXELS", 1)
    for other in (x + (x == 1) * 1e-6, 1.01 * x, x - 0.5, -x):
        fitted(x=other, **how)
    assert taken[2:] == [np.float32] * 4


def _noting(init, taken):
    def note(self, net, x, *args, **named):
        taken.append(x.dtype)
        init(self, net, x, *args, **named)

    return note


def test_several_labels_in_sparse_form():
    y = np.stack([SPECIES > 0, SPECIES > 1], axis=1).astype(int)
    assert same(fitted(y=y), fitted(y=sparse.csr_matrix(y)))
    assert fitted(y=y).predict(X).shape == (150, 2)


# With the rest of scikit-learn.


def test_pipelines_searches_and_other_processes(tmp_path):
    """Two processes search; a pickle answers with the same bits in a new one."""
    joblib = pytest.importorskip("joblib")
    pipe = make_pipeline(StandardScaler(), MLPClassifier(max_iter=20, random_state=0))
    grid = {"mlpclassifier__alpha": [1e-4, 1.0], "mlpclassifier__hidden_layer_sizes": [(5,), (9,)]}
    scores = [
        GridSearchCV(pipe, grid, cv=3, n_jobs=jobs).fit(X, SPECIES).cv_results_["mean_test_score"]
        for jobs in (1, 2)
    ]
    assert np.array_equal(*scores)
    assert cross_val_score(pipe, X, SPECIES, cv=3).shape == (3,)
    model = pipe.fit(X, SPECIES)
    joblib.dump((model, X, model.predict_proba(X)), tmp_path / "model.joblib")
    code = (
        "import sys, joblib; model, x, p = joblib.load(sys.argv[1]);"
        "assert (model.predict_proba(x) == p).all()"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "model.joblib"], check=True)


def test_workers_do_not_fight_for_cores():
    """joblib tells each worker how many threads it may have."""
    joblib = pytest.importorskip("joblib")
    with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=1):
        found = joblib.Parallel()(joblib.delayed(_threads)() for _ in range(2))
    assert found == [1, 1]


def _threads():
    from jitprop import kernels

    return kernels.get_num_threads()


def test_several_threads_fit_at_once():
    joblib = pytest.importorskip("joblib")
    seeds = range(4)
    alone = [fitted(random_state=seed) for seed in seeds]
    with joblib.parallel_config("threading", n_jobs=2):
        found = joblib.Parallel()(joblib.delayed(fitted)(random_state=seed) for seed in seeds)
    assert all(map(same, found, alone))


def test_without_scikit_learn():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from jitprop import *\n"
        "import jitprop\n"
        "try: jitprop.MLPClassifier\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "MLPClassifier needs scikit-learn: pip install 'jitprop[sklearn]'\n"
