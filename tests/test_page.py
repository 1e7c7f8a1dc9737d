"""The page of a run: whole, alone, right, and written whole or not at all."""

import base64
import csv
import os
import platform
import re
import sys
from html.parser import HTMLParser

import numba
import numpy as np
import pytest

import jitprop
from jitprop.layers import (
    Dropout,
    GaussianNoise,
    Graph,
    Input,
    Linear,
    Losses,
    MeanSquaredError,
    ReLU,
    Sequential,
    Softmax,
    SoftmaxCrossEntropy,
    Tanh,
)
from jitprop.reporting import check_report, write_report
from jitprop.reporting.page import FILES, predict
from jitprop.reporting.words import network
from jitprop.training import Epoch, evaluate, fit, mlp

FIT = {"batch_size": 50, "rate": 0.1, "rng": 0}
ALONE = {"br", "hr", "img", "link", "meta", "path", "rect"}


def make(n, seed, classes=4):
    """Images of 5 x 5 pixels with a bright row, in noise that hides some of them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n).astype(np.uint8)
    images = rng.integers(0, 200, (n, 5, 5), np.uint8)
    images[np.arange(n), labels] += 55
    return images, labels


SETS = {"train": make(300, 0), "validation": make(60, 1), "test": make(100, 2)}


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are made but not drawn, which takes longest: for tests of what else is written."""
    png = b"\x89PNG\r\n\x1a\n"
    monkeypatch.setattr("jitprop.reporting.pictures.png", lambda figure: png)


def trained(net, loss=None, sets=SETS, epochs=2):
    others = {name: sets[name] for name in ("validation", "test") if name in sets}
    return fit(net, loss or SoftmaxCrossEntropy(), *sets["train"], epochs=epochs, **FIT, **others)


class Page(HTMLParser):
    """A page, which must close all that it opens; its words, pictures and links."""

    def __init__(self, path):
        super().__init__()
        self.open, self.words, self.images, self.links, self.tags = [], [], [], [], []
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.links += [attrs[name] for name in ("href", "src", "srcset") if name in attrs]
        if tag == "img":
            assert attrs["alt"]
            self.images.append(attrs["src"])
        if tag not in ALONE:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in ALONE
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data.strip())


def test_a_report(tmp_path):
    net = mlp(25, [6], 4, 0)
    history = trained(net)
    settings = {"data": "<b>a & b</b>", "hidden": (6, 7), "arch": None, "lr": 0.1}
    settings |= {"command": ["train.py", "--data", "<b>a & b</b>\n"], "date": "2026-01-02 03:04"}
    write_report(tmp_path, net, history, settings, SETS, SETS["train"][0][:6].reshape(2, 3, 5, 5))
    assert sorted(os.listdir(tmp_path)) == sorted(FILES)

    page = Page(tmp_path / "index.html")
    assert "<b>a" not in page.text
    head = page.words[: page.words.index("Learning curves")]
    assert {
        "25-6-4, tanh, 184 parameters",
        "<b>a & b</b>: 300 train, 60 validation, 100 test, 5x5 pixels",
        "2026-01-02 03:04",
        f"jitprop {jitprop.__version__}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, numba {numba.__version__}",
        "train.py --data '<b>a & b</b>\\n'",
    } <= set(head)
    shown = [word for word in page.words[page.words.index("Settings") :] if word]
    assert shown[:6] == ["Settings", "hidden layers", "6, 7", "learning rate", "0.1", "Epochs"]
    code = re.sub(r'"data:image/png;base64,[^"]*"', "", page.text)
    assert not re.search(r"https?:|//|@import|url\(|<script|<link", code)
    others = [link for link in page.links if not link.startswith("data:image/png;base64,")]
    assert others == ["history.csv"]
    files = [name for name in FILES if name.endswith(".png")]
    assert [base64.b64decode(image.partition(",")[2]) for image in page.images] == [
        (tmp_path / name).read_bytes() for name in files
    ]
    assert page.tags.count("svg") == 1
    assert "Linear(25, 6)" in page.words

    errors = history[-1].test_errors
    assert f"{errors} of 100" in page.words
    assert errors == evaluate(net, SoftmaxCrossEntropy(), *SETS["test"]).errors
    last = page.words.index("2", page.words.index("seconds"))
    shown = [word for word in page.words[last:] if word]
    epoch = history[-1]
    assert shown[:8] == [
        "2",
        f"{epoch.train_loss:#.4g}",
        f"{epoch.train_errors} ({epoch.train_errors / 300:.2%})",
        f"{epoch.validation_loss:#.4g}",
        f"{epoch.validation_errors} ({epoch.validation_errors / 60:.2%})",
        f"{epoch.test_loss:#.4g}",
        f"{epoch.test_errors} ({epoch.test_errors / 100:.2%})",
        f"{epoch.train_seconds:.2f}",
    ]


