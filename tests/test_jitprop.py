"""jitprop/__init__.py: what people import, when it loads, and under which name alone."""

import subprocess
import sys
from pathlib import Path

import pytest

import jitprop
from jitprop import layers, training

ROOT = Path(__file__).parents[1]


def python(code, **options):
    """Run code in a new process, in the clone; return its output, or the last line of its error."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, **options
    )
    return done.stdout if done.returncode == 0 else done.stderr.splitlines()[-1]


def test_all_public_names_are_there():
    packages = {"data", "kernels", "layers", "training"}
    assert {*jitprop.__all__} == {*layers.__all__, *training.__all__, *packages, "__version__"}
    assert len({*jitprop.__all__}) == len(jitprop.__all__)
    for name in jitprop.__all__:
        home = training if name in training.__all__ else layers
        if name in packages:
            assert getattr(jitprop, name) is sys.modules[f"jitprop.{name}"]
        elif name != "__version__":
            assert getattr(jitprop, name) is getattr(home, name)
    assert {*jitprop.__all__} <= {*dir(jitprop)}


def test_a_star_imports_them():
    scope = {}
    exec("from jitprop import *", scope)
    assert {*jitprop.__all__} <= {*scope}


def test_another_name_is_refused():
    with pytest.raises(AttributeError, match="'jitprop' has no attribute 'Lineal'"):
        jitprop.Lineal  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Lineal'"):
        from jitprop import Lineal  # noqa: F401


def test_the_version_is_that_of_the_metadata():
    assert f'\nversion = "{jitprop.__version__}"\n' in (ROOT / "pyproject.toml").read_text()
    assert f"## {jitprop.__version__} " in (ROOT / "CHANGELOG.md").read_text()
    assert f"\nversion: {jitprop.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_importing_it_loads_little():
    code = "import sys, jitprop; dir(jitprop); print(*sys.modules)"
    loaded = {name.split(".")[0] for name in python(code).split()}
    assert not loaded & {"numpy", "numba", "safetensors", "tqdm", "argparse", "tomllib", "email"}


def test_importing_all_compiles_nothing():
    """Also nothing is loaded from the cache: kernels are, when they are first called."""
    code = """
import os
from jitprop import *
from jitprop.kernels import jit
import jitprop.train, jitprop.cli.predict, jitprop.cli.info
entries = [value.entry for value in vars(kernels).values() if isinstance(value, jit.Kernel)]
assert len(entries) > 30
print(sum(bool(entry and entry.overloads) for entry in entries), jit.pool.started)
"""
    assert python(code) == "0 False\n"


@pytest.mark.parametrize("name", ["kernels", "layers"])
@pytest.mark.parametrize("module", ["", ".tanh"])
def test_the_bare_name_is_refused(name, module):
    line = f"ImportError: this is jitprop.{name}, not {name}: write `import jitprop.{name}`"
    assert python(f"import {name}{module}") == line
    assert python(f"from {name}{module} import tanh") == line
