"""The network that the project ships: how it is made, in a small form, and that it reads digits."""

import os
import shlex

import numpy as np
from runs import folder

import jitprop
from jitprop.cli import arguments
from jitprop.cli.predict import MODEL
from jitprop.data import load_dataset
from jitprop.training import Distortion, read, weights_sha256
from perf import shipped

LARGEST = 4_000_000  # bytes


def test_it_is_made_by_the_command(folder, tmp_path):
    """As `fit` makes it, to the bit; of a small set, in two epochs, with fewer units."""
    path = tmp_path / "net.safetensors"
    small = [f"--data={folder}", "--epochs=2", "--warmup=1", "--hidden=9", "--quiet"]
    shipped.ship([*shlex.split(shipped.ARGUMENTS), *small], path)

    args = arguments.make_parser().parse_args([*shlex.split(shipped.ARGUMENTS), *small])
    chosen = arguments.settings_of(args)
    assert (args.hidden, args.distort, args.seed) == ((9,), True, 0)
    data = load_dataset(folder)
    rng = np.random.default_rng(0)
    net = jitprop.mlp(data.train_images[0].size, [9], data.classes, rng, activation="relu")
    training = jitprop.Training(
        net,
        jitprop.SoftmaxCrossEntropy(args.label_smoothing),
        data.train_images,
        data.train_labels,
        chosen,
        rng=rng,
        distort=Distortion(),
    )
    training.run()
    assert weights_sha256(jitprop.load(path)) == weights_sha256(net)
    assert read(path).settings is None  # nothing to go on with


def test_it_is_small():
    assert os.path.getsize(MODEL) < LARGEST
    assert read(MODEL).settings is None


def test_it_recognises_digits():
    mnist = load_dataset()
    z = jitprop.predict(jitprop.load(MODEL), mnist.test_images)
    assert np.sum(z.argmax(1) != mnist.test_labels) <= 70
