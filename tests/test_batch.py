"""layers/batch.py: buffers grow and are reused; the checks are tested with the layers."""

import numpy as np
import pytest

from jitprop import layers
from jitprop.layers.batch import Buffer
from jitprop.layers.blueprint import describe
from jitprop.training import load, mlp, save


def test_a_buffer_grows_to_the_largest_batch():
    buffer = Buffer()
    small = buffer.rows((3, 5), np.float32)
    large = buffer.rows((8, 5), np.float32)
    assert not np.shares_memory(small, large)
    for batch in (0, 1, 3, 8):
        rows = buffer.rows((batch, 5), np.float32)
        assert rows.shape == (batch, 5)
        assert rows.dtype == np.float32
        assert rows.flags.c_contiguous
        assert batch == 0 or np.shares_memory(rows, large)


def test_a_buffer_follows_width_and_precision():
    buffer = Buffer()
    buffer.rows((8, 5), np.float32)
    for shape, dtype in [((8, 4), np.float32), ((8, 4), np.float64), ((0, 0), np.float32)]:
        rows = buffer.rows(shape, dtype)
        assert rows.shape == shape
        assert rows.dtype == dtype


NUMPY = {
    "Linear": lambda: layers.Linear(np.int64(3), np.uint8(4), 0),
    "Bias": lambda: layers.Bias(np.int32(3)),
    "Dropout": lambda: layers.Dropout(np.float32(0.5), 0),
    "Dropout, no dimensions": lambda: layers.Dropout(np.array(0.25), 0),
    "GaussianNoise": lambda: layers.GaussianNoise(np.float32(0.5), 0),
    "Multiply": lambda: layers.Multiply(np.float32(2)),
    "Multiply, an integer": lambda: layers.Multiply(np.int64(2)),
    "Split": lambda: layers.Split(np.array([1, 2])),
    "Split, a tuple": lambda: layers.Split((np.int64(1), 2)),
    "mlp": lambda: mlp(np.int64(5), [np.int64(3)], np.int16(2), 0, dropout=np.float32(0.25)),
    "mlp, noise": lambda: mlp(5, [3], 2, 0, input_noise=np.float32(0.25)),
    "mlp, an array": lambda: mlp(np.int64(5), np.array([3, 4]), 2, 0),
}


def graph_of_numpy():
    x = layers.Input(np.int64(5))
    return layers.Graph(x, np.float32(2) * layers.Tanh()(x))


@pytest.mark.parametrize("name", [*NUMPY, "Graph"])
def test_numbers_of_numpy_are_plain_from_the_start(name, tmp_path):
    net = graph_of_numpy() if name == "Graph" else NUMPY[name]()
    plain = (int, float, str, bool, list, tuple, dict, type(None))
    for entry in describe(net):
        for value in entry.get("arguments", {}).values():
            assert type(value) in plain
    save(tmp_path / "net", net)
    assert repr(load(tmp_path / "net")) == repr(net)


def test_a_setting_that_was_changed_to_a_number_of_numpy(tmp_path):
    net = layers.Dropout(0.5, 0)
    net.p = np.float32(0.25)
    save(tmp_path / "net", net)
    assert load(tmp_path / "net").p == 0.25


def test_losses_of_numpy():
    loss = layers.SoftmaxCrossEntropy(np.float32(0.5))
    assert type(loss.label_smoothing) is float
    weighted = layers.Losses((loss, np.int64(1)), (layers.MeanSquaredError(), np.float32(0.5)))
    assert [type(weight) for _, weight in weighted.weighted] == [float, float]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Linear(True, 4), "Linear: in_features is True, expected an integer"),
        (lambda: layers.Linear(3, 2.5), "Linear: out_features is 2.5, expected an integer"),
        (lambda: layers.Linear("3", 4), "Linear: in_features is '3', expected an integer"),
        (lambda: layers.Linear(np.array([3, 4]), 4), "Linear: in_features is array([3, 4]), "),
        (lambda: layers.Linear(np.float32(3), 4), "Linear: in_features is np.float32(3.0), "),
        (lambda: layers.Bias(None), "Bias: features is None, expected an integer"),
        (lambda: layers.Input(np.True_), "Input: features is np.True_, expected an integer"),
        (lambda: layers.Input("5"), "Input: features is '5', expected an integer"),
        (lambda: layers.Dropout("0.5"), "Dropout: p is '0.5', expected a number"),
        (lambda: layers.Dropout(True), "Dropout: p is True, expected a number"),
        (lambda: layers.Dropout(None), "Dropout: p is None, expected a number"),
        (lambda: layers.GaussianNoise(True), "GaussianNoise: std is True, expected a number"),
        (lambda: layers.GaussianNoise(0.5, 1.5), "GaussianNoise: rng is 1.5, expected a seed"),
        (lambda: layers.Multiply("2"), "Multiply: constant is '2', expected a number"),
        (lambda: layers.Multiply(1j), "Multiply: constant is 1j, expected a number"),
        (lambda: layers.Multiply(10**400), "Multiply: constant is beyond the numbers of float64"),
        (lambda: layers.Split([1.0]), "Split: a width is 1.0, expected an integer"),
        (lambda: layers.Split(3), "Split: widths is 3, expected a list of integers"),
        (lambda: layers.Split("12"), "Split: widths is '12', expected a list of integers"),
        (
            lambda: layers.SoftmaxCrossEntropy("0.1"),
            "SoftmaxCrossEntropy: label_smoothing is '0.1', expected a number",
        ),
        (
            lambda: layers.Losses((layers.MeanSquaredError(), "1")),
            "Losses: a weight is '1', expected a number",
        ),
        (lambda: mlp(5, 3, 2), "mlp: hidden is 3, expected a list of widths such as [200]"),
        (lambda: mlp(5, "33", 2), "mlp: hidden is '33', expected a list of widths"),
        (lambda: layers.Linear(3, 2, "a"), "Linear: rng is 'a', expected a seed (an integer of at"),
        (lambda: layers.Linear(3, 2, -1), "Linear: rng is -1, expected a seed"),
        (lambda: layers.Dropout(0.5, 1.5), "Dropout: rng is 1.5, expected a seed"),
        (lambda: mlp(5, [2], 2, "b"), "mlp: rng is 'b', expected a seed"),
        (lambda: mlp(5, [2.5], 2), "mlp: hidden[0] is 2.5, expected an integer"),
        (lambda: mlp(5, [3], 2, input_noise="0.1"), "mlp: input_noise is '0.1', expected a number"),
        (lambda: mlp(5, [3], 2, dropout="0.1"), "mlp: dropout is '0.1', expected a number"),
    ],
)
def test_what_is_no_number_is_refused_in_one_line(make, message):
    with pytest.raises((TypeError, ValueError)) as caught:
        make()
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
