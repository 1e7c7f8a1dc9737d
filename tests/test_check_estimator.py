"""estimators/: scikit-learn's own checks of estimators, all of them."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("sklearn")
from sklearn.utils.estimator_checks import check_estimator

from jitprop import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore")

# They compare two trainings with 1e-7, and a unit in float32's last place is 1.2e-7.
NARROW = {
    f"check_sample_weight_equivalence_on_{kind}_data": "float32 has 24 bits"
    for kind in ("dense", "sparse")
}
# What cannot run: it needs a method that networks do not have, or scikit-learn's own do not.
CANNOT = {"check_classifiers_multilabel_output_format_decision_function"}
# It runs where SciPy is told so before it is loaded: in the last test.
ELSEWHERE = {"check_array_api_input"}
COUNTS = {MLPClassifier: 68, MLPRegressor: 60}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", COUNTS)
def test_all_checks_pass(kind, dtype):
    how = {"dtype": "float64", "batch_size": 10**6} if dtype == "float64" else {}
    expected = NARROW if dtype == "float32" else {}
    results = check_estimator(kind(**how), on_fail=None, on_skip=None)
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert failed.keys() <= expected.keys(), failed
    skipped = {r["check_name"] for r in results if r["status"] == "skipped"}
    assert skipped <= CANNOT | ELSEWHERE
    assert len(results) >= COUNTS[kind]
    passed = sum(r["status"] == "passed" for r in results)
    assert passed == len(results) - len(failed) - len(skipped) >= COUNTS[kind] - 4


def test_the_check_that_needs_a_variable():
    code = """
import warnings; warnings.simplefilter("ignore")
from sklearn.utils import estimator_checks as checks
from jitprop import MLPClassifier, MLPRegressor
for kind in (MLPClassifier, MLPRegressor):
    checks.check_array_api_input(kind.__name__, kind(max_iter=5), "numpy")
print("ran")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "ran\n"
