"""compiler/cache.py: compiled kernels on disk: found, not found, spoiled; nowhere to put them."""

import errno
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numba
import numpy as np
import pytest
from reference import assert_same_bits

import jitprop
from jitprop import kernels
from jitprop.kernels.compiler import cache
from jitprop.kernels.runtime.kernel import Kernel

pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled or cached")
SOURCES = cache.sources()


@pytest.fixture
def compilations():
    """How often the kernel `scale` is compiled from here on: its name for each time."""
    names = []

    def note(name):
        if name == NAME:
            names.append(name)

    kernels.on_compile(note)
    yield names
    cache.compile_callbacks.remove(note)


NAME = kernels.scale.entry._cache.name if kernels.scale.entry else ""


def fresh_scale():
    """The kernel `scale` as a new process has it: nothing compiled, nothing loaded."""
    scale = kernels.scale
    return Kernel(scale.__wrapped__, scale.signature, scale.units)


def assert_right(kernel):
    x = np.arange(20, dtype=np.float32).reshape(4, 5)
    out = np.empty_like(x)
    kernel(x, 2.0, out)
    assert_same_bits(out, x + x)


def test_the_folders_are_ones_own(kernel_cache):
    for path in (cache.folder(), kernel_cache):
        assert path.stat().st_mode & 0o777 == 0o700


def test_second_process_loads(kernel_cache, compilations, capfd):
    assert_right(fresh_scale())
    assert compilations == [NAME]
    files = list(kernel_cache.glob(f"*/{NAME}-*.bin"))
    assert len(files) == 1
    assert_right(fresh_scale())
    assert compilations == [NAME]
    assert not list(kernel_cache.glob("*/*[!n]"))  # no temporary file is left
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[:20],
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
        lambda data: b"x" * len(data),
        lambda data: pickle.dumps("something else"),
    ],
    ids=["empty", "20 bytes", "one byte short", "half", "a bit flipped", "noise", "a pickle"],
)
def test_spoiled_file_is_replaced(spoil, kernel_cache, compilations, capfd):
    assert_right(fresh_scale())
    (file,) = kernel_cache.glob(f"*/{NAME}-*.bin")
    file.write_bytes(spoil(file.read_bytes()))
    assert_right(fresh_scale())
    assert compilations == [NAME, NAME]
    assert_right(fresh_scale())
    assert compilations == [NAME, NAME]
    assert capfd.readouterr() == ("", "")


def copy_of_sources(folder, installed=False):
    """The package `jitprop`, as it lies in a clone or installed; returns the folder of kernels."""
    kernels = folder / "jitprop" / "kernels" if installed else folder / "kernels"
    shutil.copytree(cache.SOURCES, kernels, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "jitprop").mkdir(exist_ok=True)
    shutil.copy(jitprop.__file__, folder / "jitprop")
    if not installed:
        (folder / "pyproject.toml").write_bytes(b"")
    return kernels


def test_any_change_of_any_source_is_noticed(tmp_path, monkeypatch):
    """Also of a helper, a constant or a comment: machine code is of exactly these sources."""
    assert len(SOURCES) > 10
    monkeypatch.setattr(cache, "SOURCES", copy_of_sources(tmp_path))
    seen = {cache._generation()}
    assert seen == {cache.GENERATION}
    for path in cache.sources():
        original = path.read_bytes()
        path.write_bytes(original + b"#")
        seen.add(cache._generation())
        path.write_bytes(original)
    assert len(seen) == 1 + len(SOURCES)
    (cache.SOURCES / "scale.py").rename(cache.SOURCES / "scales.py")
    seen.add(cache._generation())
    assert len(seen) == 2 + len(SOURCES)
    (cache.SOURCES / "scales.py").rename(cache.SOURCES / "scale.py")
    assert cache._generation() in seen
    for folder in ("formulas", "formulas/more"):
        (cache.SOURCES / folder).mkdir()
        (cache.SOURCES / folder / "scale.py").write_bytes(b"")
        seen.add(cache._generation())
    assert len(seen) == 4 + len(SOURCES)
    (cache.SOURCES / "formulas/more/scale.py").write_bytes(b"#")
    assert cache._generation() not in seen


def test_what_an_editor_leaves_is_no_source(tmp_path, monkeypatch):
    """Emacs marks a file that it edits with a link to nowhere."""
    monkeypatch.setattr(cache, "SOURCES", copy_of_sources(tmp_path))
    before = cache._generation()
    (cache.SOURCES / ".#scale.py").symlink_to("me@host.1:2")
    (cache.SOURCES / "gone.py").symlink_to("nowhere")
    (cache.SOURCES / "old.py").mkdir()
    assert cache._generation() == before


