"""A weight for each example, from `fit` to the last bit.

One file for one argument, which many files pass on.
"""

import numpy as np
import pytest
import reference

from jitprop import kernels
from jitprop.layers import (
    Dropout,
    Graph,
    Input,
    Linear,
    Loss,
    Losses,
    MeanSquaredError,
    Module,
    Sequential,
    SoftmaxCrossEntropy,
    Tanh,
    Weighted,
)
from jitprop.training import (
    CheckpointError,
    DivergedError,
    Settings,
    Training,
    evaluate,
    fit,
    resume,
    save,
    warm_up,
    weights_sha256,
)

RNG = np.random.default_rng(3)
X = RNG.standard_normal((103, 5)).astype(np.float32)
IMAGES = (X[:, :4] > 0).astype(np.uint8).reshape(-1, 2, 2)
T = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
WEIGHTS = RNG.uniform(0.1, 3, 103) * (RNG.random(103) < 0.7)
KEPT = WEIGHTS > 0
SETTINGS = {"epochs": 2, "batch_size": 20, "rate": 0.1, "momentum": 0.9}


def network():
    draw = np.random.default_rng(0)
    return Sequential(Linear(5, 6, draw), Tanh(), Dropout(0.2, draw), Linear(6, 3, draw))


def train(x, t, weights=None, net=network, loss=SoftmaxCrossEntropy, **settings):
    """The weights after `fit`, and all that it tells but the time."""
    net = net()
    told = []
    history = fit(
        net, loss(), x, t, rng=1, sample_weight=weights,
        on_batch=lambda *news: told.append(news), **{**SETTINGS, **settings},
    )  # fmt: skip
    found = [[value for name, value in vars(e).items() if "seconds" not in name] for e in history]
    return weights_sha256(net), found, told[-1]


class Layers(Module):
    """A person's own, so that batches run from Python."""

    def fprop(self, x):
        return x

    def bprop(self, dy, need_dx=True):
        return dy


class Own(Loss):
    classification = True

    def rows(self, z, t):
        self.inner = SoftmaxCrossEntropy()
        return self.inner.rows(z, t)

    def bprop(self, scale):
        assert type(scale) is float
        return self.inner.bprop(scale)


def by_hand():
    return Sequential(*network(), Layers())


def two_outputs():
    x = Input(5)
    return Graph(x, [Linear(5, 3, 0)(x), Linear(5, 2, 1)(x)])


def two_losses():
    return Losses((SoftmaxCrossEntropy(), 0.7), (MeanSquaredError(), 1 / 3))


CASES = {
    "recorded": {"t": T},
    "from Python": {"t": T, "net": by_hand},
    "a loss of one's own": {"t": T, "loss": Own},
    "smoothed": {"t": T, "loss": lambda: SoftmaxCrossEntropy(0.1)},
    "one-hot": {"t": np.eye(3)[T], "optimizer": "adam", "momentum": 0.0},
    "several outputs": {"t": (T, X[:, :2]), "net": two_outputs, "loss": two_losses},
    "all at once": {"t": T, "batch_size": None},
    "one at a time": {"t": T, "batch_size": 1, "epochs": 1},
    "images": {"x": IMAGES, "net": lambda: Linear(4, 3, 0), "t": T, "input": "sparse"},
}  # fmt: skip
every_case = pytest.mark.parametrize("name", CASES)


def rows(given, kept):
    return tuple(one[kept] for one in given) if isinstance(given, tuple) else given[kept]


@every_case
def test_weights_of_1_are_the_bits_of_none(name):
    case = {"x": X, **CASES[name]}
    assert train(weights=np.ones(103, int), **case) == train(**case)
    assert train(weights=np.full(103, True), **case) == train(**case)


@every_case
def test_a_weight_of_0_is_an_absent_example(name):
    case = {"x": X, **CASES[name]}
    x, t = case.pop("x"), case.pop("t")
    given = train(x, t, WEIGHTS, **case, test=(x, t, WEIGHTS), validation=(x, t, KEPT))
    x, t = rows(x, KEPT), rows(t, KEPT)
    used = WEIGHTS[KEPT]
    assert train(x, t, used, **case, test=(x, t, used), validation=(x, t)) == given
    assert train(x, t, 2.0**-40 * used, **case, test=(x, t, 4 * used), validation=(x, t)) == given
    assert train(x, t, **case, test=(x, t), validation=(x, t)) != given


def test_on_tapes_as_layer_by_layer_on_any_number_of_threads():
    def alike(given):
        return given[0], given[1]

    expected = train(X, T, WEIGHTS)
    assert alike(train(X, T, WEIGHTS, net=by_hand)) == alike(expected)
    assert alike(train(X, T, WEIGHTS, loss=Own)) == alike(expected)
    before = kernels.get_num_threads()
    try:
        for threads in (1, 3):
            kernels.set_num_threads(threads)
            assert train(X, T, WEIGHTS) == expected
    finally:
        kernels.set_num_threads(before)


