"""Neural networks from hand-written kernels that numba compiles for this CPU.

The names of `jitprop.layers`, `jitprop.training`, `jitprop.reporting`, `jitprop.interop` and
`jitprop.estimators` are here, too: `jitprop.Linear`, `jitprop.fit`. The first use of a name loads
its module. So `import jitprop` loads neither NumPy nor numba.
"""

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jitprop import data, estimators, interop, kernels, layers, reporting, training
    from jitprop.estimators import *
    from jitprop.interop import *
    from jitprop.layers import *
    from jitprop.reading import *
    from jitprop.reporting import *
    from jitprop.training import *

    __version__: str

__all__ = [
    "ARCHITECTURES",
    "DEFAULTS",
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "Add",
    "Bias",
    "Checkpoint",
    "CheckpointError",
    "Concatenate",
    "CrossEntropy",
    "Digit",
    "Distortion",
    "DivergedError",
    "Dropout",
    "Epoch",
    "Evaluation",
    "GaussianNoise",
    "GradCheckResult",
    "GradientError",
    "Graph",
    "Identity",
    "Input",
    "Linear",
    "LogSoftmax",
    "Loss",
    "Losses",
    "MeanSquaredError",
    "Module",
    "Multiply",
    "Node",
    "OnnxError",
    "Parameter",
    "PoissonLoss",
    "Predictor",
    "ReLU",
    "Sequential",
    "Settings",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Split",
    "State",
    "Subtract",
    "Tanh",
    "Training",
    "Weighted",
    "__version__",
    "check_report",
    "check_savable",
    "check_writable",
    "confusion",
    "cpu_model",
    "data",
    "distorted",
    "estimators",
    "evaluate",
    "fit",
    "from_onnx",
    "from_torch",
    "gradcheck",
    "gradcheck_mlp",
    "interop",
    "kernels",
    "layers",
    "load",
    "mlp",
    "predict",
    "probabilities",
    "read",
    "read_digits",
    "reporting",
    "resume",
    "save",
    "settings_for",
    "to_onnx",
    "to_torch",
    "training",
    "versions",
    "warm_up",
    "weights_sha256",
    "write_json",
    "write_report",
]

# They need scikit-learn: `from jitprop import *` does without them.
_ESTIMATORS = ["MLPClassifier", "MLPRegressor"]

_HERE = Path(__file__).parent
_CLONE = _HERE.parent
# In a clone, these stand beside this folder; an installed package has them in it.
_BESIDE = [f"{__name__}.{name}" for name in ("kernels", "layers", "train")]
_IN_A_CLONE = (_CLONE / "kernels" / "__init__.py").is_file() and not (
    _HERE / "kernels" / "__init__.py"
).is_file()


class _Beside:
    """Finds what stands beside this folder, and nothing else there."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        return PathFinder.find_spec(name, [str(_CLONE)]) if name in _BESIDE else None


if _IN_A_CLONE:
    sys.meta_path[:] = [
        _Beside,
        *(f for f in sys.meta_path if getattr(f, "__name__", "") != "_Beside"),
    ]


if not TYPE_CHECKING:  # a type checker refuses names that are not above

    def __getattr__(name: str) -> Any:
        if name in _ESTIMATORS:
            return getattr(import_module(f"{__name__}.estimators"), name)
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "__version__":
            return import_module(f"{__name__}.training.version").own_version()
        if name in ("data", "estimators", "interop", "kernels", "layers", "reporting", "training"):
            return import_module(f"{__name__}.{name}")
        rooms = (
            import_module(f"{__name__}.{room}")
            for room in ("training", "reporting", "interop", "layers", "reading")
        )
        return getattr(next(room for room in rooms if name in room.__all__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ESTIMATORS})
