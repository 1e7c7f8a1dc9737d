"""Two recorded calls in one, where that spares a pass over memory.

    linear_fprop(x, w, b, y), tanh_fprop(y, out)            linear_tanh_fprop(x, w, b, out)
    matmul_nt(dy, w, dx), tanh_bprop(y, dx, out)            matmul_nt_tanh_bprop(dy, w, y, out)
    sparse_tn(x, dy, dw), ..., sgd_update(w, dw, rate)      sparse_tn_sgd(x, dy, w, rate)

and the like, where nothing else reads what the first call writes for the second. Then that is never
stored. In the first layer, sgd does not even touch the rows of the weights whose inputs are zero in
the whole batch: for single images, three of four. The bits stay the same.
"""

from collections.abc import Sequence

import numpy as np

from jitprop.kernels.csr import csr_tn, csr_tn_sgd
from jitprop.kernels.matmul import linear_fprop, linear_tanh_fprop, matmul_nt, matmul_nt_tanh_bprop
from jitprop.kernels.runtime.fuse import fuse
from jitprop.kernels.runtime.tape import Tape
from jitprop.kernels.sparse import (
    sparse_linear_fprop,
    sparse_linear_tanh_fprop,
    sparse_rows_fprop,
    sparse_rows_tanh_fprop,
    sparse_tn,
    sparse_tn_momentum,
    sparse_tn_sgd,
)
from jitprop.kernels.tanh import tanh_bprop, tanh_fprop
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


PAIRS = {
    (linear_fprop, tanh_fprop): (0, linear_tanh_fprop, _tanh),
    (sparse_linear_fprop, tanh_fprop): (0, sparse_linear_tanh_fprop, _tanh),
    (sparse_rows_fprop, tanh_fprop): (0, sparse_rows_tanh_fprop, _tanh),
    (matmul_nt, tanh_bprop): (1, matmul_nt_tanh_bprop, _tanh_bprop),
    (csr_tn, sgd_update): (1, csr_tn_sgd, _update),
    (sparse_tn, sgd_update): (1, sparse_tn_sgd, _update),
    (sparse_tn, momentum_update): (1, sparse_tn_momentum, _update),
}


def fused(tape: Tape, kept: Sequence[np.ndarray] = ()) -> Tape:
    """Return a tape with the same results, except in arrays that nothing else reads.

    Somebody reads the arrays `kept` after it has run.
    """
    return fuse(tape, PAIRS, kept)