@pytest.mark.usefixtures("undrawn")
def test_history_as_csv(tmp_path):
    history = [Epoch(1, 0.1, 3, 0.25), Epoch(2, 1 / 3, 2, 0.5, test_loss=2e-7, test_errors=0)]
    write_report(tmp_path, mlp(25, [], 4, 0), history, {}, SETS)
    with open(tmp_path / "history.csv", newline="") as file:
        first, second = csv.DictReader(file)
    assert first["test_loss"] == first["validation_loss"] == ""
    for name in ("epoch", "train_loss", "train_errors", "train_seconds"):
        assert float(first[name]) == getattr(history[0], name)
        assert float(second[name]) == getattr(history[1], name)
    assert float(second["test_loss"]) == 2e-7
    assert second["test_errors"] == "0"


@pytest.mark.slow
def test_an_earlier_report_is_replaced_and_all_else_stays(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    net = mlp(25, [], 4, 0)
    history = trained(net)
    settings = {"date": "2026-01-02 03:04"}
    distorted = SETS["train"][0][:6].reshape(2, 3, 5, 5)
    write_report(tmp_path, net, history, settings, SETS, distorted)
    before = {name: (tmp_path / name).read_bytes() for name in FILES}
    write_report(tmp_path, net, history, settings, SETS, distorted)
    assert before == {name: (tmp_path / name).read_bytes() for name in FILES}

    x, t = (np.eye(6, dtype=np.float32) for _ in range(2))
    write_report(tmp_path, Linear(6, 6, 0), [Epoch(1, 0.5, None, 0.1)], {}, {"train": (x, t)})
    assert sorted(os.listdir(tmp_path)) == [
        *("history.csv", "index.html", "learning_curves.png", "mine.txt", "model.svg")
    ]
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_history_of_numpys_numbers_is_plain_in_the_csv(tmp_path):
    history = [
        Epoch(*(np.int64(1), np.float64(1 / 3), np.int64(3), np.float64(0.25))),
        Epoch(*(np.int32(2), np.float32(0.1), None, 0.5, None, None, np.float64(2e-7), None)),
    ]
    write_report(tmp_path, mlp(25, [], 4, 0), history, {}, {"train": SETS["train"]})
    assert (tmp_path / "history.csv").read_text().splitlines()[1:] == [
        *("1,0.3333333333333333,3,0.25,,,,", "2,0.1,,0.5,,,2e-07,")
    ]


@pytest.mark.slow
def test_errors_that_nobody_counted(tmp_path):
    """A regression has none; of labels, some epochs or all may have none."""
    x, t = np.ones((80, 3), np.float32), np.zeros((80, 2), np.float32)
    sets = {"train": (x, t), "test": (x, t)}
    history = [Epoch(at, 0.5 / at, None, 0.1, test_loss=0.25, test_errors=None) for at in (1, 2)]
    write_report(tmp_path, Linear(3, 2, 0), history, {}, sets)
    page = Page(tmp_path / "index.html")
    assert "0.2500" in page.words
    assert not any("errors" in word for word in page.words[page.words.index("Epochs") :])
    assert (tmp_path / "history.csv").read_text().splitlines()[1] == "1,0.5,,0.1,,,0.25,"

    history = [Epoch(1, 0.5, None, 0.1), Epoch(2, 0.25, 75, 0.1)]
    write_report(tmp_path, mlp(25, [], 4, 0), history, {}, {"train": SETS["train"]})
    words = [word for word in Page(tmp_path / "index.html").words if word]
    assert words[words.index("train errors") :][:7] == [
        *("train errors", "seconds", "1", "0.5000", "-", "0.10", "2")
    ]
    assert "75 (25.00%)" in words

    write_report(tmp_path, mlp(25, [], 4, 0), history[:1], {}, {"train": SETS["train"]})
    assert "train errors" not in Page(tmp_path / "index.html").words


@pytest.mark.slow
def test_settings_are_in_words_and_only_those_that_count(tmp_path):
    def shown(**settings):
        write_report(tmp_path, mlp(25, [], 4, 0), [], settings, SETS)
        words = [word for word in Page(tmp_path / "index.html").words if word]
        return words[words.index("Settings") + 1 :]

    assert shown(arch=None, hidden=(), batch_size="full", rate=np.float64(0.1)) == [
        *("hidden layers", "none", "batch size", "full", "learning rate", "0.1")
    ]
    sgd = {"optimizer": "sgd", "momentum": 0.9, "nesterov": False, "betas": (0.9, 0.999)}
    constant = {"schedule": "constant", "gamma": 0.1, "step_size": 5}
    assert shown(**sgd, **constant, early_stopping=False, patience=5) == [
        *("optimizer", "sgd", "momentum", "0.9", "Nesterov's momentum", "no"),
        *("schedule", "constant", "early stopping", "no"),
    ]
    assert shown(**{**sgd, "optimizer": "adam", "eps": 1e-8}) == [
        *("optimizer", "adam", "betas", "0.9, 0.999", "epsilon", "1e-08")
    ]
    distort = {"alpha": 34.0, "scale": 0.08}
    assert shown(schedule="step", gamma=1 / 3, my_own_setting="a", distort=distort) == [
        *("schedule", "step", "gamma", str(1 / 3), "my own setting", "a"),
        *("distort", "alpha 34, scale 0.08"),
    ]
    assert shown(date="today", command="make", data="digits") == []


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (mlp(784, [200], 10, 0), "784-200-10, tanh, 159,010 parameters"),
        (mlp(9, [], 4, 0), "9-4, 40 parameters"),
        (mlp(9, [5, 5], 4, 0, dropout=0.5, input_noise=0.5), "9-5-5-4, tanh, 104 parameters"),
        (Sequential(Linear(9, 5, 0), ReLU(), Linear(5, 4, 0), Tanh()), "9-5-4, ReLU, tanh, 74"),
        (Linear(3, 2, 0), "3-2, 8 parameters"),
        (Tanh(), "Tanh(), 0 parameters"),
        (Graph(*(lambda x: (x, Linear(3, 2, 0)(x) + Linear(3, 2, 1)(x)))(Input(3))), "Graph of 3"),
    ],
)
def test_the_network_in_words(net, words):
    assert network(net).startswith(words)


