"""What a run leaves for people to look at: pictures, a drawing of the model, a page with both.

A name loads its module when it is first used: pictures need matplotlib, the extra `plots`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jitprop.reporting.page import check_report, write_report

__all__ = ["check_report", "write_report"]

if not TYPE_CHECKING:  # to a type checker, a name that is not above is an error

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.page"), name)
