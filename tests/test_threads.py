"""runtime/threads.py: any number of threads, the same bits; two callers at once; fork; exit."""

import functools
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numba
import numpy as np
import outputs
import pytest
from reference import assert_same_bits

from jitprop import kernels
from jitprop.kernels.runtime import threads
from jitprop.kernels.runtime.threads import BUSY, HAVE_WORKERS, TAKEN, WORKERS, pool

pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="without the JIT one thread runs")
ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def restore():
    before = kernels.get_num_threads()
    yield
    kernels.set_num_threads(before)


def run(script, command=(sys.executable, "-c")):
    """Run a script in a process that must end by itself, with exit code 0; return its output."""
    done = subprocess.run(
        [*command, textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_number_of_threads_gives_the_same_bits(dtype):
    kernels.set_num_threads(1)
    expected = outputs.hashes(dtype)
    for number in (2, 3, 4):  # more than there are cores, too
        kernels.set_num_threads(number)
        assert outputs.hashes(dtype) == expected


@functools.cache  # compiled once for all shapes
def called(units):
    return numba.njit(lambda *args: units(*args))


def units_of(kernel, *arguments):
    """(units, units per piece), by the helper that only compiled code calls."""
    return called(kernel.units)(*arguments)


@pytest.mark.slow
def test_the_shapes_make_several_pieces():
    """Else the test above would compare one thread with one thread."""
    for shape in [(500, 200), (100, 784)]:
        x = np.zeros(shape, np.float32)
        for kernel, arguments in [
            (kernels.bias_fprop, (x, x[0], x)),
            (kernels.bias_bprop, (x, x[0])),
            (kernels.tanh_fprop, (x, x)),
            (kernels.softmax_fprop, (x, x)),
            (kernels.sgd_update, (x, x, 0.1)),
            (kernels.gather, (x, x[0], x)),
        ]:
            units, piece = units_of(kernel, *arguments)
            assert units > piece, kernel.__name__
    for m, k, n in [(100, 784, 200), (113, 67, 211)]:
        a, b, out = (np.zeros(s, np.float32) for s in ((m, k), (k, n), (m, n)))
        assert np.greater(*units_of(kernels.matmul_nn, a, b, out))
        assert np.greater(*units_of(kernels.matmul_nt, a, np.zeros((n, k), np.float32), out))
        assert np.greater(*units_of(kernels.matmul_tn, np.zeros((k, m), np.float32), b, out))
    w, b, out = (np.zeros(s, np.float32) for s in ((784, 200), 200, (100, 200)))
    rows = np.ones((100, 784), np.uint8), np.zeros(256, np.float32), np.arange(100)
    assert np.greater(*units_of(kernels.sparse_linear_fprop, *rows, w, b, out))
    assert np.greater(*units_of(kernels.sparse_tn, *rows, out, w))


@pytest.mark.skipif(not HAVE_WORKERS, reason="kernels run on the calling thread here")
def test_workers_are_as_many_as_asked_for():
    x = np.zeros((4, 4), np.float32)
    for number in (1, 3, 2):
        kernels.set_num_threads(number)
        assert kernels.get_num_threads() == number
        kernels.scale(x, 2.0, x)
        assert len(pool.workers) == number - 1
        assert all(worker.is_alive() for worker in pool.workers)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, SystemExit])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_interrupted_start_leaves_nobody(error, moment, monkeypatch):
    """Nor does the next one count them: workers would add up, and leave the mailbox."""
    start, started = threading.Thread.start, []

    def interrupted(thread):
        if len(started) == 5 and moment == "before":
            raise error
        started.append(thread)
        start(thread)
        if len(started) == 5 and moment == "after":
            raise error

    x = np.ones((300, 200), np.float32)
    kernels.set_num_threads(9)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        for _ in range(3):
            started.clear()
            with pytest.raises(error):
                kernels.scale(x, 2.0, x)
            assert not pool.workers
            assert pool.mailbox[WORKERS] == 0
            assert not any(thread.is_alive() for thread in started)
    assert (x == 1).all()
    kernels.scale(x, 2.0, x)
    assert (x == 2).all()
    assert len(pool.workers) == pool.mailbox[WORKERS] == 8


@pytest.mark.parametrize("name", ["_retire", "_dismiss", "take"])
def test_an_interrupted_change_of_threads(name, monkeypatch):
    """Whatever ends it half way, the next kernel has the workers that were asked for."""
    kernels.set_num_threads(3)
    x = np.ones((300, 200), np.float32)
    kernels.scale(x, 2.0, x)

    def interrupted(*args):
        raise KeyboardInterrupt

    home = threads if name == "take" else pool
    inner = getattr(home, name)

    def late(*args):
        inner(*args)
        raise KeyboardInterrupt

    for number, function in ((4, interrupted), (2, late), (5, late)):
        with monkeypatch.context() as patch:
            patch.setattr(home, name, function)
            with pytest.raises(KeyboardInterrupt):
                kernels.set_num_threads(number)
        kernels.set_num_threads(number)
        kernels.scale(x, 1.0, x)
        assert len(pool.workers) == pool.mailbox[WORKERS] == number - 1
        assert pool.mailbox[BUSY] == pool.mailbox[TAKEN] == 0
    assert (x == 2).all()


