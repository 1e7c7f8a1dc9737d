"""The network that the project ships is what the README's command makes."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from jitprop import train
from jitprop.cli.predict import MODEL
from jitprop.data import load_dataset
from jitprop.training import load, weights_sha256

ROOT = Path(__file__).parents[1]


def command():
    """The README's command, without the file that it saves to."""
    readme = (ROOT / "README.md").read_text()
    found = re.search(r"^\S*python train\.py (.*) --save (\S+)$", readme, re.MULTILINE)
    assert ROOT / found[2] == MODEL
    return shlex.split(found[1])


@pytest.mark.slow
def test_it_is_made_by_the_command(tmp_path):
    metrics = tmp_path / "run.json"
    assert train.main([*command(), "--quiet", "--metrics", str(metrics)]) == 0
    assert json.loads(metrics.read_text())["weights_sha256"] == weights_sha256(load(MODEL))


def test_it_recognises_digits():
    mnist = load_dataset()
    z = load(MODEL).fprop((mnist.test_images.reshape(-1, 784) / 255).astype(np.float32))
    assert np.sum(z.argmax(1) != mnist.test_labels) <= 175