@pytest.mark.slow
def test_without_sources_on_disk_nothing_is_cached(tmp_path):
    """In a zip archive, or compiled alone, a change of them could not be seen."""
    copy_of_sources(tmp_path, installed=True)
    archive = tmp_path / "wheel.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in (tmp_path / "jitprop").rglob("*.py"):
            file.write(path, path.relative_to(tmp_path))
    shutil.rmtree(tmp_path / "jitprop")
    variables = {"PYTHONPATH": str(archive), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for _ in range(2):
        out, err = start(tmp_path, **variables).communicate(timeout=3000)
        assert out == "24.0 1\n"
        assert err == "jitprop: compiled kernels are not cached: their sources are not on disk\n"
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("what", ["numba.__version__", "np.__version__", "platform.machine"])
def test_versions_are_part_of_the_key(what, monkeypatch):
    before = cache._generation()
    value = (lambda: "pdp11") if what == "platform.machine" else "0.0"
    monkeypatch.setattr(f"jitprop.kernels.compiler.cache.{what}", value)
    assert cache._generation() != before


def test_old_generations_are_forgotten(kernel_cache):
    for age in range(cache.KEEP + 3):
        old = kernel_cache / f"{age:016x}"
        old.mkdir(parents=True)
        (old / f"jitprop.kernels.scale-{age:016x}.bin").write_bytes(b"")
        (old / f"jitprop.kernels.scale-{age:016x}.{age:016x}").write_bytes(b"")
        os.utime(old, (10**9 - age, 10**9 - age))
    current = cache.folder()
    left = {path.name for path in kernel_cache.iterdir()}
    assert left == {current.name, *(f"{age:016x}" for age in range(cache.KEEP - 1))}


def test_nothing_of_a_person_is_ever_removed(kernel_cache):
    """Whatever lies where the cache is, under whatever name: a project, a link, a text."""
    kernel_cache.mkdir(parents=True, mode=0o700)
    outside = kernel_cache.parent / "outside"
    outside.mkdir()
    kept = [outside / "jitprop.kernels.scale-0123456789abcdef.bin"]
    for place, name in enumerate((".ci", "data", "0123456789abcdeg", f"{1:016x}", f"{2:015x}")):
        folder = kernel_cache / name
        folder.mkdir()
        kept += [folder / f"{file}{place}" for file in ("run.py", "notes.bin", "kernels-0.bin")]
    kept.append(kernel_cache / f"{3:016x}")  # a file, not a folder
    for path in kept:
        path.write_bytes(b"a person's")
    (kernel_cache / f"{4:016x}").symlink_to(outside)
    for path in kernel_cache.iterdir():
        os.utime(path, (0, 0))
    for age in range(cache.KEEP + 1):
        (kernel_cache / f"{age + 10:016x}").mkdir()
    cache.folder()
    assert all(path.read_bytes() == b"a person's" for path in kept)
    left = [age for age in range(cache.KEEP + 1) if (kernel_cache / f"{age + 10:016x}").exists()]
    assert len(left) == cache.KEEP - 1  # beside the current one: the pruning took place


@pytest.mark.slow
def test_the_folder_above_a_clone(tmp_path):
    """NUMBA_CACHE_DIR=.. in a clone called jitprop, once, and a clone called as the cache is."""
    for name in ("jitprop", cache.NAME):
        clone = tmp_path / f"above {name}" / name
        clone.mkdir(parents=True)
        copy_of_sources(clone)
        before = {path for path in clone.rglob("*") if "__pycache__" not in path.parts}
        out, err = start(clone, NUMBA_CACHE_DIR="..").communicate(timeout=3000)
        assert (out, err) == ("24.0 1\n", "")
        assert before <= {*clone.rglob("*")}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners and modes as POSIX has them")
@pytest.mark.parametrize("what", ["folder", "generation", "file"])
@pytest.mark.parametrize("spoil", ["mode", "owner"])
def test_what_others_may_have_written_is_not_read(what, spoil, kernel_cache, compilations, caplog):
    if spoil == "owner" and os.getuid() != 0:
        pytest.skip("only root gives files away")
    assert_right(fresh_scale())
    (file,) = kernel_cache.glob(f"*/{NAME}-*.bin")
    spoiled = {"folder": kernel_cache, "generation": file.parent, "file": file}[what]
    if spoil == "mode":
        spoiled.chmod(0o720)
    else:
        os.chown(spoiled, 12345, 12345)
    cache.folder.cache_clear()
    assert_right(fresh_scale())
    assert_right(fresh_scale())
    if what == "file":  # which is written anew
        assert compilations == [NAME] * 2
        (message,) = caplog.messages
        assert message.startswith(f"a kernel is compiled again, not read from {file}: ")
    else:
        assert compilations == [NAME] * 3
        first, second = caplog.messages
        assert first.startswith(f"compiled kernels are not kept in {spoiled}: ")
        assert second.startswith("compiled kernels are not cached, each run compiles")


@pytest.mark.slow
def test_disk_is_full_later(kernel_cache, compilations, caplog, monkeypatch):
    """The folder could be written when it was made; then there is no room. Twice, one line."""

    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert_right(fresh_scale())
    assert_right(fresh_scale())
    assert compilations == [NAME, NAME]
    (message,) = caplog.messages
    assert message.startswith("compiled kernels are not cached")
    assert "No space left" in message


SCRIPT = """
import numpy as np
from jitprop import kernels
compiled = []
kernels.on_compile(compiled.append)
x = np.ones((3, 4), np.float32)
kernels.scale(x, 2.0, x)
print(x.sum(), sum("scale" in name for name in compiled))
"""


def start(folder, **environment):
    """A process with the copy of the sources in `folder` and nothing else in its environment."""
    keep = ("PATH", "SYSTEMROOT", "TMPDIR", "TEMP")
    variables = {key: os.environ[key] for key in keep if key in os.environ} | environment
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("installed", [False, pytest.param(True, marks=pytest.mark.ci)])
def test_nowhere_to_write(installed, tmp_path):
    """A read-only checkout without a usable home: right, uncached, and one line that says so.

    Files stand where folders should go, which stops the superuser as well.
    """
    package = copy_of_sources(tmp_path, installed)
    (package / "__pycache__").write_bytes(b"")
    (tmp_path / "home").write_bytes(b"")
    home = str(tmp_path / "home")
    process = start(tmp_path, HOME=home, XDG_CACHE_HOME=home, LOCALAPPDATA=home)
    out, err = process.communicate(timeout=3000)
    assert (process.returncode, out) == (0, "24.0 1\n")
    assert err.startswith("jitprop: compiled kernels are not cached")
    assert err.count("\n") == 1


def test_chosen_folder_cannot_be_written(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    cache.folder.cache_clear()
    cache.say_once.cache_clear()
    assert cache.folder() is None
    assert cache.folder() is None
    assert len(caplog.messages) == 1
    monkeypatch.undo()
    cache.folder.cache_clear()
    cache.say_once.cache_clear()


@pytest.fixture
def found(tmp_path, monkeypatch):
    """Return the folder that sources at `package` would use, with a home of their own."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def find(package):
        monkeypatch.setattr(cache, "SOURCES", package)
        cache.folder.cache_clear()
        return cache.folder()

    yield find
    cache.folder.cache_clear()


def test_a_clone_keeps_them_beside_the_sources(tmp_path, found):
    package = copy_of_sources(tmp_path)
    assert found(package).parent == package / "__pycache__" / "jit"


def test_home_is_second_best(tmp_path, found):
    """Where the checkout is read-only, the user's cache takes its place; silently."""
    package = copy_of_sources(tmp_path)
    (package / "__pycache__").write_bytes(b"")
    assert tmp_path / "home" in found(package).parents


def test_what_is_installed_leaves_nothing_where_it_is_installed(tmp_path, found):
    package = copy_of_sources(tmp_path, installed=True)
    assert tmp_path / "home" in found(package).parents
    assert not list(package.glob("**/jit"))


def test_installed_sources_are_better_than_nothing(tmp_path, found):
    package = copy_of_sources(tmp_path, installed=True)
    (tmp_path / "home").write_bytes(b"")
    assert found(package).parent == package / "__pycache__" / "jit"


@pytest.mark.slow
def test_without_home(tmp_path):
    """Beside the sources; two processes that start at once from nothing; both are right."""
    package = copy_of_sources(tmp_path)
    processes = [start(tmp_path), start(tmp_path)]
    for process in processes:
        out, err = process.communicate(timeout=3000)
        assert (process.returncode, err) == (0, "")
        assert out.startswith("24.0 ")
    (generation,) = (package / "__pycache__" / "jit").iterdir()
    names = sorted(path.name for path in generation.iterdir())
    assert all(name.endswith(".bin") for name in names)
    assert sum(name.startswith(f"{NAME}-") for name in names) == 1
    third = start(tmp_path)
    assert third.communicate(timeout=3000) == ("24.0 0\n", "")  # loaded, not compiled
    assert not list(tmp_path.glob("~*"))
