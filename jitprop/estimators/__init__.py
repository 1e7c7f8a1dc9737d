"""Estimators for tables: scikit-learn's `MLPClassifier` and `MLPRegressor`, on these kernels.

They need scikit-learn, `pip install 'jitprop[sklearn]'`, and load it when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jitprop.estimators.classifier import MLPClassifier
    from jitprop.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]

_MODULES = {"MLPClassifier": "classifier", "MLPRegressor": "regressor"}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # a type checker refuses names that are not above

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            import_module("sklearn")
        except ModuleNotFoundError:
            raise ImportError(
                f"{name} needs scikit-learn: pip install 'jitprop[sklearn]'"
            ) from None
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
