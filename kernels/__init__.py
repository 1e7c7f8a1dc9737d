"""Hand-written kernels, compiled for this CPU: arrays in, arrays out.

All arrays are plain, C-contiguous float32 or float64, one dtype per call (labels and indices int64,
images uint8). Outputs come last, belong to the caller and are overwritten. An output overlaps no
other argument, but it may be the same array as an input if the docstring says so. An argument that
does not fit raises a ValueError or TypeError that names it. No kernel reads or writes outside an
array. Results have the same bits for any number of threads and any CPU.
"""

if __name__ != "jitprop.kernels":
    raise ImportError(f"this is jitprop.kernels, not {__name__}: write `import jitprop.kernels`")

from jitprop.kernels.add import add
from jitprop.kernels.average import average
from jitprop.kernels.bias import bias_bprop, bias_fprop
from jitprop.kernels.compiler.jit import on_compile
from jitprop.kernels.concatenate import concatenate_bprop, concatenate_fprop
from jitprop.kernels.cross_entropy import cross_entropy_bprop, cross_entropy_fprop
from jitprop.kernels.csr import csr_gather, csr_linear_fprop, csr_tn, csr_tn_sgd
from jitprop.kernels.distort import distort
from jitprop.kernels.dropout import dropout, dropout_step
from jitprop.kernels.gather import gather, gather_labels, gather_rows, next_index, pixels_of
from jitprop.kernels.gaussian_noise import gaussian_noise
from jitprop.kernels.log_softmax import log_softmax_bprop, log_softmax_fprop
from jitprop.kernels.losses import total
from jitprop.kernels.matmul import (
    linear_fprop,
    linear_tanh_fprop,
    matmul_nn,
    matmul_nt,
    matmul_nt_tanh_bprop,
    matmul_tn,
)
from jitprop.kernels.max_norm import max_norm
from jitprop.kernels.mean_squared_error import mean_squared_error_bprop, mean_squared_error_fprop
from jitprop.kernels.multiply import multiply
from jitprop.kernels.poisson_loss import poisson_loss
from jitprop.kernels.relu import relu_bprop, relu_fprop
from jitprop.kernels.runtime.memory import aligned_zeros
from jitprop.kernels.runtime.tape import Tape
from jitprop.kernels.runtime.threads import get_num_threads, set_num_threads
from jitprop.kernels.scale import scale
from jitprop.kernels.sigmoid import sigmoid_bprop, sigmoid_fprop
from jitprop.kernels.sigmoid_cross_entropy import sigmoid_cross_entropy
from jitprop.kernels.softmax import softmax_bprop, softmax_fprop
from jitprop.kernels.softmax_cross_entropy import smoothed_cross_entropy, softmax_cross_entropy
from jitprop.kernels.sparse import (
    sparse_linear_fprop,
    sparse_linear_tanh_fprop,
    sparse_rows_fprop,
    sparse_rows_tanh_fprop,
    sparse_tn,
    sparse_tn_momentum,
    sparse_tn_sgd,
)
from jitprop.kernels.subtract import subtract
from jitprop.kernels.tally import misses, squares, tally
from jitprop.kernels.tanh import tanh_bprop, tanh_fprop
from jitprop.kernels.update import (
    adam_update,
    adam_update_above,
    adamw_update,
    momentum_update,
    nesterov_update,
    next_numbers,
    sgd_update,
)
from jitprop.kernels.weigh import share, weigh
from jitprop.kernels.zero import zero

__all__ = [
    "Tape",
    "adam_update",
    "adam_update_above",
    "adamw_update",
    "add",
    "aligned_zeros",
    "average",
    "bias_bprop",
    "bias_fprop",
    "concatenate_bprop",
    "concatenate_fprop",
    "cross_entropy_bprop",
    "cross_entropy_fprop",
    "csr_gather",
    "csr_linear_fprop",
    "csr_tn",
    "csr_tn_sgd",
    "distort",
    "dropout",
    "dropout_step",
    "gather",
    "gather_labels",
    "gather_rows",
    "gaussian_noise",
    "get_num_threads",
    "linear_fprop",
    "linear_tanh_fprop",
    "log_softmax_bprop",
    "log_softmax_fprop",
    "matmul_nn",
    "matmul_nt",
    "matmul_nt_tanh_bprop",
    "matmul_tn",
    "max_norm",
    "mean_squared_error_bprop",
    "mean_squared_error_fprop",
    "misses",
    "momentum_update",
    "multiply",
    "nesterov_update",
    "next_index",
    "next_numbers",
    "on_compile",
    "pixels_of",
    "poisson_loss",
    "relu_bprop",
    "relu_fprop",
    "scale",
    "set_num_threads",
    "sgd_update",
    "share",
    "sigmoid_bprop",
    "sigmoid_cross_entropy",
    "sigmoid_fprop",
    "smoothed_cross_entropy",
    "softmax_bprop",
    "softmax_cross_entropy",
    "softmax_fprop",
    "sparse_linear_fprop",
    "sparse_linear_tanh_fprop",
    "sparse_rows_fprop",
    "sparse_rows_tanh_fprop",
    "sparse_tn",
    "sparse_tn_momentum",
    "sparse_tn_sgd",
    "squares",
    "subtract",
    "tally",
    "tanh_bprop",
    "tanh_fprop",
    "total",
    "weigh",
    "zero",
]
