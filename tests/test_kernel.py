"""kernels/runtime/kernel.py and compiler/jit.py: the decorator, what it compiles and when."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from reference import assert_same_bits

from jitprop import kernels
from jitprop.kernels.compiler.inline import FLAGS, inline
from jitprop.kernels.runtime.kernel import Kernel

compiled_only = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", None, True, [1]])
def test_impossible_numbers_of_threads(threads):
    before = kernels.get_num_threads()
    with pytest.raises(
        (TypeError, ValueError), match=r"^threads is .*expected an integer of at least 1$"
    ):
        kernels.set_num_threads(threads)
    assert kernels.get_num_threads() == before


def test_number_of_threads_is_kept():
    before = kernels.get_num_threads()
    assert before >= 1
    for threads in (1, 5, before):
        kernels.set_num_threads(threads)
        assert kernels.get_num_threads() == threads


def test_kernels_are_documented():
    for name in kernels.__all__:
        thing = getattr(kernels, name)
        assert thing.__name__ == name
        assert thing.__doc__, name
        if isinstance(thing, Kernel):
            assert thing.__wrapped__.__name__ == name


def test_flags_keep_ieee_arithmetic():
    """No flag lets LLVM assume away NaN, infinities or the order of sums."""
    assert FLAGS["fastmath"] == set()
    assert FLAGS["error_model"] == "numpy"


@compiled_only
def test_core_serves_other_compiled_code():
    """`kernel.core` computes a range of units and nothing else; so whole plans are compiled."""
    core = kernels.scale.core

    @numba.njit(**FLAGS)
    def some(x, out):
        core(x, 2.0, out, 16, 37)

    x = np.arange(50, dtype=np.float32).reshape(5, 10)
    out = np.full_like(x, -1)
    some(x, out)
    expected = np.full(50, -1, np.float32)
    expected[16:37] = 2 * x.ravel()[16:37]
    assert_same_bits(out.ravel(), expected)


@compiled_only
def test_types_are_compiled_once():
    x = np.ones((2, 3), np.float32)
    kernels.scale(x, 2.0, x)
    count = len(kernels.scale.entry.signatures)
    for factor in (2, np.float32(2), np.int64(2), 0.5):
        kernels.scale(x, factor, x)
    for bad in (x.astype(np.float16), x[:, ::2], None):
        with pytest.raises((TypeError, ValueError)):
            kernels.scale(bad, 2.0, x)
    assert len(kernels.scale.entry.signatures) == count


@pytest.mark.slow
@compiled_only
def test_nothing_happens_at_import(tmp_path):
    """No file, no thread, nothing compiled."""
    script = """if True:
        import threading
        from jitprop import kernels
        from jitprop.kernels.runtime.kernel import Kernel
        every = [value for value in vars(kernels).values() if isinstance(value, Kernel)]
        assert len(every) > 10
        assert not any(kernel.entry.signatures for kernel in every)
        assert threading.active_count() == 1
    """
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=ROOT, timeout=3000, check=True
    )
    assert list(tmp_path.iterdir()) == []


@compiled_only
def test_helpers_are_for_compiled_code():
    """Called from Python they have no machine code: an error, no crash."""

    @inline
    def twice(x):
        return 2 * x

    @numba.njit
    def four_times(x):
        return twice(twice(x))

    assert four_times(3) == 12
    with pytest.raises(TypeError):
        twice(3)
    assert four_times(3.5) == 14
