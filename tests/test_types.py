""".ci/types.py: the type checker sees all that the wheel installs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy comes with the extra dev")
ROOT = Path(__file__).parents[1]


def test_a_planted_error_is_found_wherever_it_is(tmp_path):
    skip = shutil.ignore_patterns("__pycache__", "mnist", "results", "*.safetensors")
    for room in (".ci", "jitprop", "kernels", "layers", "perf"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=skip)
    for name in ("pyproject.toml", "train.py"):
        shutil.copy(ROOT / name, tmp_path)
    planted = ("kernels/memory.py", "layers/tanh.py", "jitprop/cli/info.py", "perf/cases.py")
    for name in planted:
        with open(tmp_path / name, "a") as file:
            file.write('\nplanted: int = "a text"\n')
    with open(tmp_path / "layers/relu.py", "a") as file:
        file.write("\nimport a_package_that_is_not_named\n")
    command = [sys.executable, tmp_path / ".ci" / "types.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert {line.partition(":")[0] for line in errors} == {*planted, "layers/relu.py"}
    assert len(errors) == 5
