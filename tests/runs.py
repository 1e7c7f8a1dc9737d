"""Small runs of the command that trains: data, fixtures, and what a refusal looks like."""

import json
import re
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from jitprop import kernels, train
from jitprop.cli import interrupt
from jitprop.kernels.compiler import cache

ROOT = Path(__file__).parents[1]


LAST_LINE = re.compile(r"test errors: (\d+) / (\d+) \((\d+\.\d\d)%\)\n")


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(header + array.tobytes())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """300 + 100 images of 4 x 6 pixels in 4 classes, each with a bright row, in noise."""
    path = tmp_path_factory.mktemp("rows")
    rng = np.random.default_rng(2)
    for split, count in (("train", 300), ("t10k", 100)):
        labels = rng.integers(0, 4, count).astype(np.uint8)
        images = rng.integers(0, 100, (count, 4, 6), np.uint8)
        images[np.arange(count), labels] += 100
        write_idx(path / f"{split}-images-idx3-ubyte", images)
        write_idx(path / f"{split}-labels-idx1-ubyte", labels)
    return path


@pytest.fixture(autouse=True)
def process():
    """`train.main` leaves the process as it was: signals, threads, who hears of kernels."""

    def state():
        handlers = [signal.getsignal(number) for number in (*interrupt.SIGNALS, signal.SIGPIPE)]
        return handlers, kernels.get_num_threads(), [*cache.compile_callbacks], sys.stdout

    before = state()
    yield
    assert state() == before


@pytest.fixture
def run(folder, tmp_path):
    """Run on the small data and return the metrics."""

    def run(args):
        path = tmp_path / "metrics.json"
        code = train.main([f"--data={folder}", f"--metrics={path}", *shlex.split(args)])
        assert code == 0
        return json.loads(path.read_text())

    return run


@contextmanager
def started(*args, **options):
    """Start `python train.py`, and leave nothing running."""
    command = [sys.executable, "train.py", *map(str, args)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def refused(capsys, *args, code=2):
    """Assert that the arguments are refused with one line, and return it."""
    with pytest.raises(SystemExit) as caught:
        train.main(list(map(str, args)))
    out, err = capsys.readouterr()
    assert caught.value.code == code
    assert re.fullmatch(r"train\.py: error: .+\n", err)
    return out, err


@pytest.fixture
def saved(folder, tmp_path, capsys):
    """A run of three epochs that was saved."""
    path = tmp_path / "run.safetensors"
    args = ["--hidden=8", "--epochs=3", "--seed=2", f"--data={folder}", f"--save={path}"]
    assert train.main(args) == 0
    assert f"saved to {path}\n" in capsys.readouterr().out
    return path
