"""How requests and answers are written."""

import base64
import binascii
import json
import math
from typing import Any


def as_json(value: Any) -> bytes:
    """Return JSON of numbers, NumPy's too; what is not finite becomes null."""
    return json.dumps(_plain(value), allow_nan=False, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # NumPy's
        import numpy as np

        if value.dtype.kind != "f" or np.isfinite(value).all():
            return value.tolist()
        value = value.tolist()
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def bytes_of(text: Any, what: str, count: int | None = None) -> bytes:
    """Return bytes that a request has as base64."""
    try:
        found = base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise ValueError(f"{what} must be bytes in base64") from None
    if count is not None and len(found) != count:
        raise ValueError(f"{what} must be {count} bytes, not {len(found)}")
    return found


def shortened(value: Any) -> str:
    """Return a value that a request has, for a message."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
