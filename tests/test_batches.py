"""Batches of examples: images divided by 255, or numbers as they are."""

import numpy as np
import pytest

from jitprop.layers import Graph, Input, Linear, Tanh
from jitprop.layers.sparse import SparseBatch
from jitprop.training import mlp
from jitprop.training.batches import Batches

rng = np.random.default_rng(11)
IMAGES = rng.integers(0, 256, (9, 3, 4), np.uint8)
LABELS = rng.integers(0, 5, 9).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_take(dtype):
    batches = Batches(mlp(12, (), 5, 0, dtype), IMAGES, LABELS, 4)
    index = np.array([8, 0, 3, 3])
    (x,), t = batches.take(index)
    assert x.dtype == dtype
    assert t.dtype == np.int64
    pixels = IMAGES.reshape(9, 12)[index]
    # One correctly rounded division, or a product with a rounded 1 / 255: within an ulp.
    np.testing.assert_allclose(x, pixels / 255, rtol=np.finfo(dtype).eps, atol=0)
    np.testing.assert_array_equal(t, LABELS[index])


def test_a_short_batch_takes_the_first_rows_of_the_same_memory():
    batches = Batches(mlp(12, (), 5, 0), IMAGES, LABELS, 4)
    (x,), t = batches.take(np.arange(4))
    (short_x,), short_t = batches.take(np.array([5]))
    assert short_x.shape == (1, 12)
    assert np.shares_memory(short_x, x[:1])
    assert np.shares_memory(short_t, t[:1])


@pytest.mark.parametrize(("batch_size", "size"), [(1, 1), (9, 9), (10, 9), (None, 9)])
def test_size(batch_size, size):
    batches = Batches(mlp(12, (), 5, 0), IMAGES, LABELS, batch_size)
    assert (len(batches), batches.size) == (9, size)


def test_what_is_given_stays():
    images, labels = IMAGES.copy(), LABELS.copy()
    Batches(mlp(12, (), 5, 0), images, labels, 4).take(np.arange(4))
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


def test_a_network_without_parameters_gets_float32():
    assert Batches(Tanh(), IMAGES, LABELS, 2).take(np.arange(2))[0][0].dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_and_targets_are_taken_as_they_are(dtype):
    x, t = rng.standard_normal((9, 12)), rng.standard_normal((9, 3))
    batches = Batches(mlp(12, (), 5, 0, dtype), x, t, 4)
    index = np.array([8, 0, 3])
    (batch_x,), batch_t = batches.take(index)
    assert batch_x.dtype == batch_t.dtype == dtype
    np.testing.assert_array_equal(batch_x, x[index].astype(dtype))
    np.testing.assert_array_equal(batch_t, t[index].astype(dtype))
    assert batches.misses(batch_x, batch_t).shape == (0,)


def test_zeros_are_skipped_where_linear_layers_alone_take_the_images():
    images = np.zeros((9, 3, 4), np.uint8)
    images[::2, 0, 0] = 1
    v, w = Input(12), Input(12)
    shared = Graph([v, w], Linear(12, 5, 0)(v) + Linear(12, 5, 0)(Tanh()(w)))
    for net, rows, density in (
        (mlp(12, (), 5, 0), images, 5 / 108),
        (mlp(12, (3,), 5, 0), images + np.uint8(1), None),
        (Tanh(), images, None),
        (shared, (images, images), 5 / 108),
    ):
        assert Batches(net, rows, LABELS, 4).density == density
        assert Batches(net, rows, LABELS, 4, "dense").density is None
    (x, y), _ = Batches(shared, (images, images), LABELS, 4).take(np.arange(2))
    assert (type(x), type(y)) == (SparseBatch, np.ndarray)
    with pytest.raises(ValueError, match="input is sparse, but neither images nor a"):
        Batches(Tanh(), images, LABELS, 4, "sparse")
    with pytest.raises(TypeError, match="net is of type list, expected a module"):
        Batches([Tanh()], images, LABELS, 4)


def test_misses():
    batches = Batches(mlp(12, (), 5, 0), IMAGES, LABELS, 4)
    z = np.eye(5, dtype=np.float32)[[1, 2, 3, 4]]
    np.testing.assert_array_equal(batches.misses(z, np.array([1, 2, 4, 4])), [0, 0, 1, 0])
    with pytest.raises(ValueError, match=f"labels 0 ... {LABELS.max()}, they must be 0 ... 1"):
        batches.misses(np.zeros((4, 2), np.float32), np.zeros(4, int))


@pytest.mark.parametrize(
    ("x", "t", "error", "message"),
    [
        (IMAGES * 1j, LABELS, TypeError, "x holds complex128, expected numbers"),
        (IMAGES[:, :2] / 255, LABELS, ValueError, "x has 8 features, the network takes 12"),
        (IMAGES[0, 0], LABELS[:4], ValueError, r"x has shape \(4,\), expected \(n, 12\)"),
        (IMAGES, LABELS / 3, ValueError, r"t has shape \(9,\), expected \(n, 5\)"),
        (IMAGES, LABELS.astype(int) - 6, ValueError, "labels -"),
        (IMAGES, LABELS[:8], ValueError, r"t has shape \(8,\), expected \(9, ...\)"),
        (IMAGES[:0], LABELS[:0], ValueError, "x holds no example"),
        ([[1.0], [1.0, 2.0]], LABELS, ValueError, "x is neither .* one for each input$"),
        (IMAGES, [[1], [1, 2]], ValueError, "t is neither .* one for each output$"),
    ],
)
def test_refuses_what_does_not_fit(x, t, error, message):
    with pytest.raises(error, match=message):
        Batches(mlp(12, (), 5, 0), x, t, 4)
