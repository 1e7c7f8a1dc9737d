"""jitprop/__init__.py: what people import, when it loads, and under which name alone."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import jitprop
from jitprop import interop, layers, reading, reporting, training

ROOT = Path(__file__).parents[1]


def python(code, **options):
    """Run code in a new process, in the clone; return its output, or the last line of its error."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, **options
    )
    return done.stdout if done.returncode == 0 else done.stderr.splitlines()[-1]


def test_all_public_names_are_there():
    packages = {"data", "estimators", "interop", "kernels", "layers", "reporting", "training"}
    homes = {
        name: home
        for home in (layers, reporting, training, interop, reading)
        for name in home.__all__
    }
    assert {*jitprop.__all__} == {*homes, *packages, "__version__"}
    assert len({*jitprop.__all__}) == len(jitprop.__all__)
    for name in jitprop.__all__:
        if name in packages:
            assert getattr(jitprop, name) is sys.modules[f"jitprop.{name}"]
        elif name != "__version__":
            assert getattr(jitprop, name) is getattr(homes[name], name)
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


@pytest.mark.slow
def test_importing_all_compiles_nothing():
    """Also nothing is loaded from the cache: kernels are, when they are first called."""
    code = """
import os
from jitprop import *
from jitprop.kernels.runtime.kernel import Kernel, pool
import jitprop.train, jitprop.cli.predict, jitprop.cli.info
entries = [value.entry for value in vars(kernels).values() if isinstance(value, Kernel)]
assert len(entries) > 30
print(sum(bool(entry and entry.overloads) for entry in entries), pool.started)
"""
    assert python(code) == "0 False\n"


@pytest.mark.parametrize("name", ["kernels", "layers"])
@pytest.mark.parametrize("module", ["", ".tanh"])
def test_the_bare_name_is_refused(name, module):
    line = f"ImportError: this is jitprop.{name}, not {name}: write `import jitprop.{name}`"
    assert python(f"import {name}{module}") == line
    assert python(f"from {name}{module} import tanh") == line


def test_walking_the_package_finds_it_once():
    """And never imports what stands beside it, such as setup.py."""
    code = """
import pkgutil, sys, jitprop
names = [module.name for module in pkgutil.walk_packages(jitprop.__path__, "jitprop.")]
assert len(names) == len({*names}) > 20, names
for name in ("jitprop.jitprop", "jitprop.setup", "jitprop.perf", "jitprop.tests"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise AssertionError(name)
import importlib
importlib.reload(jitprop)
print(sum(getattr(finder, "__name__", "") == "_Beside" for finder in sys.meta_path))
"""
    assert python(code) == "1\n"


def copy_of_the_clone(folder):
    skip = shutil.ignore_patterns("__pycache__", "data")
    for room in ("jitprop", "kernels", "layers"):
        shutil.copytree(ROOT / room, folder / room, ignore=skip)


def test_a_folder_that_a_branch_left_is_no_package(tmp_path):
    """Git leaves folders that hold files of its own ignoring, such as __pycache__."""
    copy_of_the_clone(tmp_path)
    (tmp_path / "jitprop" / "kernels" / "__pycache__").mkdir(parents=True)
    assert run_in(tmp_path) == f"{tmp_path / 'kernels' / '__init__.py'} unknown\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "pyproject",
    ['[project]\nname = "mine"\nversion = "3.0"\n', "[tool.poetry]\n", "no [ toml", None],
)
def test_a_copy_within_a_project(tmp_path, pyproject):
    """The version of that project is not that of the copy."""
    copy_of_the_clone(tmp_path)
    if pyproject is not None:
        (tmp_path / "pyproject.toml").write_text(pyproject)
    assert run_in(tmp_path) == f"{tmp_path / 'kernels' / '__init__.py'} unknown\n"


def run_in(folder):
    """Import the copy in `folder` where nothing is installed but what the kernels need."""
    code = (
        "import importlib.metadata as m, jitprop.kernels\n"
        "def version(name): raise m.PackageNotFoundError(name)\n"
        "m.version = version\n"
        "print(jitprop.kernels.__file__, jitprop.__version__)"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    return done.stdout or done.stderr


def test_every_folder_with_sources_is_installed():
    """pyproject.toml lists them: what it does not is missing in the wheel, without a word."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for room in ("jitprop", "kernels", "layers")
        for path in (ROOT / room).rglob("*.py")
    }
    named = {name if name.startswith("jitprop") else f"jitprop.{name}" for name in folders}
    assert {*settings["packages"]} == named
    for package, folder in settings["package-dir"].items():
        assert package == f"jitprop.{folder.replace('/', '.')}"


@pytest.mark.skipif(not hasattr(sys.flags, "safe_path"), reason="Python 3.11 has it")
def test_python_that_does_not_look_in_the_folder_of_the_script():
    for flag in ("-P", "-I"):
        command = [sys.executable, flag, str(ROOT / "train.py"), "--help"]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
