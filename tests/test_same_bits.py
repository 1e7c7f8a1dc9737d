"""The same inputs give the same bits on every CPU.

Kernels are compiled for other CPUs that this one can run, in processes of their own
(NUMBA_CPU_NAME), and their results compared with those of this process.
"""

import json
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

import numba
import numpy as np
import outputs
import pytest

pytestmark = [
    pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled"),
    pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 CPUs"),
    pytest.mark.skipif(bool(numba.config.CPU_NAME), reason="NUMBA_CPU_NAME is set already"),
]

AVX2 = {"avx2", "fma", "bmi2", "movbe"}
AVX512 = AVX2 | {"avx512f", "avx512dq", "avx512cd", "avx512bw", "avx512vl"}
# float64 where another algorithm stands behind it; the rest differs in nothing but the type.
FLOAT64 = "float64:matmul_nn,tanh_fprop,softmax_fprop,sparse_linear_fprop"
FEW = "float32:matmul_nn,sgd_update,softmax_fprop,sparse_linear_fprop"
CPUS = {  # name: (what it takes to run its code, arguments of outputs.py)
    "haswell": (AVX2, ["float32", FLOAT64]),
    "skylake-avx512": (AVX512, ["float32", FLOAT64]),
    "x86-64": (set(), [FEW, "--small"]),
}


@cache
def flags():
    """What this CPU can do; empty where it is not known."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


@pytest.fixture(scope="module")
def elsewhere():
    """`elsewhere(cpu)`: what a process says that compiles for that CPU. All start at once."""
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CPU_FEATURES"}
    processes = {
        cpu: subprocess.Popen(
            [sys.executable, outputs.__file__, "2", *arguments],
            env=environment | {"NUMBA_CPU_NAME": cpu},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for cpu, (needs, arguments) in CPUS.items()
        if needs <= flags()
    }

    def result(cpu):
        if cpu not in processes:
            pytest.skip(f"this CPU cannot run code for {cpu}")
        stdout, stderr = processes[cpu].communicate(timeout=3000)
        assert processes[cpu].returncode == 0, stderr
        return json.loads(stdout)

    yield result
    for process in processes.values():
        process.kill()
        process.communicate()


def here(*what, **sizes):
    """The hashes of this process."""
    result = {}
    for item in what:
        dtype, _, names = item.partition(":")
        result |= outputs.hashes(np.dtype(dtype), names.split(",") if names else None, **sizes)
    return result


@pytest.mark.ci
@pytest.mark.parametrize(
    ("cpu", "instructions"), [("haswell", "avx2"), ("skylake-avx512", "avx512")]
)
def test_other_cpus(cpu, instructions, elsewhere):
    there = elsewhere(cpu)
    assert there.pop("instructions") == instructions
    assert there == here("float32", FLOAT64)


@pytest.mark.ci
def test_cpu_without_fused_instructions(elsewhere):
    """Each fused multiply-add is a call then: slow, so these are few and small."""
    there = elsewhere("x86-64")
    assert there.pop("instructions") == "plain"
    assert there == here(FEW, **outputs.SMALL)


def test_hashes_tell_results_apart():
    """One bit of one output changes the hash, the sign of NaN does not."""
    from jitprop import kernels

    def run(spoil):
        original = kernels.scale

        def scale(x, factor, out):
            original(x, factor, out)
            spoil(out)

        kernels.scale = scale
        try:
            return outputs.hashes(np.float32, ["scale"], products=[], shapes=[(5, 37)])
        finally:
            kernels.scale = original

    def flip(out):
        out[-1, -1] = np.nextafter(out[-1, -1], np.float32(0))

    def negate_nan(out):
        nan = np.isnan(out)
        out[nan] = -out[nan]

    assert run(lambda out: None) == run(negate_nan)
    assert run(lambda out: None) != run(flip)
