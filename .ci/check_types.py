"""Check the types of all that the wheel installs, and of perf: `python .ci/check_types.py`.

From the root of a clone mypy would look for `jitprop.kernels` in ./jitprop, not find it, and be
content with half of the files. So the files are laid out as a wheel lays them out, and checked
there. Messages name the files where they are edited.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".mypy_cache"


def main() -> int:
    """Return mypy's exit code."""
    tree = CACHE / "as-installed"
    shutil.rmtree(tree, ignore_errors=True)
    skip = shutil.ignore_patterns("__pycache__", "mnist", "results", "*.safetensors")
    for source, target in (
        ("jitprop", "jitprop"),
        ("kernels", "jitprop/kernels"),
        ("layers", "jitprop/layers"),
        ("perf", "perf"),
    ):
        shutil.copytree(ROOT / source, tree / target, ignore=skip, dirs_exist_ok=True)
    shutil.copy2(ROOT / "train.py", tree / "jitprop")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml"),
            *("--cache-dir", CACHE, "jitprop", "perf"),
        ],
        cwd=tree,
        stdout=subprocess.PIPE,
        text=True,
    )
    print(re.sub(r"^jitprop/(?=kernels/|layers/|train\.py)", "", done.stdout, flags=re.M), end="")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