def test_against_the_loop_of_the_slides():
    net, twin, loss = Linear(5, 3, 0), Linear(5, 3, 0), Weighted(SoftmaxCrossEntropy())
    weights = WEIGHTS.astype(np.float32)
    history = fit(
        net, SoftmaxCrossEntropy(), X, T, epochs=1, batch_size=20, rate=0.1, rng=1,
        sample_weight=weights,
    )  # fmt: skip
    kept = np.flatnonzero(KEPT)
    order = kept[np.random.default_rng(1).permutation(len(kept))]
    total = errors = 0.0
    for first in range(0, len(order), 20):
        index = order[first : first + 20]
        z = twin.fprop(X[index])
        errors += np.count_nonzero(z.argmax(axis=1) != T[index])
        total += loss.fprop(z, (T[index], weights[index]))
        share = 1 / sum(weights[index].tolist())
        twin.bprop(loss.bprop(share), need_dx=False)
        twin.update(0.1)
    assert weights_sha256(net) == weights_sha256(twin)
    assert history[0].train_errors == errors
    # Sums of the same numbers, in pieces of another size.
    assert history[0].train_loss == pytest.approx(total / weights.sum(dtype=float), rel=1e-14)


def test_evaluation_is_the_weighted_mean():
    net = network()
    found = evaluate(net, SoftmaxCrossEntropy(), X, T, WEIGHTS)
    net.eval()
    z = net.fprop(X)
    losses = SoftmaxCrossEntropy().rows(z, T)
    mean, _ = reference.weighted_mean(losses, WEIGHTS)
    assert found.loss == pytest.approx(mean, rel=1e-6)
    assert found.images == KEPT.sum()
    assert found.errors == np.count_nonzero((z.argmax(axis=1) != T)[KEPT])
    # An example of weight 2 is two examples.
    twice = np.r_[np.arange(103), np.arange(50)]
    weights = np.where(np.arange(103) < 50, 2, 1)
    one = evaluate(net, MeanSquaredError(), X, z + 1, weights).loss
    assert one == pytest.approx(evaluate(net, MeanSquaredError(), X[twice], z[twice] + 1).loss)


def test_weights_pull_to_what_weighs():
    x, t = np.zeros((4, 1), np.float32), np.array([0.0, 1, 2, 3])
    net = Linear(1, 1, 0)
    fit(net, MeanSquaredError(), x, t, epochs=200, batch_size=None, rate=0.3,
        sample_weight=[1, 0, 0, 3])  # fmt: skip
    assert net.b[0] == pytest.approx(9 / 4, abs=1e-5)


def test_extreme_weights():
    """What is next to nothing counts as absent; only ratios count, however large or small."""
    used = np.where(KEPT, WEIGHTS, 1e-200)
    expected = train(X, T, WEIGHTS)
    assert train(X, T, used) == expected
    for factor in (2.0**-1000, 2.0**1000):
        assert train(X, T, WEIGHTS * factor) == expected
    wide = np.logspace(-20, 20, 103)
    assert np.isfinite(train(X, T, wide, batch_size=1)[1][0][1])


def training(weights=WEIGHTS, **settings):
    settings = {**SETTINGS, "epochs": 3, **settings}
    return Training(
        network(), SoftmaxCrossEntropy(), X, T, Settings(**settings), rng=1, sample_weight=weights
    )


@pytest.mark.parametrize("batch", [2, 4])
def test_a_checkpoint_goes_on_to_the_bit(batch, tmp_path):
    class Stopped(Exception):
        pass

    def stop(epoch, done, loss):
        if (epoch, done) >= (2, batch):
            raise Stopped

    whole, first, second = training(), training(), training()
    whole.run()
    first._on_batch = stop
    first._plan._pace.choose = lambda: (False, 1)  # a look after each batch
    with pytest.raises(Stopped):
        first.run()
    assert (first.epoch, first.batch) == (2, batch)
    save(tmp_path / "run", first.net, first)
    resume(tmp_path / "run", second)
    second.run()
    assert weights_sha256(second.net) == weights_sha256(whole.net)
    losses = [[e.train_loss for e in run.history] for run in (whole, second)]
    assert losses[0] == losses[1]


def test_a_checkpoint_knows_whether_there_were_weights(tmp_path):
    with_weights, without = training(np.ones(103)), training(None)
    save(tmp_path / "with", with_weights.net, with_weights)
    save(tmp_path / "without", without.net, without)
    assert "weighted" not in without.record()  # a file of a run without is what it was
    with pytest.raises(CheckpointError, match="it was trained with a sample_weight, without one"):
        resume(tmp_path / "with", without)
    with pytest.raises(CheckpointError, match="it was trained without a sample_weight, with one"):
        resume(tmp_path / "without", with_weights)


