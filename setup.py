"""All settings are in pyproject.toml; this builds in a new folder each time.

In ./build, setuptools would find what an older version left there, and put it into the wheel.
"""

import atexit
import shutil
import tempfile

from setuptools import setup

folder = tempfile.mkdtemp(prefix="jitprop-build-")
atexit.register(shutil.rmtree, folder, ignore_errors=True)
setup(options={"build": {"build_base": folder}})
