"""Two recorded calls in one, where that spares a pass over memory.

    sparse_tn(x, dy -> dw), ..., sgd_update(w, dw, rate)    becomes    sparse_tn_sgd(x, dy, w, rate)

The gradient of the first layer's weights is then nowhere stored, and rows of w whose pixels are
zero in the whole batch are not touched: for single images, four of five. The bits stay the same.
"""

import numpy as np

from kernels.sparse import sparse_tn, sparse_tn_sgd
from kernels.tape import Tape
from kernels.update import sgd_update


def fused(tape: Tape) -> Tape:
    """Return a tape that does what `tape` does, but for gradients that only its updates read."""
    calls = list(tape.calls)
    for at, (kernel, args) in enumerate(tape.calls):
        if kernel is not sparse_tn:
            continue
        *columns, dy, dw = args
        for then in range(at + 1, len(calls)):
            later, later_args = calls[then]
            if later is sgd_update and _same(later_args[1], dw):
                w, _, rate = later_args
                between = calls[at + 1 : then]
                read = _touched(between, dw, w.reshape(dw.shape)) or _touched(calls[then + 1 :], dw)
                if not read and not _written(between, *columns, dy):
                    calls[at] = (None, ())
                    calls[then] = (sparse_tn_sgd, (*columns, dy, w.reshape(dw.shape), rate))
                break
    result = Tape()
    with result:
        for kernel, args in calls:
            if kernel is not None:
                kernel(*args)
    return result


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.ctypes.data == b.ctypes.data and a.size == b.size


def _touched(calls: list[tuple], *arrays: np.ndarray) -> bool:
    """Whether a call reads or writes one of these arrays."""
    return any(
        isinstance(arg, np.ndarray) and np.may_share_memory(arg, array)
        for _, args in calls
        for arg in args
        for array in arrays
    )


def _written(calls: list[tuple], *arrays: np.ndarray) -> bool:
    """Whether a call writes to one of these arrays."""
    return any(
        argument.output and np.may_share_memory(arg, array)
        for kernel, args in calls
        if kernel is not None
        for argument, arg in zip(kernel.signature.arguments, args, strict=True)
        for array in arrays
    )
