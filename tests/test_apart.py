"""kernels/compiler/apart.py: handlers, `__del__`, Ctrl-C and forks in the midst of compiling."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from jitprop.kernels.compiler.apart import _awaited, apart
from jitprop.kernels.compiler.numba_private import compiler_lock

ROOT = Path(__file__).parents[1]
compiled_only = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")


def test_results_and_errors_come_through():
    assert apart(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        apart(divmod, 7, 0)
    assert _awaited == []


def test_what_is_apart_already_stays_where_it_is():
    import _thread

    assert apart(_thread.get_ident) != _thread.get_ident()
    here, inner = apart(lambda: (_thread.get_ident(), apart(_thread.get_ident)))
    assert here == inner
    with compiler_lock:  # nobody else could take it
        assert apart(_thread.get_ident) == _thread.get_ident()


def test_no_garbage_is_collected_meanwhile():
    import gc

    assert gc.isenabled()
    assert not apart(gc.isenabled)
    assert gc.isenabled()


@pytest.mark.parametrize("fails", ["start_new_thread", "is_finalizing"])
def test_without_another_thread(fails, monkeypatch):
    import _thread

    def none(*args):
        raise RuntimeError("can't start new thread")

    if fails == "start_new_thread":
        monkeypatch.setattr(_thread, fails, none)
    else:
        monkeypatch.setattr(sys, fails, lambda: True)
    assert apart(_thread.get_ident) == _thread.get_ident()


COLD = """
import gc, os, signal, threading, warnings
import numpy as np
from jitprop import kernels
from jitprop.kernels.runtime.threads import pool

warnings.simplefilter("ignore")  # Python 3.12 on: fork of a process with threads
x = np.arange(300 * 200, dtype=np.float32).reshape(300, 200)
kernels.set_num_threads(3)
said, callbacks = [], []
kernels.on_compile(lambda name: [callback() for callback in callbacks])

def right(name, expected, *args):
    out = np.full_like(x, np.nan)
    getattr(kernels, name)(*args, out)
    return bool((out == expected).all())

def in_a_moment(handler):
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)

# Ctrl-C while the pool starts
try:
    in_a_moment(signal.default_int_handler)
    right("scale", x + x, x, 2.0)
except KeyboardInterrupt:
    said.append("interrupted")

# a handler that needs kernels, while it still does
def handler(number, frame):
    kernels.set_num_threads(2)
    with kernels.Tape() as tape:
        out = np.zeros_like(x)
        kernels.add(x, x, out)
    tape.run()
    said.append(right("multiply", x * x, x, x) and bool((out == x + x).all()))

in_a_moment(handler)
said.append(right("scale", x + x, x, 2.0))
said.append(right("scale", x + x, x, 2.0) and len(pool.workers))

# the same from __del__, which the collector calls
collected = []
class Last:
    def __init__(self):
        self.me = self
    def __del__(self):
        collected.append(right("subtract", 0 * x, x, x))
        if len(collected) < 100:
            Last()

kernels.set_num_threads(3)
Last()
said.append(right("relu_fprop", x, x))
gc.collect()
said.append(all(collected))

# a fork while another thread compiles
def status_of(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def fork(ok):
    child = os.fork()
    if child == 0:
        signal.alarm(100)
        os._exit(0 if ok() else 1)
    return child

begun = threading.Event()
callbacks.append(begun.set)
thread = threading.Thread(target=lambda: right("sigmoid_fprop", x, x))
thread.start()
begun.wait()
def ok():
    right("sigmoid_fprop", x, x)
    return right("tanh_bprop", 0 * x, 0 * x + 1, x) and gc.isenabled()
child = fork(ok)
thread.join()
said.append(status_of(child))

# a handler that forks; the child returns from it, too
family = []
callbacks[:] = [lambda: signal.raise_signal(signal.SIGUSR1)]
signal.signal(signal.SIGUSR1, lambda *given: family.append(os.fork()))
if right("relu_bprop", x, x, x) and family[0] == 0:
    os._exit(7)
said.append(status_of(family[0]))
print(said)
"""


@pytest.mark.slow
@compiled_only
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals")
def test_whatever_comes_into_the_midst_of_compiling(tmp_path):
    """From an empty cache, in a process that would hang for ever; hence the limit."""
    done = subprocess.run(
        [sys.executable, "-c", COLD],
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "['interrupted', True, True, 1, True, True, 0, 7]\n"
