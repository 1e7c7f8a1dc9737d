"""How a Python function becomes machine code: checks, vectors, the compiler, the cache."""

# Says for which CPU, before anything else here makes use of numba's target.
from jitprop.kernels.compiler import cpu as cpu
