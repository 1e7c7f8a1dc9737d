"""How a Python function becomes machine code: checks, vectors, the compiler, the cache."""

# First: it sets the CPU before anything else here uses numba's target.
from jitprop.kernels.compiler import cpu as cpu