@pytest.mark.slow
@pytest.mark.parametrize("smoothing", [0, None, 0.1])
def test_losses_with_label_smoothing_are_called_so(tmp_path, monkeypatch, smoothing):
    from jitprop.reporting import pictures

    seen, real = [], pictures.learning_curves
    monkeypatch.setattr(pictures, "learning_curves", lambda *a: seen.append(real(*a)) or seen[-1])
    net = mlp(25, [], 4, 0)
    history = trained(net, SoftmaxCrossEntropy(smoothing or 0.0))
    write_report(tmp_path, net, history, {"label_smoothing": smoothing}, SETS)
    loss = "loss, with label smoothing 0.1" if smoothing else "loss"
    assert seen[0].axes[0].get_title() == loss.capitalize()
    words = Page(tmp_path / "index.html").words
    assert {f"{name} {loss}" for name in SETS} <= set(words)


@pytest.mark.slow
def test_a_narrow_window_scrolls_what_it_would_make_unreadable(tmp_path):
    net = mlp(25, [6], 4, 0)
    write_report(tmp_path, net, trained(net), {}, SETS, SETS["train"][0][None, :3])
    text = (tmp_path / "index.html").read_text()
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in text
    for name in [name for name in FILES if name.endswith(".png")]:
        data = (tmp_path / name).read_bytes()
        _, _, after = text.partition(base64.b64encode(data).decode())
        width = 0.8 * int.from_bytes(data[16:20], "big")
        assert f'style="min-width: {width:.0f}px"' in after[: after.index(">")]
    boxes = text.count('<div class="box"><table') + text.count('<div class="rows"><table')
    assert text.count("<table") == boxes == 3
    style = text[text.index("<style>") : text.index("</style>")]
    sizes = re.findall(r"font(?:-size)?:\s*([\d.]+)(px|rem)", style)
    assert len(sizes) == 2
    for size, unit in sizes:
        assert float(size) * (16 if unit == "rem" else 1) >= 16


