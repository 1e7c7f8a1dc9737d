"""compiler/cpu.py: kernels are compiled for the CPU that is named, whatever is imported first."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FIRST = (
    "jitprop.kernels", "jitprop.kernels.compiler.messages", "jitprop.kernels.runtime.threads",
    "jitprop.kernels.add", "jitprop.layers", "jitprop.training.loop", "jitprop.cli.info",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names of x86")
@pytest.mark.parametrize(("cpu", "expected"), [("haswell", "avx2"), ("x86-64", "plain")])
def test_the_cpu_that_is_named(cpu, expected):
    code = """
import importlib, sys
importlib.import_module(sys.argv[1])
from jitprop.kernels.compiler import cpu
from jitprop.kernels.compiler.numba_private import host
print(cpu.INSTRUCTIONS, host()[1], host()[2] == "")
"""
    environment = os.environ | {"NUMBA_CPU_NAME": cpu}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, first],
            cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE,
        )
        for first in FIRST
    ]  # fmt: skip
    found = [process.communicate(timeout=3000)[0] for process in started]
    assert found == [f"{expected} {cpu} True\n"] * len(FIRST)
