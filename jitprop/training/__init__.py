"""The training loop and what surrounds it: all that `train.py` does, as a library.

The first use of a name loads its module, and with it numba. So the command line can read settings,
and refuse those that make no sense, without waiting half a second for numba.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jitprop.training.distortion import Distortion
from jitprop.training.settings import ARCHITECTURES, DEFAULTS, Settings, settings_for

if TYPE_CHECKING:
    from jitprop.training.architectures import gradcheck_mlp, mlp
    from jitprop.training.asking import Predictor, predict, probabilities
    from jitprop.training.checkpoints import (
        Checkpoint,
        CheckpointError,
        check_savable,
        load,
        read,
        resume,
        save,
    )
    from jitprop.training.distorting import distorted
    from jitprop.training.epoch import Epoch
    from jitprop.training.evaluation import Evaluation, confusion, evaluate
    from jitprop.training.files import check_writable
    from jitprop.training.loop import DivergedError, Training, fit
    from jitprop.training.metrics import (
        cpu_model,
        versions,
        weights_sha256,
        write_json,
    )
    from jitprop.training.optimisers import SGD, Adam, AdamW
    from jitprop.training.warming import warm_up

_MODULES = {
    "Checkpoint": "checkpoints",
    "CheckpointError": "checkpoints",
    "DivergedError": "loop",
    "Epoch": "epoch",
    "Evaluation": "evaluation",
    "Adam": "optimisers",
    "AdamW": "optimisers",
    "SGD": "optimisers",
    "Predictor": "asking",
    "Training": "loop",
    "check_savable": "checkpoints",
    "check_writable": "files",
    "confusion": "evaluation",
    "cpu_model": "metrics",
    "distorted": "distorting",
    "evaluate": "evaluation",
    "fit": "loop",
    "gradcheck_mlp": "architectures",
    "load": "checkpoints",
    "mlp": "architectures",
    "predict": "asking",
    "probabilities": "asking",
    "read": "checkpoints",
    "resume": "checkpoints",
    "save": "checkpoints",
    "versions": "metrics",
    "warm_up": "warming",
    "weights_sha256": "metrics",
    "write_json": "metrics",
}

__all__ = [
    "ARCHITECTURES",
    "DEFAULTS",
    "SGD",
    "Adam",
    "AdamW",
    "Checkpoint",
    "CheckpointError",
    "Distortion",
    "DivergedError",
    "Epoch",
    "Evaluation",
    "Predictor",
    "Settings",
    "Training",
    "check_savable",
    "check_writable",
    "confusion",
    "cpu_model",
    "distorted",
    "evaluate",
    "fit",
    "gradcheck_mlp",
    "load",
    "mlp",
    "predict",
    "probabilities",
    "read",
    "resume",
    "save",
    "settings_for",
    "versions",
    "warm_up",
    "weights_sha256",
    "write_json",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # a type checker refuses names that are not above

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