@pytest.mark.usefixtures("undrawn")
def test_no_epochs(tmp_path):
    write_report(tmp_path, mlp(25, [3], 4, 0), [], {}, SETS)
    assert not (tmp_path / "learning_curves.png").exists()
    assert (tmp_path / "mistakes.png").exists()
    assert any(word.startswith("After 0 epochs,") for word in Page(tmp_path / "index.html").words)
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 1


@pytest.mark.usefixtures("undrawn")
def test_regression(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((80, 3)).astype(np.float32)
    sets = {"train": (x, x @ np.ones((3, 2), np.float32))}
    net = Sequential(Linear(3, 4, 0), Tanh(), Linear(4, 2, 0))
    history = trained(net, MeanSquaredError(), sets)
    write_report(tmp_path, net, history, {}, sets)
    page = Page(tmp_path / "index.html")
    assert len(page.images) == 1
    assert f"{history[-1].train_loss:.4g}" in page.words
    assert not any("errors" in word for word in page.words[page.words.index("Epochs") :])


@pytest.mark.usefixtures("undrawn")
def test_several_inputs_and_targets(tmp_path):
    images, labels = SETS["train"]
    x, w = Input(25), Input(2)
    h = Linear(25, 4, 0)(x)
    net = Graph([x, w], [h, Linear(2, 3, 0)(w)])
    extra = np.zeros((300, 2), np.float32)
    sets = {"train": ((images, extra), (labels, np.zeros((300, 3), np.float32)))}
    loss = Losses((SoftmaxCrossEntropy(), 1.0), (MeanSquaredError(), 0.5))
    history = trained(net, loss, sets)
    write_report(tmp_path, net, history, {}, sets)
    errors = evaluate(net, loss, *sets["train"]).errors
    page = Page(tmp_path / "index.html")
    assert f"{errors} of 300" in page.words
    assert len(page.images) == 2


@pytest.mark.usefixtures("undrawn")
def test_images_as_floats_have_a_confusion_matrix_but_no_gallery(tmp_path):
    x, t = SETS["test"]
    sets = {"test": ((x.reshape(100, 25) / 255).astype(np.float32), t)}
    write_report(tmp_path, mlp(25, [3], 4, 0), [], {}, sets)
    assert (tmp_path / "confusion_matrix.png").exists()
    assert not (tmp_path / "mistakes.png").exists()


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "before", [Dropout(0.5, 0), GaussianNoise(0.5, 0), Tanh(), Linear(25, 25, 0)]
)
def test_which_layer_is_the_first(before, tmp_path, monkeypatch):
    seen = []

    def weights(w, shape, classes):
        seen.append((w, shape, classes))
        return real(w, shape, classes)

    from jitprop.reporting import pictures

    real = pictures.weights
    monkeypatch.setattr(pictures, "weights", weights)
    linear = Linear(25, 4, 0)
    write_report(tmp_path, Sequential(Sequential(before), linear), [], {}, SETS)
    ((w, shape, classes),) = seen
    assert w is (before.w if isinstance(before, Linear) else linear.w)
    assert shape == (5, 5)
    assert classes is not isinstance(before, Linear)


