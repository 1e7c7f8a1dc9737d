"""All settings are in pyproject.toml; this builds in a new folder each time.

In ./build and ./jitprop.egg-info, setuptools would find what an older version left there, and put
it into the wheel or the source distribution.
"""

import atexit
import shutil
import tempfile

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildPy(build_py):
    """Takes ./train.py into the package: the command `jitprop train` is that file."""

    def find_package_modules(self, package, package_dir):
        found = super().find_package_modules(package, package_dir)
        return [*found, (package, "train", "train.py")] if package == "jitprop" else found


folder = tempfile.mkdtemp(prefix="jitprop-build-")
atexit.register(shutil.rmtree, folder, ignore_errors=True)
setup(
    cmdclass={"build_py": BuildPy},
    options={"build": {"build_base": folder}, "egg_info": {"egg_base": folder}},
)
