"""Pictures: what they show is what they were given, and no text covers another."""

import io
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from jitprop.reporting.pictures import (
    Predictions,
    confusion_matrix,
    distortions,
    learning_curves,
    mistakes,
    png,
    weights,
)
from jitprop.training import Epoch

COUNTS = {"train": 1000, "validation": 500, "test": 200}


def epochs(n, validation=True, scale=1.0):
    """A history in which everything falls, from `scale` on."""
    return [
        Epoch(
            at,
            scale / at,
            1000 // at,
            0.5,
            *((scale / at + 0.1, 400 // at) if validation else (None, None)),
            scale / at + 0.2,
            180 // at,
        )
        for at in range(1, n + 1)
    ]


def predictions(classes, n=3000, share=0.2, seed=0):
    """A set of which about a share of the guesses is wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(classes, size=n)
    wrong = rng.random(n) < share
    guess = np.where(wrong, (truth + rng.integers(1, classes, n)) % classes, truth)
    return Predictions("test", truth, guess, rng.random(n), classes)


def images(n, shape=(6, 6), seed=1):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


def texts(axes):
    return [text.get_text() for text in axes.texts]


def tiles(figure):
    return [np.asarray(image.get_array()) for image in figure.axes[0].images]


def test_learning_curves():
    history = epochs(10)
    loss, errors = learning_curves(history, COUNTS, labels=True).axes
    for panel, kind in ((loss, "loss"), (errors, "errors")):
        assert [line.get_label().split()[0] for line in panel.lines] == list(COUNTS)
        assert len({(line.get_color(), line.get_linestyle()) for line in panel.lines}) == 3
        assert panel.get_title()
        assert panel.get_ylabel()
        assert panel.get_xlabel() == "epoch"
        for line, (name, count) in zip(panel.lines, COUNTS.items(), strict=True):
            assert list(line.get_xdata()) == list(range(1, 11))
            unit = 1 if kind == "loss" else 100 / count
            expected = [getattr(epoch, f"{name}_{kind}") * unit for epoch in history]
            np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-15)
    assert [line.get_label() for line in errors.lines] == [
        *("train 10.00%", "validation 8.00%", "test 9.00%")
    ]


def test_learning_curves_without_validation_or_labels():
    loss, errors = learning_curves(epochs(3, validation=False), COUNTS, labels=True).axes
    assert len(loss.lines) == len(errors.lines) == 2
    (loss,) = learning_curves(epochs(3), COUNTS, labels=False).axes
    assert len(loss.lines) == 3


def test_learning_curves_without_errors_that_were_counted():
    history = [Epoch(at, 1 / at, None, 0.1, None, None, 2 / at, None) for at in (1, 2, 3)]
    (loss,) = learning_curves(history, COUNTS, labels=True).axes
    assert len(loss.lines) == 2
    some = [Epoch(at, 1 / at, 100, 0.1, None, None, 2 / at, None) for at in (1, 2, 3)]
    loss, errors = learning_curves(some, COUNTS, labels=True).axes
    assert [line.get_label() for line in errors.lines] == ["train 10.00%"]
    assert len(loss.lines) == 2


def test_the_name_of_the_loss():
    loss = learning_curves(epochs(3), COUNTS, True, "loss, with label smoothing 0.1").axes[0]
    assert loss.get_title() == "Loss, with label smoothing 0.1"


def test_the_axis_of_losses_is_logarithmic_where_they_are_far_apart():
    def scale(low, high):
        history = [Epoch(1, high, 0, 0.1), Epoch(2, low, 0, 0.1)]
        axes = learning_curves(history, {"train": 9}, labels=True).axes[0]
        assert ("log" in axes.get_ylabel()) is (axes.get_yscale() == "log")
        return axes.get_yscale()

    assert scale(0.1, 1) == "linear"
    assert scale(0.01, 1) == "log"
    assert scale(0.0, 1) == scale(-1, 1) == scale(0.01, np.inf) == "linear"


def test_confusion_matrix():
    truth = np.array([0, 0, 0, 1, 1, 3, 3, 3])
    guess = np.array([0, 0, 1, 1, 0, 3, 0, 0])
    figure = confusion_matrix(Predictions("test", truth, guess, np.ones(8), 4))
    axes = figure.axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert {at: text for at, text in cells.items() if at[0] in range(4) and at[1] in range(4)} == {
        (0, 0): "2",
        (1, 0): "1",
        (1, 1): "1",
        (0, 1): "1",
        (3, 3): "1",
        (0, 3): "2",
    }
    assert texts(axes)[-5:] == ["66.7%", "50.0%", "none", "33.3%", "recall"]
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    coloured = axes.images[0].get_array()
    assert coloured.count() == 3
    assert coloured.mask[range(4), range(4)].all()


def test_a_confusion_matrix_of_very_many_classes_shows_those_with_mistakes():
    truth = np.arange(60_000)
    guess = truth.copy()
    guess[[7, 500, 50_000]] = 8, 7, 500
    figure = confusion_matrix(Predictions("test", truth, guess, np.ones(60_000), 60_000))
    names = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert len(names) == 50
    assert {"7", "8", "500", "50000"} <= set(names)
    assert "50 of 60000 classes" in figure.axes[0].get_title()


def test_mistakes():
    truth, guess = np.array([1, 2, 3, 4]), np.array([1, 0, 9, 5])
    confidence = np.array([1, 0.5, 0.99999, 0.7])
    pixels = images(4)
    figure = mistakes(Predictions("test", truth, guess, confidence, 10), pixels)
    assert texts(figure.axes[0]) == [
        *("guess 9, 99.9%", "truth 3", "guess 5, 70.0%", "truth 4", "guess 0, 50.0%", "truth 2")
    ]
    np.testing.assert_array_equal(tiles(figure), pixels[[2, 3, 1]])
    assert figure.get_suptitle() == "All 3 mistakes on 4 test images (75.00% wrong)"


def test_many_mistakes_one_and_none():
    found = predictions(10)
    wrong = found.truth != found.guess
    most = found.confidence[wrong].max()
    figure = mistakes(found, images(3000))
    assert len(tiles(figure)) == 40
    assert f"40 most confident of {wrong.sum()} mistakes on 3,000" in figure.get_suptitle()
    assert texts(figure.axes[0])[0].endswith(f" {np.floor(1000 * most) / 10:.1f}%")
    one = found._replace(guess=np.where(np.arange(3000) == 5, -found.truth - 1, found.truth))
    assert mistakes(one, images(3000)).get_suptitle().startswith("The only mistake on 3,000")
    (line,) = mistakes(found._replace(guess=found.truth), images(3000)).texts
    assert line.get_text() == "No mistakes: all 3,000 test images are recognised."


def test_distortions():
    rows = images(8, (4, 3)).reshape(2, 4, 4, 3)
    figure = distortions(rows)
    np.testing.assert_array_equal(tiles(figure), rows.reshape(8, 4, 3))
    assert texts(figure.axes[0]) == ["original", "epoch 1"]
    extents = np.array([image.get_extent() for image in figure.axes[0].images])
    left, low = extents[:, 0].reshape(2, 4), extents[:, 2].reshape(2, 4)
    np.testing.assert_array_equal(left[0], left[1])
    assert (np.diff(left) > 0).all()
    assert (low == low[:, :1]).all()
    for text, row in zip(figure.axes[0].texts, extents[::4], strict=True):
        assert row[3] < text.get_position()[1] < row[2]


def test_weights():
    w = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
    figure = weights(w, (4, 3), classes=True)
    np.testing.assert_array_equal(tiles(figure), w.T.reshape(3, 4, 3))
    assert texts(figure.axes[0]) == ["class 0", "class 1", "class 2"]
    (low, high), *others = {image.get_clim() for image in figure.axes[0].images}
    assert low == -high
    assert not others
    assert figure.axes[1].get_ylabel() == "weight"


def test_the_largest_of_many_weights():
    w = np.full((4, 130), 0.1)
    w[:, 20:] = -1
    figure = weights(w, (2, 2), classes=False)
    assert len(tiles(figure)) == 100
    assert np.min(np.abs(tiles(figure))) == 1
    title = "Weights from the pixels to 100 of 130 units where they are largest"
    assert figure.get_suptitle() == title
    assert weights(np.zeros((4, 2)), (2, 2), classes=False).axes


FIGURES = {
    "1 epoch": lambda: learning_curves(epochs(1), COUNTS, True),
    "10 epochs": lambda: learning_curves(epochs(10), COUNTS, True),
    "100 epochs": lambda: learning_curves(epochs(100), COUNTS, True),
    "1000 epochs, far apart": lambda: learning_curves(epochs(1000, scale=1e6), COUNTS, True),
    "no validation": lambda: learning_curves(epochs(10, validation=False), COUNTS, True),
    "regression": lambda: learning_curves(epochs(10, scale=1e-5), COUNTS, False),
    "2 classes": lambda: confusion_matrix(predictions(2)),
    "10 classes": lambda: confusion_matrix(predictions(10, 99_000)),
    "47 classes": lambda: confusion_matrix(predictions(47, 99_000)),
    "99 classes": lambda: confusion_matrix(predictions(99, 2_000)),
    "no mistakes": lambda: confusion_matrix(predictions(10, share=0)),
    "gallery": lambda: mistakes(predictions(10), images(3000, (28, 28))),
    "gallery, 3 digits": lambda: mistakes(predictions(1000), images(3000, (28, 28))),
    "gallery, wide": lambda: mistakes(predictions(47), images(3000, (4, 14))),
    "gallery, high": lambda: mistakes(predictions(47), images(3000, (14, 4))),
    "gallery of 1": lambda: mistakes(predictions(10, 1, 1.1), images(1)),
    "gallery of none": lambda: mistakes(predictions(10, 9, 0), images(9)),
    "distortions": lambda: distortions(images(40, (28, 28)).reshape(4, 10, 28, 28)),
    "distortions, wide": lambda: distortions(images(40, (4, 64)).reshape(4, 10, 4, 64)),
    "distortions, high": lambda: distortions(images(40, (64, 4)).reshape(4, 10, 64, 4)),
    "distortions of 1": lambda: distortions(images(2, (28, 28)).reshape(2, 1, 28, 28)),
    "weights of classes": lambda: weights(np.eye(784, 10), (28, 28), True),
    "weights of 47 classes": lambda: weights(np.eye(784, 47), (28, 28), True),
    "weights of units": lambda: weights(np.eye(784, 800), (28, 28), False),
    "weights of very many units": lambda: weights(np.eye(4, 20_000), (2, 2), False),
    "loss with a long name": lambda: learning_curves(
        epochs(10), COUNTS, True, "loss, with label smoothing 0.12345"
    ),
    "no errors": lambda: learning_curves(
        epochs(10), COUNTS, False, "loss, with label smoothing 0.12345"
    ),
    "weights of 1 unit": lambda: weights(np.eye(56, 1), (4, 14), True),
}


@pytest.fixture
def overlapping(monkeypatch):
    """A search for texts that cover each other or reach out of the picture."""
    drawn = []
    draw = Text.draw
    monkeypatch.setattr(Text, "draw", lambda text, *args: (drawn.append(text), draw(text, *args)))

    def search(figure):
        drawn.clear()
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        seen = [text for text in drawn if text.get_visible() and text.get_text().strip()]
        texts = {id(text): text for text in seen}.values()
        boxes = [text.get_window_extent(canvas.get_renderer()) for text in texts]
        names = [text.get_text() for text in texts]
        edges = np.array([box.extents for box in boxes])
        outside = (edges[:, :2] < 0).any(axis=1) | (edges[:, 2:] > figure.bbox.size).any(axis=1)
        least = np.minimum(edges[:, None, 2:], edges[None, :, 2:])
        most = np.maximum(edges[:, None, :2], edges[None, :, :2])
        both = np.triu((least > most).all(axis=2), 1)
        pairs = [(names[at], names[other]) for at, other in np.argwhere(both)]
        return [names[at] for at in np.flatnonzero(outside)] + pairs

    return search


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_overlaps(name, overlapping):
    assert overlapping(FIGURES[name]()) == []


def test_the_search_for_overlaps_finds_them(overlapping):
    figure = Figure()
    figure.text(0.5, 0.5, "one")
    figure.text(0.52, 0.5, "two")
    figure.text(0.98, 0.1, "outside")
    assert overlapping(figure) == ["outside", ("one", "two")]


def test_png():
    data = png(mistakes(predictions(10), images(3000)))
    assert data.startswith(b"\x89PNG")
    pixels = imread(io.BytesIO(data))
    assert pixels.shape[1] == 1300
    assert pixels[..., :3].min() < 0.1 < 0.9 < pixels[..., :3].max()


@pytest.mark.slow
def test_no_backend_is_chosen_for_the_process():
    code = (
        "import sys, matplotlib; before = matplotlib.rcParams.copy()\n"
        "from jitprop.reporting.pictures import *\n"
        "png(learning_curves([Epoch(1, 1.0, 1, 0.1)], {'train': 2}, True))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert dict.__eq__(before, matplotlib.rcParams)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
