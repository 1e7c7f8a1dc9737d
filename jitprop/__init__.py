"""Neural networks from hand-written kernels that numba compiles for this CPU.

The names of `jitprop.layers` and `jitprop.training` are here, too: `jitprop.Linear`, `jitprop.fit`.
A name loads its module when it is first used: `import jitprop` loads neither NumPy nor numba.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jitprop import data, kernels, layers, training
    from jitprop.layers import *
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
    "DivergedError",
    "Dropout",
    "Epoch",
    "Evaluation",
    "GradCheckResult",
    "GradientError",
    "Graph",
    "Input",
    "Linear",
    "LogSoftmax",
    "Loss",
    "Losses",
    "MeanSquaredError",
    "Module",
    "Multiply",
    "Node",
    "Parameter",
    "ReLU",
    "Sequential",
    "Settings",
    "Sigmoid",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Split",
    "State",
    "Subtract",
    "Tanh",
    "Training",
    "__version__",
    "check_report",
    "check_savable",
    "check_writable",
    "confusion",
    "cpu_model",
    "data",
    "evaluate",
    "fit",
    "gradcheck",
    "gradcheck_mlp",
    "kernels",
    "layers",
    "load",
    "mlp",
    "read",
    "resume",
    "save",
    "settings_for",
    "training",
    "versions",
    "warm_up",
    "weights_sha256",
    "write_json",
    "write_report",
]

_HERE = Path(__file__).parent
_PYPROJECT = _HERE.parent / "pyproject.toml"

# In a clone, `kernels` and `layers` lie beside this folder; in what is installed, they lie in it.
_IN_A_CLONE = _PYPROJECT.is_file() and not (_HERE / "kernels").is_dir()
if _IN_A_CLONE:
    __path__.append(str(_HERE.parent))


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        return _version()
    if name in ("data", "kernels", "layers", "training"):
        return import_module(f"{__name__}.{name}")
    training = import_module(f"{__name__}.training")
    home = training if name in training.__all__ else import_module(f"{__name__}.layers")
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    """Return the version of these sources: in a clone, another may be installed as well."""
    if _IN_A_CLONE:
        import tomllib

        return tomllib.loads(_PYPROJECT.read_text(encoding="utf-8"))["project"]["version"]
    from importlib.metadata import version

    return version(__name__)