def changed(row, value):
    weights = np.ones(103)
    weights[row] = value
    return weights


WRONG = [
    (np.ones(102), "{} has shape (102,), expected (103,), one a row of x"),
    (np.ones((103, 1)), "{} has shape (103, 1), expected (103,), one a row of x"),
    (2.0, "{} has shape (), expected (103,), one a row of x"),
    (changed(7, -1), "{} holds -1 (row 7), expected 0 or more"),
    (changed(7, np.nan), "{} holds NaN (row 7)"),
    (changed(7, np.inf), "{} holds infinity (row 7)"),
    (np.zeros(103), "{} is 0 for all examples, expected one above 0"),
    (np.ma.masked_array(np.ones(103), WEIGHTS == 0), "{} is a masked array, which nothing here"),
    (["1"] * 103, "{} holds text, expected numbers"),
    ("balanced", "{} holds text, expected numbers"),
    ({0: 1.0, 1: 2.0}, "{} holds objects such as "),
    (np.ones(103, complex), "{} holds complex128, expected numbers"),
    ([[1], [1, 2]], "{} is no array of numbers"),
]


@pytest.mark.parametrize(("given", "said"), WRONG)
def test_refused_at_the_door(given, said):
    net, loss = network(), SoftmaxCrossEntropy()
    before = weights_sha256(net)
    calls = {
        "sample_weight": [
            lambda: fit(net, loss, X, T, sample_weight=given, **SETTINGS),
            lambda: warm_up(net, loss, X, T, sample_weight=given, **SETTINGS),
            lambda: evaluate(net, loss, X, T, sample_weight=given),
        ],
        "validation: weights": [
            lambda: fit(net, loss, X, T, validation=(X, T, given), **SETTINGS),
        ],
        "test: weights": [lambda: fit(net, loss, X, T, test=(X, T, given), **SETTINGS)],
    }
    for name, doors in calls.items():
        for door in doors:
            with pytest.raises((TypeError, ValueError)) as error:
                door()
            assert str(error.value).startswith(said.format(name))
            assert "\n" not in str(error.value)
    assert weights_sha256(net) == before


def test_losses_that_cannot_be_weighed():
    class Whole(Loss):
        def fprop(self, z, t):
            return 1.0

        def bprop(self, scale):
            return np.zeros((20, 3), np.float32)

        def __repr__(self):
            return "Whole()"

    with pytest.raises(TypeError, match=r"^Whole\(\) has no rows\(z, t\), the loss of each row, "):
        train(X, T, WEIGHTS, loss=Whole)
    for loss in (Weighted(MeanSquaredError()), Losses((Weighted(MeanSquaredError()), 1))):
        match = r"pass MeanSquaredError\(\) in the place of Weighted\(.*and the weights as sample_w"
        with pytest.raises(TypeError, match=match):
            fit(network(), loss, X, (X[:, :3], WEIGHTS), **SETTINGS)


@pytest.mark.parametrize("name", ["sample_weights", "weights", "Weight", "sample_weigth"])
def test_other_names(name):
    with pytest.raises(TypeError, match=f"no setting {name}; you may mean sample_weight;"):
        fit(network(), SoftmaxCrossEntropy(), X, T, **{name: WEIGHTS}, **SETTINGS)


def test_a_loss_that_diverges_is_told_with_its_place():
    x = X.copy()
    training = Training(
        network(), SoftmaxCrossEntropy(), x, T, Settings(**SETTINGS), rng=1, sample_weight=WEIGHTS
    )
    row = int(np.flatnonzero(KEPT)[-1])
    x[row] = np.nan
    with pytest.raises(DivergedError, match=rf"x is not finite \(row {row}\), and was when"):
        training.run()


def test_warming_up_compiles_for_weights():
    def compiled():
        return [len(kernel.entry.signatures) for kernel in (kernels.weigh, kernels.share)]

    net = Linear(5, 3, 0, np.float64)  # which no other test here trains
    before = weights_sha256(net)
    weights = WEIGHTS.copy()
    weights[:20] = 0
    warm_up(net, SoftmaxCrossEntropy(), X, T, sample_weight=weights, **SETTINGS)
    assert weights_sha256(net) == before
    count = compiled()
    train(X, T, weights, net=lambda: net)
    assert count == compiled()


def test_without_weights_no_kernel_knows_of_them():
    def calls(weights):
        run = training(weights)
        run.run()
        return [kernel.__name__ for tape in run._plan._tapes.values() for kernel, _ in tape.calls]

    assert not {"weigh", "share"} & set(calls(None))
    assert {"weigh", "share"} <= set(calls(WEIGHTS))
