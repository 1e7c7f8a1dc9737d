"""training/distortion.py and distorting.py: images distorted as a training learns from them.

And what shows them: the report of such a training, the command `distort`.
"""

import json
import sys

import numpy as np
import pytest
from runs import folder, write_idx
from safetensors.numpy import load_file

import jitprop
from jitprop import (
    Distortion,
    Linear,
    Sequential,
    Settings,
    SoftmaxCrossEntropy,
    Tanh,
    Training,
    cli,
    data,
    distorted,
    fit,
    kernels,
    mlp,
    train,
    weights_sha256,
)
from jitprop.training.distorting import gallery

MNIST = data.load_dataset()
IMAGES, LABELS = MNIST.train_images[:300], MNIST.train_labels[:300]
HOW = Distortion(shift=1)
SETTINGS = Settings(epochs=2, batch_size=70, rate=0.1, momentum=0.9)


class OwnTanh(Tanh):
    """Runs layer by layer."""

    def fprop(self, x):
        return super().fprop(x)


def network(middle=Tanh):
    rng = np.random.default_rng(0)
    return Sequential(Linear(784, 20, rng), middle(), Linear(20, 10, rng))


def training(net, distort=HOW, x=IMAGES, **how):
    return Training(net, SoftmaxCrossEntropy(), x, LABELS, SETTINGS, rng=5, distort=distort, **how)


def digest(net, **how):
    training(net, **how).run()
    return weights_sha256(net)


def test_the_bits_depend_on_nothing_but_the_seed():
    """Threads, zeros left out or not, compiled or layer by layer; the shape of the table."""
    expected = digest(network())
    for threads in (1, 3):
        kernels.set_num_threads(threads)
        assert digest(network()) == expected
    assert digest(network(), input="dense") == expected
    assert digest(network(), x=IMAGES.reshape(300, 784), pixels=True) == expected
    assert digest(network(OwnTanh)) == expected
    assert digest(network(), distort=Distortion(shift=2)) != expected
    assert digest(network(), distort=None) != expected


def test_a_batch_is_made_of_the_images_that_distorted_shows():
    net = mlp(784, [], 10, 0)
    run = training(net)
    run._plan._pace.choose = lambda: (False, 1)  # batch by batch
    seed = int(run._key[0])
    seen = []
    source = run._plan.batches._x[0]
    run._on_batch = lambda epoch, batch, loss: seen.append((epoch, source.batch.copy()))
    run.run()
    for epoch, batch in seen:
        shown = distorted(IMAGES, HOW, seed, epoch).reshape(300, 784)
        assert {image.tobytes() for image in batch} <= {image.tobytes() for image in shown}
    rows = gallery(IMAGES, LABELS, HOW, seed, 2)
    assert rows.shape == (3, 10, 28, 28)
    for epoch, row in enumerate(rows[1:], 1):
        taken = {image.tobytes() for at, batch in seen if at == epoch for image in batch}
        assert {image.tobytes() for image in row} <= taken


