"""Networks to and from other programs: ONNX files, and modules of PyTorch.

The first use of a name loads its module; onnx or torch are imported when they are needed.
`to_onnx` and `from_onnx` need the extra `onnx`, `to_torch` and `from_torch` need PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jitprop.interop.onnx_file import OnnxError
    from jitprop.interop.onnx_in import from_onnx
    from jitprop.interop.onnx_out import to_onnx
    from jitprop.interop.to_and_from_torch import from_torch, to_torch

_MODULES = {
    "OnnxError": "onnx_file",
    "from_onnx": "onnx_in",
    "from_torch": "to_and_from_torch",
    "to_onnx": "onnx_out",
    "to_torch": "to_and_from_torch",
}

__all__ = ["OnnxError", "from_onnx", "from_torch", "to_onnx", "to_torch"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # a type checker refuses names that are not above

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
