"""The kernels as plain Python: the same tests, and which lines and branches they reach.

With NUMBA_DISABLE_JIT=1 each kernel and each function of simd.py runs as its plain twin, so
coverage can be measured. What cannot run like that is listed here with the reason.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

ROOT = Path(__file__).parent.parent

TESTS = (
    "matmul", "bias", "tanh", "functions", "softmax", "cross_entropy", "softmax_cross_entropy",
    "update", "scale", "zero", "gather", "tally", "tape", "checks", "kernel", "sigmoid",
    "relu", "log_softmax", "add", "subtract", "multiply", "concatenate", "dropout",
    "mean_squared_error", "sigmoid_cross_entropy", "poisson_loss", "sparse", "fuse", "memory",
    "weigh", "csr", "distort", "gaussian_noise",
)  # fmt: skip

# All of these are covered, each line and each branch, but for what is named here.
COVERED = {
    "add.py": 100,
    "bias.py": 100,
    "concatenate.py": 100,
    "constants.py": 100,
    "cross_entropy.py": 100,
    "csr.py": 100,
    "distort.py": 100,
    "dropout.py": 100,
    "functions.py": 100,
    "fuse.py": 100,
    "fused.py": 100,
    "gather.py": 100,
    "gaussian_noise.py": 100,
    "log_softmax.py": 100,
    "losses.py": 100,
    "matmul.py": 100,
    "mean_squared_error.py": 100,
    "memory.py": 100,
    "multiply.py": 100,
    "philox.py": 100,
    "poisson_loss.py": 100,
    "relu.py": 100,
    "scale.py": 100,
    "sigmoid.py": 100,
    "sigmoid_cross_entropy.py": 100,
    "softmax.py": 100,
    "softmax_cross_entropy.py": 100,
    "sparse.py": 100,
    "subtract.py": 100,
    "tally.py": 100,
    "tanh.py": 100,
    "update.py": 100,
    "weigh.py": 100,
    "checks.py": 98,  # reading the function behind a compiled one
}
# simd.py, permute.py, tile.py, sparse_tile.py: half of each emits LLVM code. test_simd.py,
# test_matmul.py and test_sparse.py run that.
# The rest of compiler/ and runtime/: how to compile, keep and call compiled code.


@pytest.mark.slow
@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="this is that run")
def test_plain_twins_pass_and_are_covered(tmp_path):
    pytest.importorskip("coverage")
    data, report = tmp_path / "coverage", tmp_path / "coverage.json"
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "COVERAGE_FILE": str(data)}
    files = [f"tests/test_{name}.py" for name in TESTS if (ROOT / f"tests/test_{name}.py").exists()]
    command = [sys.executable, "-m", "coverage"]
    options = ["-p", "no:cacheprovider", "-x"]
    run = subprocess.run(
        [*command, "run", "-m", "pytest", *options, *files],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    subprocess.run(
        [*command, "json", "-q", "-o", str(report)],
        cwd=ROOT,
        env=environment,
        timeout=3000,
        check=True,
    )
    measured = {
        Path(name).name: result for name, result in json.loads(report.read_text())["files"].items()
    }
    missing = {}
    for name, least in COVERED.items():
        result = measured[name]
        if result["summary"]["percent_covered"] < least:
            percent = result["summary"]["percent_covered"]
            missing[name] = percent, result["missing_lines"], result["missing_branches"]
    assert not missing
