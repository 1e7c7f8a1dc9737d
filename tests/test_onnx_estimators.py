"""interop/onnx_estimators.py: the file of an estimator gives what the estimator does."""

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("sklearn")
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator
from sklearn.datasets import load_iris
from sklearn.preprocessing import StandardScaler

from jitprop import MLPClassifier, MLPRegressor, from_onnx, predict, to_onnx

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, SPECIES = load_iris(return_X_y=True)
X = X.astype(np.float32)
NAMES = np.array(["setosa", "versicolor", "virginica"])
LABELS = {
    "numbers": SPECIES * 10 - 3,
    "text": NAMES[SPECIES],
    "objects": NAMES.astype(object)[SPECIES],
    "two": NAMES[np.minimum(SPECIES, 1)],
    "booleans": SPECIES > 0,
    "floats": SPECIES / 1.0,
    "one": SPECIES * 0 + 7,
    "several": np.stack([SPECIES > 0, SPECIES > 1], axis=1).astype(int),
}


def evaluated(path, x, names):
    """What both evaluators give, after the checker has seen the file."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [one.name for one in model.graph.output] == names
    session = onnxruntime.InferenceSession(path)
    return [one.run(None, {"X": x}) for one in (session, ReferenceEvaluator(model))]


@pytest.mark.parametrize("labels", LABELS)
def test_labels_and_probabilities(labels, tmp_path):
    """Each label, and each probability to some units in the last place of a logit."""
    model = MLPClassifier((20,), max_iter=30, random_state=0).fit(X, LABELS[labels])
    to_onnx(model, tmp_path / "model.onnx")
    p = model.predict_proba(X)
    for label, found in evaluated(tmp_path / "model.onnx", X, ["label", "probabilities"]):
        assert np.array_equal(label, model.predict(X))
        assert label.ndim == model.predict(X).ndim
        assert found.shape == p.shape
        np.testing.assert_allclose(found, p, rtol=1e-5, atol=1e-7)
    if labels == "floats":
        return
    net = from_onnx(tmp_path / "model.onnx")  # labels are left out
    np.testing.assert_allclose(predict(net, X), p, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_numbers(outputs, loss, tmp_path):
    y = SPECIES if outputs == 1 else np.stack([SPECIES, 2 - SPECIES], axis=1)
    model = MLPRegressor(loss, (20,), max_iter=30, random_state=0, dtype="float64").fit(X, y)
    to_onnx(model, tmp_path / "model.onnx")
    x = X.astype(np.float64)
    for (found,) in evaluated(tmp_path / "model.onnx", x, ["variable"]):
        assert found.shape == (150, outputs)
        np.testing.assert_allclose(found, model.predict(x).reshape(150, -1), rtol=1e-12)


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match="MLPClassifier is not fitted yet"):
        to_onnx(MLPClassifier(), tmp_path / "model.onnx")
    model = MLPClassifier(max_iter=1).fit(X, SPECIES)
    model.classes_ = np.array([b"a", b"b", b"c"], dtype=object)
    with pytest.raises(TypeError, match="labels are b'a' and the like, ONNX knows numbers"):
        to_onnx(model, tmp_path / "model.onnx")
    with pytest.raises(TypeError, match="expected a module or an estimator"):
        to_onnx(StandardScaler(), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
