"""Two recorded calls in one, where that spares a pass over memory.

    linear_fprop(x, w, b, y), tanh_fprop(y, out)            linear_tanh_fprop(x, w, b, out)
    matmul_nt(dy, w, dx), tanh_bprop(y, dx, out)            matmul_nt_tanh_bprop(dy, w, y, out)
    sparse_tn(x, dy, dw), ..., sgd_update(w, dw, rate)      sparse_tn_sgd(x, dy, w, rate)

and the like, where nothing else reads what the first call leaves for the second, which is then
nowhere stored. Of the first layer's weights, sgd does not even touch the rows whose pixels are zero
in the whole batch: for single images, three of four. The bits stay the same.
"""

from contextlib import suppress

import numpy as np

from jitprop.kernels.matmul import linear_fprop, linear_tanh_fprop, matmul_nt, matmul_nt_tanh_bprop
from jitprop.kernels.sparse import (
    sparse_linear_fprop,
    sparse_linear_tanh_fprop,
    sparse_tn,
    sparse_tn_momentum,
    sparse_tn_sgd,
)
from jitprop.kernels.tanh import tanh_bprop, tanh_fprop
from jitprop.kernels.tape import Tape, writes
from jitprop.kernels.update import momentum_update, sgd_update


def _tanh(operands, y, then):
    return *operands, then[1].reshape(y.shape)


def _tanh_bprop(operands, dx, then):
    y, _, out = then
    return *operands, *(x.reshape(dx.shape) for x in (y, out))


def _update(operands, dw, then):
    """The arrays of an update come as vectors; here they take the shape of the product."""
    w, _, *rest = then
    return *operands, *(x.reshape(dw.shape) if np.ndim(x) else x for x in (w, *rest))


# (first call, second): which argument of the second is what the first leaves; the call in their
# place; and its arguments as a function of what the first reads, what it leaves, and what the
# second takes.
PAIRS = {
    (linear_fprop, tanh_fprop): (0, linear_tanh_fprop, _tanh),
    (sparse_linear_fprop, tanh_fprop): (0, sparse_linear_tanh_fprop, _tanh),
    (matmul_nt, tanh_bprop): (1, matmul_nt_tanh_bprop, _tanh_bprop),
    (sparse_tn, sgd_update): (1, sparse_tn_sgd, _update),
    (sparse_tn, momentum_update): (1, sparse_tn_momentum, _update),
}


def fused(tape: Tape) -> Tape:
    """Return a tape that does what `tape` does, but for arrays that nothing else reads."""
    calls: list[tuple] = list(tape.calls)
    users: dict[int, list[int]] = {}  # of each piece of memory: the places of the calls
    for place, (_, args) in enumerate(calls):
        for memory in {id(_memory(arg)) for arg in args if isinstance(arg, np.ndarray)}:
            users.setdefault(memory, []).append(place)
    firsts = {first for first, _ in PAIRS}
    for at, (first, args) in enumerate(tape.calls):
        if first not in firsts:
            continue
        *operands, middle = args
        then = users[id(_memory(middle))][-1]
        second, later = calls[then]
        if (first, second) not in PAIRS or users[id(_memory(middle))] != [at, then]:
            continue
        place, both, arguments = PAIRS[first, second]
        shared = [i for i, arg in enumerate(later) if _memory(arg) is _memory(middle)]
        whole = later[place].ctypes.data == middle.ctypes.data and later[place].size == middle.size
        between = [call for call in calls[at + 1 : then + 1] if call[0]]
        changed = any(writes(call, operand) for call in between for operand in operands)
        if shared != [place] or not whole or changed:
            continue
        args = arguments(operands, middle, later)
        with suppress(ValueError):  # an output that is, or overlaps, what `both` goes on to read
            both.signature.explain(both.__name__, args)
            calls[at], calls[then] = (None, ()), (both, args)
    result = Tape(tape.stop)
    result.calls = [call for call in calls if call[0]]
    return result


def _memory(array):
    """What owns the memory of an array."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array