def test_predictions():
    net = mlp(25, [6], 4, 0)
    trained(net)
    images, labels = make(1203, 3)
    found = predict(net, "test", images, labels)
    z = net.fprop((images.reshape(1203, 25) / np.float32(255)).astype(np.float32))
    e = np.exp(z.astype(float) - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(found.truth, labels)
    assert np.mean(found.guess == p.argmax(axis=1)) > 0.99  # 1/255 is rounded here
    np.testing.assert_allclose(found.confidence, p.max(axis=1), rtol=1e-4)
    assert found.classes == 4
    errors = evaluate(net, SoftmaxCrossEntropy(), images, labels).errors
    assert np.sum(found.guess != found.truth) == errors


def test_predictions_of_a_network_that_gives_probabilities():
    net = mlp(25, [], 4, 0)
    logits = predict(net, "test", *SETS["test"])
    same = predict(Sequential(net, Softmax()), "test", *SETS["test"])
    np.testing.assert_array_equal(logits.confidence, same.confidence)


def test_predictions_are_those_of_evaluation():
    plain = mlp(25, [6], 4, 0)
    net = Sequential(plain[0], plain[1], Dropout(0.5, 0), plain[2])
    for mode in (True, False):
        net.train(mode)
        found = predict(net, "test", *SETS["test"])
        assert net.training is net[2].training is mode
        expected = predict(plain, "test", *SETS["test"])
        np.testing.assert_array_equal(found.confidence, expected.confidence)


def test_check_report_makes_the_folder_and_nothing_in_it(tmp_path):
    check_report(tmp_path / "a" / "b")
    assert os.listdir(tmp_path / "a" / "b") == []


def test_what_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(FileExistsError):
        check_report(tmp_path / "file")
    with pytest.raises(NotADirectoryError):
        check_report(tmp_path / "file" / "report")
    (tmp_path / "weights.png").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        check_report(tmp_path)
    assert caught.value.strerror


@pytest.mark.usefixtures("undrawn")
def test_a_failure_to_draw_leaves_the_old_report(tmp_path, monkeypatch):
    net = mlp(25, [], 4, 0)
    write_report(tmp_path, net, [], {}, SETS)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}

    def fail(*args):
        raise RuntimeError

    monkeypatch.setattr("jitprop.reporting.pictures.weights", fail)
    with pytest.raises(RuntimeError):
        write_report(tmp_path, net, trained(net), {}, SETS)
    assert before == {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", ["index.html", "weights.png", "history.csv"])
def test_a_persons_own_files_are_not_replaced(tmp_path, name):
    """A report knows a folder that a report wrote, also one that was moved."""
    net = mlp(25, [6], 4, 0)
    (tmp_path / name).write_bytes(b"<title>my page</title>")
    for use in (check_report, lambda folder: write_report(folder, net, trained(net), {}, SETS)):
        with pytest.raises(FileExistsError, match="no report wrote it; choose another") as caught:
            use(tmp_path)
        assert caught.value.filename == str(tmp_path / name)
        assert os.listdir(tmp_path) == [name]
    (tmp_path / name).unlink()
    for _ in range(2):
        write_report(tmp_path, net, trained(net), {}, SETS)
        check_report(tmp_path)


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "jitprop.reporting.pictures", raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"need matplotlib\S*: pip install 'jitprop\[plots\]'"):
        check_report(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("undrawn")
def test_distorted_images_are_shown_where_there_are_any(tmp_path):
    net, history = mlp(25, [], 4, 0), [Epoch(1, 0.5, 3, 0.1)]
    sets = {"train": SETS["train"]}
    for distorted, there in ((SETS["train"][0][None, :4], True), (None, False)):
        write_report(tmp_path, net, history, {}, sets, distorted)
        assert (tmp_path / "distortions.png").exists() == there
        assert ("Distorted images" in Page(tmp_path / "index.html").words) == there
    for wrong, given in (
        (SETS["train"][0], r"uint8 of shape \(300, 5, 5\)"),
        (np.zeros((2, 3, 4, 4)), r"float64 of shape \(2, 3, 4, 4\)"),
    ):
        with pytest.raises(ValueError, match=f"distorted is {given}, expected uint8 of "):
            write_report(tmp_path, net, history, {}, sets, wrong)


@pytest.mark.parametrize(
    ("sets", "error", "message"),
    [
        ({}, ValueError, 'sets has no "test"'),
        ({"train": SETS["train"]}, ValueError, 'sets has no "test"'),
        ({"foo": SETS["test"]}, TypeError, "sets holds 'foo'"),
        ({**SETS, "test": SETS["test"][0]}, TypeError, "sets holds 'test'"),
        ({**SETS, "test": (SETS["test"][0], [1, 2])}, ValueError, "test: t has 2 rows, x 100"),
        ({**SETS, "test": (SETS["test"][0], [])}, ValueError, "test: t holds no example"),
        ({**SETS, "test": (SETS["test"][0], SETS["test"][1] + 1)}, ValueError, "t holds labels 1"),
    ],
)
def test_sets_that_do_not_fit(sets, error, message, tmp_path):
    net = mlp(25, (), int(SETS["train"][1].max()) + 1, 0)
    history = trained(net)
    with pytest.raises(error, match=message):
        write_report(tmp_path / "report", net, history, {}, sets)
    assert not (tmp_path / "report" / "index.html").exists()