def test_a_gallery_has_images_of_all_classes_and_what_became_of_them():
    for labels, expected in (
        (LABELS, [int(np.argmax(label == LABELS)) for label in range(10)]),
        ([2, 2, 2, 1, 2, 7, 7], [3, 0, 5, 1, 6, 2, 4]),
        (np.zeros(20, np.uint8), range(10)),
        (np.arange(300) // 15, range(0, 150, 15)),
    ):
        x = IMAGES[: len(labels)]
        rows = gallery(x, np.asarray(labels), HOW, 9)
        assert len(rows) == 4
        np.testing.assert_array_equal(rows[0], x[expected])
        for epoch, row in enumerate(rows[1:], 1):
            np.testing.assert_array_equal(row, distorted(x, HOW, 9, epoch)[expected])


def test_each_epoch_and_image_is_another():
    same = np.repeat(IMAGES[:1], 50, axis=0)
    found = [distorted(same, HOW, 1, epoch) for epoch in (1, 2)]
    assert len({image.tobytes() for epoch in found for image in epoch}) == 100
    assert np.array_equal(found[0], distorted(same, HOW, 1, 1))
    assert not np.array_equal(found[0], distorted(same, HOW, 2, 1))
    still = Distortion(0, 1, 0, 0, 0, 0)
    assert np.array_equal(distorted(IMAGES, still), IMAGES)
    some = distorted(IMAGES, HOW, 1, 2, [7, 299, 7])
    assert np.array_equal(some, distorted(IMAGES, HOW, 1, 2)[[7, 299, 7]])
    table = distorted(IMAGES.reshape(300, 784), HOW)
    assert np.array_equal(table.reshape(IMAGES.shape), distorted(IMAGES, HOW))


@pytest.mark.parametrize("batch", [1, 3, 5])
def test_a_run_that_goes_on_ends_in_the_same_bits(batch, tmp_path):
    expected = digest(network())
    net = network()

    def stop(epoch, done, loss):
        if (epoch, done) == (2, batch) or (batch == 5 and epoch == 2):
            raise KeyboardInterrupt

    run = training(net, on_batch=stop)
    run._plan._pace.choose = lambda: (False, 1)  # batch by batch
    with pytest.raises(KeyboardInterrupt):
        run.run()
    jitprop.save(tmp_path / "net.safetensors", net, run)
    net = network()
    again = Training(
        net, SoftmaxCrossEntropy(), IMAGES, LABELS, SETTINGS, rng=99, distort=HOW
    )  # whatever seed: the file has the other
    jitprop.resume(tmp_path / "net.safetensors", again)
    again.run()
    assert weights_sha256(net) == expected
    with pytest.raises(jitprop.CheckpointError, match="distortion is"):
        jitprop.resume(tmp_path / "net.safetensors", training(network(), distort=None))


def test_other_sets_stay_as_they_are():
    run = training(network(), test=(IMAGES, LABELS))
    net = run.net
    history = run.run()
    assert history[-1].test_errors == jitprop.evaluate(net, run.loss, IMAGES, LABELS).errors


def test_what_makes_no_sense():
    for values, error, match in (
        ({"sigma": 0}, ValueError, "sigma must be above 0 to 20, not 0"),
        ({"alpha": -1}, ValueError, "alpha must be from 0 to 10000, not -1"),
        ({"scale": 1}, ValueError, "scale must be from 0 to 0.9, not 1"),
        ({"rotate": float("nan")}, ValueError, "rotate must be from 0 to 80, not nan"),
        ({"shear": "3"}, TypeError, "shear must be a number, not '3'"),
    ):
        with pytest.raises(error, match=match):
            Distortion(**values)
    for x, how, error, match in (
        (IMAGES, 3, TypeError, r"distort is of type int, expected Distortion"),
        (IMAGES / 255.0, HOW, ValueError, "one input of images that are bytes, uint8"),
        (IMAGES.reshape(300, 784)[:, :783], HOW, ValueError, r"x has shape \(300, 783\)"),
        (np.zeros((300, 65, 10), np.uint8), HOW, ValueError, "at most 64 pixels a side"),
    ):
        net = Linear(int(np.prod(x.shape[1:])), 10, 0)
        with pytest.raises(error, match=match):
            training(net, how, x, pixels=True)
    for arguments, error, match in (
        ((IMAGES / 255.0, HOW), TypeError, "images are float64, expected bytes"),
        ((IMAGES, None), TypeError, "distortion is of type NoneType, expected Distortion"),
        ((IMAGES, HOW, "a"), TypeError, "distorted: seed is 'a', expected an integer"),
        ((IMAGES, HOW, 1, 2**63), ValueError, "distorted: epoch is .*, expected 0 to"),
        ((np.uint8(3), HOW), ValueError, "distort takes images"),
        ((IMAGES, HOW, 1, 1, [0, 300]), ValueError, "beyond the places of 300 images, from 0"),
        ((IMAGES, HOW, 1, 1, [-1]), ValueError, "distorted: index is beyond the places"),
        ((IMAGES, HOW, 1, 1, [0.5]), TypeError, r"index is float64 of shape \(1,\), expected int"),
        ((IMAGES, HOW, 1, 1, 3), TypeError, r"index is int64 of shape \(\), expected integers"),
    ):
        with pytest.raises(error, match=match):
            distorted(*arguments)


def test_a_sparse_matrix_has_no_images():
    table = pytest.importorskip("scipy.sparse").csr_matrix(IMAGES.reshape(300, 784) / 255)
    with pytest.raises(ValueError, match="one input of images that are bytes, uint8"):
        training(network(), x=table)


def test_images_too_large_are_one_line(tmp_path, capsys):
    for split, n in (("train", 20), ("t10k", 10)):
        write_idx(tmp_path / f"{split}-images-idx3-ubyte", np.ones((n, 65, 65), np.uint8))
        write_idx(tmp_path / f"{split}-labels-idx1-ubyte", np.arange(n, dtype=np.uint8) % 3)
    with pytest.raises(SystemExit, match="2"):
        train.main([f"--data={tmp_path}", "--distort"])
    error = capsys.readouterr().err
    assert error.startswith("train.py: error: distort takes images of at most 64 pixels")
    assert error.count("\n") == 1


def test_it_teaches():
    """Fewer errors on images that were not seen: a network that would learn 300 by heart."""
    errors = []
    x, t = MNIST.train_images[:1000], MNIST.train_labels[:1000]
    others = MNIST.train_images[50_000:52_000], MNIST.train_labels[50_000:52_000]
    for distort in (None, Distortion()):
        history = fit(
            mlp(784, [100], 10, 0),
            SoftmaxCrossEntropy(),
            x,
            t,
            epochs=60,
            batch_size=50,
            rate=0.1,
            momentum=0.9,
            schedule="linear",
            rng=0,
            distort=distort,
            validation=others,
        )
        errors.append(history[-1].validation_errors)
    assert errors[1] < 0.8 * errors[0]


def test_the_command_line(folder, tmp_path, capsys):
    """It says what it does, and a run that goes on does the same, with no word about it."""
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    common = [
        f"--data={folder}",
        "--hidden=5",
        "--rotate=20",
        "--elastic-alpha=8",
        "--shift",
        "0.5",
    ]
    assert (
        train.main([*common, "--epochs=2", f"--save={whole}", f"--metrics={tmp_path / 'm'}"]) == 0
    )
    assert "alpha 8, sigma 5, rotate 20, shift 0.5, seed 0" in capsys.readouterr().out
    told = json.loads((tmp_path / "m").read_text())["settings"]["distort"]
    assert told == {"alpha": 8, "sigma": 5, "rotate": 20, "shear": 0, "scale": 0, "shift": 0.5}
    assert train.main([*common, "--epochs=1", f"--save={half}", "--quiet"]) == 0
    assert train.main([f"--resume={half}", "--epochs=2", f"--save={half}", "--quiet"]) == 0
    assert weights_sha256(jitprop.load(half)) == weights_sha256(jitprop.load(whole))
    for arguments, message in (
        (["--rotate=95"], "rotate must be from 0 to 80, not 95"),
        (["--elastic-sigma=0"], "sigma must be above 0 to 20, not 0"),
        ([f"--resume={half}", "--rotate=10"], "argument --rotate: not what"),
    ):
        with pytest.raises(SystemExit, match="2"):
            train.main(arguments)
        assert message in capsys.readouterr().err


def test_a_report_shows_what_this_very_training_saw(folder, tmp_path, monkeypatch):
    """Of the run that went on, too; as many epochs as there were; nothing of a run without."""
    shown, net = [], tmp_path / "net.safetensors"
    monkeypatch.setattr("jitprop.reporting.write_report", lambda *args: shown.append(args[5]))
    common = [f"--data={folder}", "--hidden=5", f"--report={tmp_path / 'r'}", "--quiet"]
    assert train.main([*common, "--epochs=2", "--distort", f"--save={net}"]) == 0
    assert train.main([*common, "--epochs=5", f"--resume={net}", f"--save={net}"]) == 0
    assert train.main([*common, "--epochs=1"]) == 0
    assert train.main([*common, "--epochs=0", "--distort"]) == 0
    seed = int(load_file(net)["training.distortion"][0])
    small = data.load_dataset(folder)
    images, labels = small.train_images, small.train_labels
    expected = gallery(images, labels, Distortion(), seed)
    assert (expected[1:] != expected[0]).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(shown[0], expected[:3])
    np.testing.assert_array_equal(shown[1], expected)
    assert shown[2:] == [None, None]


def test_the_command_that_draws_them(folder, tmp_path, monkeypatch, capsys):
    """The images are those that `distorted` makes; what makes no sense is one line, and no file."""
    path, drawn = tmp_path / "a.PNG", []
    png = b"\x89PNG\r\n\x1a\n"
    monkeypatch.setattr("jitprop.reporting.pictures.png", lambda figure: png)
    monkeypatch.setattr("jitprop.reporting.pictures.distortions", drawn.append)

    def command(*words, file=path):
        try:
            code = cli.main(["distort", str(file), f"--data={folder}", *words])
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", int(code != 0))
        return code, err.removeprefix("jitprop distort: error: ").rstrip("\n")

    assert command() == (0, "")
    assert path.read_bytes() == png
    assert command("--rotate=10") == (
        2,
        f"argument FILE: {path} is there already: --force replaces it",
    )
    assert command("--rotate=10", "--seed=4", "--transpose=yes", "--force") == (0, "")
    small = data.load_dataset(folder)
    images, labels = small.train_images, small.train_labels
    np.testing.assert_array_equal(drawn[0], gallery(images, labels, Distortion(), 0))
    only = Distortion(0, 4, 10, 0, 0, 0)
    np.testing.assert_array_equal(drawn[1], gallery(images.transpose(0, 2, 1), labels, only, 4))
    path.unlink()
    for words, file, message in (
        (["--rotate=95"], path, "rotate must be from 0 to 80, not 95.0"),
        (["--seed=-1"], path, "argument --seed: expected an integer from 0 to 9223372036854775807"),
        (["--data=none"], path, "none: No such file or directory"),
        ([], "a.jpg", "argument FILE: a.jpg: expected a name that ends in .png"),
        ([], tmp_path, f"argument FILE: {tmp_path}: expected a name that ends in .png"),
        ([], tmp_path / "b" / "a.png", f"{tmp_path / 'b' / 'a.png'}: No such file or directory"),
    ):
        code, error = command(*words, file=file)
        assert (code, message in error) == (2, True), error
    monkeypatch.delitem(sys.modules, "jitprop.reporting.pictures")
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    line = "pictures need matplotlib.axes: pip install 'jitprop[plots]'"
    assert command() == (2, line)
    assert not any(tmp_path.iterdir())
