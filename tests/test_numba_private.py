"""compiler/numba_private.py: a numba that has changed is one line that says which ones fit."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jitprop.kernels.compiler import numba_private

ROOT = Path(__file__).parents[1]
LINE = "jitprop works with numba 0.63.1 to 0.68, this is "


def test_versions_are_those_of_pyproject():
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    major, minor = map(int, numba_private.NEWEST.split("."))
    assert f"numba>={numba_private.OLDEST},<{major}.{minor + 1}" in dependencies
    assert LINE.startswith(
        f"jitprop works with numba {numba_private.OLDEST} to {numba_private.NEWEST},"
    )


CHANGES = [
    "from numba.core.compiler import CompileResult; del CompileResult._reduce",
    "from numba.core import codegen; del codegen.JITCodeLibrary",
    "from numba.core.runtime import _nrt_python; del _nrt_python.c_helpers",
    "from numba.core.dispatcher import _DispatcherBase as D; del D._compile_for_args",
    "import numba.misc.appdirs as a; del a.AppDirs",
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("command", ["train", "info"])
def test_a_numba_without_a_part_is_one_line(change, command):
    code = f"""
import sys
{change}
from jitprop.cli import as_program, main
as_program(lambda: main([{command!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"jitprop: error: {LINE}")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("part", ["_llvm_module", "_tm_features"])
def test_what_can_be_seen_late_is_seen(part):
    code = f"""
from jitprop.kernels.compiler import jit, numba_private
class Codegen:
    _llvm_module = _tm_features = 0
    _get_host_cpu_name = str
del Codegen.{part}
numba_private.codegen = Codegen
numba_private.host()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: {LINE}")
    assert last.endswith(f": Codegen has no {part}")
