""".ci/check_types.py: the type checker sees all that the wheel installs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy comes with the extra dev")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A folder for a clone; what mypy keeps there of NumPy serves the other test, too."""
    return tmp_path_factory.mktemp("clone")


@pytest.mark.slow
def test_a_planted_error_is_found_wherever_it_is(clone):
    skip = shutil.ignore_patterns("__pycache__", "mnist", "results", "*.safetensors")
    for room in (".ci", "jitprop", "kernels", "layers", "perf"):
        shutil.copytree(ROOT / room, clone / room, ignore=skip)
    for name in ("pyproject.toml", "train.py"):
        shutil.copy(ROOT / name, clone)
    planted = (
        "kernels/runtime/memory.py",
        "layers/tanh.py",
        "jitprop/cli/info.py",
        "perf/cases.py",
    )
    for name in planted:
        with open(clone / name, "a") as file:
            file.write('\nplanted: int = "a text"\n')
    with open(clone / "layers/relu.py", "a") as file:
        file.write("\nimport a_package_that_is_not_named\n")
    command = [sys.executable, clone / ".ci" / "check_types.py"]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True)
    assert done.returncode == 1
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert {line.partition(":")[0] for line in errors} == {*planted, "layers/relu.py"}
    assert len(errors) == 5


@pytest.mark.slow
def test_a_misspelt_name_is_found(tmp_path, clone):
    """In a program of somebody else's, though names load when they are first used."""
    for folder in ("kernels", "layers"):
        shutil.copytree(ROOT / folder, tmp_path / "jitprop" / folder)
    shutil.copytree(ROOT / "jitprop", tmp_path / "jitprop", dirs_exist_ok=True)
    lines = ["import jitprop", "from jitprop import Linear, Lineal", "jitprop.sav", "jitprop.save"]
    lines += ["from jitprop.training import lodd, load", "jitprop.kernels.tanh_fprop.cor"]
    (tmp_path / "user.py").write_text("\n".join(lines))
    options = ["--config-file", ROOT / "pyproject.toml", "--cache-dir", clone / ".mypy_cache"]
    command = [sys.executable, "-m", "mypy", *options, "user.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert [line.split(":")[1] for line in errors] == ["2", "3", "5", "6"]
