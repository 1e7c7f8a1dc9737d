"""compiler/ahead.py: a second process compiles what this one will need; nothing depends on it."""

import io
import os
import pickle
import subprocess
import sys

import numba
import numpy as np
import pytest
from reference import assert_same_bits

from jitprop import kernels
from jitprop.kernels.compiler import ahead
from jitprop.kernels.runtime.kernel import Kernel

pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
# As few as a second process is started for, and such as are compiled in no time.
NAMES = ("scale", "add", "zero", "relu_fprop", "subtract")


@pytest.fixture(autouse=True)
def new(kernel_cache, monkeypatch):
    """An empty cache, and kernels as a new process has them: nothing compiled, nothing loaded."""
    monkeypatch.setattr(numba.config, "NUMBA_DEFAULT_NUM_THREADS", 2)
    for name in NAMES:
        old = getattr(kernels, name)
        monkeypatch.setattr(
            kernels, name, Kernel(old.__wrapped__, old.signature, old.units, old.shared)
        )


@pytest.fixture
def started(monkeypatch):
    """The processes that are started from here on."""
    processes = []
    start = subprocess.Popen

    def popen(*args, **kwargs):
        processes.append(start(*args, **kwargs))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    return processes


def arguments(name, x):
    out = np.empty_like(x)
    return {
        "scale": (x, 2.0, out),
        "zero": (out,),
        "relu_fprop": (x, out),
    }.get(name, (x, x, out))


def tape_of(names, dtype=np.float32):
    x = np.linspace(-2, 2, 50, dtype=dtype)
    with kernels.Tape() as tape:
        for name in names:
            getattr(kernels, name)(*arguments(name, x))
    return tape


def check(tape):
    tape.run()
    for kernel, args in tape.calls:
        if kernel.__name__ == "add":
            assert_same_bits(args[2], args[0] + args[1])


@pytest.mark.slow
def test_what_is_missing_is_compiled_from_both_ends(started, monkeypatch):
    tape = tape_of(NAMES)
    lists = []
    monkeypatch.setattr(pickle, "dump", lambda what, pipe: lists.append(what))
    check(tape)
    assert [name for _, name, _ in lists[0]] == list(reversed(NAMES))
    assert len(started) == 1
    assert started[0].poll() is not None  # it is gone


@pytest.mark.slow
def test_nothing_is_started_for_a_few_or_for_what_is_cached(started):
    assert len(NAMES) == ahead.FEW + 1
    check(tape_of(NAMES[: ahead.FEW]))
    assert not started
    check(tape_of(NAMES))
    check(tape_of(NAMES, np.float64))
    count = len(started)
    check(tape_of(NAMES, np.float64))
    assert len(started) == count


@pytest.mark.slow
def test_one_processor_is_enough(started, monkeypatch):
    monkeypatch.setattr(numba.config, "NUMBA_DEFAULT_NUM_THREADS", 1)
    check(tape_of(NAMES))
    assert not started


@pytest.mark.slow
@pytest.mark.parametrize(
    "executable",
    [
        "",
        "/nowhere/python",
        pytest.param(sys.executable + ".txt", marks=pytest.mark.ci),
        "/bin/false",
    ],
)
def test_without_a_second_process(executable, monkeypatch, capfd):
    monkeypatch.setattr(sys, "executable", executable)
    check(tape_of(NAMES))
    assert capfd.readouterr() == ("", "")


def test_the_second_process_fills_the_cache(kernel_cache, monkeypatch):
    """Run here: it compiles, and leaves what a new process finds."""
    tape = tape_of(NAMES)
    missing = [
        (kernel.__module__, kernel.__qualname__, tuple(kernel.signature.kinds(args)))
        for kernel, args in tape.calls
    ]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(pickle.dumps(missing))))
    for name in NAMES:  # what is imported by name is the kernel of this test
        kernel = getattr(kernels, name)
        monkeypatch.setattr(sys.modules[kernel.__module__], name, kernel)
    ahead.main()
    found = {path.name.split("-")[0].rpartition(".")[2] for path in kernel_cache.glob("*/*.bin")}
    assert set(NAMES) <= found


@pytest.mark.slow
def test_a_copy_of_the_process_finds_the_package_from_anywhere(kernel_cache, tmp_path, monkeypatch):
    """Also where the working folder has modules of these names, of which none is run."""
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("raise RuntimeError")
    for name in ("pickle", "secrets", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    calls = tape_of(NAMES).calls
    start, waited = subprocess.Popen, []

    class Patient(start):
        def kill(self):
            waited.append(self.wait(3000))

    monkeypatch.setattr(subprocess, "Popen", Patient)
    with ahead.helper(calls):
        pass
    assert waited == [0]
    assert not any(kernel.missing(tuple(kernel.signature.kinds(args))) for kernel, args in calls)


TRAIN = """
import sys
from jitprop import kernels
from jitprop.cli import main
from jitprop.kernels.compiler import cache
compiled = []
kernels.on_compile(compiled.append)
main(["train", "--epochs", "1", "--quiet", "--data", sys.argv[1]])
print(len(compiled), len(list(cache.folder().iterdir())))
"""


@pytest.mark.slow
def test_its_share_of_a_real_run_and_that_the_next_compiles_nothing(tmp_path):
    """The whole command in new processes, from an empty cache, and from what that one left."""
    pixels = np.random.default_rng(0).integers(0, 256, (300, 28, 28), np.uint8)
    for split in ("train", "t10k"):
        for name, array in (
            ("images-idx3", pixels),
            ("labels-idx1", np.arange(300, dtype=np.uint8) % 10),
        ):
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
            (tmp_path / f"{split}-{name}-ubyte").write_bytes(head + array.tobytes())
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    counts = []
    for _ in range(2):
        command = [sys.executable, "-c", TRAIN, str(tmp_path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        counts.append([int(word) for word in done.stdout.split()[-2:]])
    (compiled, kept), (again, same) = counts
    assert kept > 15
    assert (again, same) == (0, kept)
    if numba.config.NUMBA_DEFAULT_NUM_THREADS > 1:
        assert kept - compiled > 2  # what only the helping process can have left
