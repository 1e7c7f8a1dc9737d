"""Hand-written kernels, compiled for this CPU: arrays in, arrays out.

All arrays are C-contiguous float32 or float64, one dtype per call (labels and indices int64,
images uint8, columns of compressed rows int32). Outputs come last, belong to
the caller and are overwritten. What does not fit is a ValueError or TypeError that names the
argument; no kernel reads or writes outside an array. Results are the same bits for any number of
threads and any CPU. Products use up to 0.7 MB of the calling thread's stack.
"""

from kernels.bias import bias_bprop, bias_fprop
from kernels.cross_entropy import cross_entropy_bprop, cross_entropy_fprop
from kernels.gather import gather
from kernels.jit import get_num_threads, on_compile, set_num_threads
from kernels.matmul import linear_fprop, linear_tanh_fprop, matmul_nn, matmul_nt, matmul_tn
from kernels.scale import scale
from kernels.softmax import softmax_bprop, softmax_fprop
from kernels.softmax_cross_entropy import softmax_cross_entropy
from kernels.sparse import (
    sparse_capacity,
    sparse_linear_fprop,
    sparse_rows,
    sparse_tn,
    sparse_transpose,
)
from kernels.tanh import tanh_bprop, tanh_fprop
from kernels.update import momentum_update, sgd_update

__all__ = [
    "bias_bprop",
    "bias_fprop",
    "cross_entropy_bprop",
    "cross_entropy_fprop",
    "gather",
    "get_num_threads",
    "linear_fprop",
    "linear_tanh_fprop",
    "matmul_nn",
    "matmul_nt",
    "matmul_tn",
    "momentum_update",
    "on_compile",
    "scale",
    "set_num_threads",
    "sgd_update",
    "softmax_bprop",
    "softmax_cross_entropy",
    "softmax_fprop",
    "sparse_capacity",
    "sparse_linear_fprop",
    "sparse_rows",
    "sparse_tn",
    "sparse_transpose",
    "tanh_bprop",
    "tanh_fprop",
]
