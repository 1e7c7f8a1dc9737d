"""Where kernels run as plain Python, each element costs a thousand times what compiled code takes.

Nothing is shared out there and no memory is far away: a few rows and a few vectors reach each line
and each branch. tests/test_without_jit.py measures that they do.
"""

import numba

PLAIN = bool(numba.config.DISABLE_JIT)


def cut(shapes, *most):
    """The shapes; as plain Python, no axis is longer than `most` says."""
    return [tuple(map(min, shape, most)) for shape in shapes] if PLAIN else shapes