def test_a_system_without_so_many_threads(monkeypatch):
    """Half as many do the work, or a quarter: the last ones would leave no memory for it."""
    start, started = threading.Thread.start, []

    def limited(thread):
        if sum(one.is_alive() for one in started) == 5:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    kernels.set_num_threads(14)
    x = np.ones((300, 200), np.float32)
    kernels.scale(x, 2.0, x)
    assert len(pool.workers) == pool.mailbox[WORKERS] == 3
    assert (x == 2).all()


def call_at_once(count, function):
    """`function(i)` in `count` Python threads that start together; their errors are raised."""
    start, errors = threading.Barrier(count), []

    def body(i):
        try:
            start.wait(3000)
            function(i)
        except BaseException as error:
            errors.append(error)

    callers = [threading.Thread(target=body, args=(i,)) for i in range(count)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(3000)
        assert not caller.is_alive()
    if errors:
        raise errors[0]


def products(seed):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((300, 400)).astype(np.float32)
    b = rng.standard_normal((400, 200)).astype(np.float32)
    expected = np.empty((300, 200), np.float32)
    kernels.matmul_nn(a, b, expected)
    return a, b, expected


def test_several_callers_at_once():
    """Each gets its own result: one has the workers, the others compute alone."""
    kernels.set_num_threads(3)
    inputs = [products(seed) for seed in range(3)]

    def body(i):
        a, b, expected = inputs[i]
        out = np.empty_like(expected)
        for _ in range(200):
            out.fill(np.nan)
            kernels.matmul_nn(a, b, out)
            assert_same_bits(out, expected)

    call_at_once(3, body)


@pytest.mark.slow
def test_number_of_threads_changes_under_a_caller():
    """No piece of work is lost when workers leave and others come."""
    inputs = [products(seed) for seed in range(3)]

    def body(i):
        if i == 2:
            for n in range(200):
                kernels.set_num_threads(1 + n % 3)
                kernels.scale(inputs[2][0], 1.0, np.empty_like(inputs[2][0]))
            return
        a, b, expected = inputs[i]
        out = np.empty_like(expected)
        for _ in range(1000):
            out.fill(np.nan)
            kernels.matmul_nn(a, b, out)
            assert_same_bits(out, expected)

    call_at_once(3, body)


def test_first_call_by_several_callers():
    """The kernel is compiled, or loaded, once for all."""
    fresh = kernels.scale.__class__(
        kernels.scale.__wrapped__, kernels.scale.signature, kernels.scale.units
    )
    x = np.arange(12, dtype=np.float32).reshape(3, 4)

    def body(i):
        out = np.empty_like(x)
        fresh(x, 2.0, out)
        assert_same_bits(out, x + x)

    call_at_once(4, body)
    assert len(fresh.entry.signatures) == 1


CALL = """
    import os, signal, sys
    import numpy as np
    from jitprop import kernels
    kernels.set_num_threads(3)
    x = np.arange(300 * 200, dtype=np.float32).reshape(300, 200)
    out = np.empty_like(x)
    def right():
        out.fill(0)
        kernels.scale(x, 2.0, out)
        return (out == x + x).all()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux has them")
def test_small_stacks():
    """Products need no more of them than other calls, whoever runs them."""
    script = f"""{CALL}
    import threading
    def products():
        for dtype in (np.float32, np.float64):
            a, b, y = (np.ones(shape, dtype) for shape in ((100, 784), (784, 200), (100, 200)))
            kernels.matmul_nn(a, b, y)
            assert (y == 784).all()
            kernels.matmul_nt(y, b, a)
            assert (a == 784 * 200).all()
            x, values, index = np.ones((100, 784), np.uint8), np.ones(256, dtype), np.arange(100)
            kernels.sparse_tn(x, values, index, y, b)
            assert (b == 784 * 100).all()
    products()
    threading.stack_size(2**18)
    kernels.set_num_threads(2)  # workers with such a stack, too
    caller = threading.Thread(target=products)
    caller.start()
    caller.join()
    print("fine")
    """
    limited = ["bash", "-c", 'ulimit -s 512 && exec "$0" -c "$1"', sys.executable]
    assert run(script, command=limited) == "fine\n"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child():
    """The workers do not come along: a child starts its own, and its children theirs."""
    script = f"""{CALL}
    import warnings
    warnings.simplefilter("ignore")  # Python 3.12 on: fork of a process with threads
    for early in (True, False):
        if early or right():
            child = os.fork()
            if child == 0:
                signal.alarm(600)
                ok = right() and right()
                grandchild = os.fork()
                if grandchild == 0:
                    signal.alarm(600)
                    os._exit(0 if right() else 1)
                status = os.waitpid(grandchild, 0)[1]
                os._exit(0 if ok and status == 0 else 1)
            assert os.waitpid(child, 0)[1] == 0
            assert right()
    print("fine")
    """
    assert run(script) == "fine\n"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_multiprocessing_by_fork():
    script = f"""{CALL}
    import multiprocessing, warnings
    warnings.simplefilter("ignore")
    def work(i):
        return bool(right())
    right()
    with multiprocessing.get_context("fork").Pool(2) as processes:
        print(processes.map_async(work, range(6)).get(600))
    """
    assert run(script) == f"{[True] * 6}\n"


@pytest.mark.slow
def test_exit_while_workers_wait():
    """The process ends, by the end of the script and by sys.exit."""
    assert run(f"{CALL}\n    print(right())") == "True\n"
    assert run(f"{CALL}\n    right()\n    sys.exit()") == ""
