"""Reports for people: pictures, a drawing of the model, a page with both.

The first use of a name loads its module: pictures need matplotlib, the extra `plots`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jitprop.reporting.page import check_report, write_report

__all__ = ["check_report", "write_report"]

if not TYPE_CHECKING:  # a type checker refuses names that are not above

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.page"), name)
