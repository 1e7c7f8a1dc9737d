"""What holds for every kernel whose outputs are computed element by element.

One-dimensional inputs are passed as one row: no second version of the kernel is compiled. That
arrays of any number of dimensions are right is the decorator's doing, the same for all: one of the
kernels shows it, in RANKS.
"""

import numpy as np
from plain import PLAIN
from reference import assert_same_bits

from jitprop.kernels import get_num_threads, set_num_threads

# Around one vector of 16, two and four, in the tail of several, and two pieces of work and a bit.
SIZES = [0, 1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, *([] if PLAIN else [997, 20_011])]
LONGEST = 211 if PLAIN else 20_011
SHAPES = [(3, 5), (1, 16), (17, 1), (0, 4), (4, 0)]
RANKS = [(), (16,), (2, 3, 7), (2, 1, 3, 7)]


def run(kernel, *inputs):
    out = np.full_like(inputs[0], 7)
    call(kernel, *inputs, out)
    return out


def call(kernel, *arrays):
    kernel(*[x[None] if x.ndim == 1 else x for x in arrays])


def assert_any_size(kernel, inputs, guarded):
    """The first elements of long one-dimensional inputs have the results that they have alone."""
    whole = run(kernel, *inputs)
    for size in SIZES:
        parts = [guarded(x[:size]) for x in inputs]
        out = guarded(np.full(size, 7, whole.dtype))
        call(kernel, *parts, out)
        assert_same_bits(out, whole[:size])
        for x, part in zip(inputs, parts, strict=True):
            assert_same_bits(part, x[:size])


def assert_any_shape(kernel, inputs, shapes=SHAPES):
    whole = run(kernel, *inputs)
    for shape in shapes:
        size = int(np.prod(shape))
        parts = [x[:size].reshape(shape) for x in inputs]
        out = np.full_like(parts[0], 7)
        kernel(*parts, out)
        assert_same_bits(out.reshape(-1), whole[:size])


def assert_in_place(kernel, inputs):
    for size in (1, 16, 37, 70, LONGEST):
        parts = [x[:size] for x in inputs]
        expected = run(kernel, *parts)
        for place in range(len(inputs)):
            same = [x.copy() for x in parts]
            call(kernel, *same, same[place])
            assert_same_bits(same[place], expected)


def assert_any_threads(kernel, inputs):
    before = get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 4):
            set_num_threads(threads)
            results.append(run(kernel, *inputs))
    finally:
        set_num_threads(before)
    for result in results[1:]:
        assert_same_bits(result, results[0])


def assert_fenced(kernel, inputs, fenced):
    """Beside pages that nobody may read: outside means SIGSEGV."""
    for size in (1, 15, 17, 67):
        for before in (False, True):
            parts = [fenced(x[:size], before) for x in inputs]
            out = fenced(np.zeros(size, inputs[0].dtype), before)
            call(kernel, *parts, out)
            assert_same_bits(out, run(kernel, *[x[:size] for x in inputs]))


def assert_elementwise(kernel, inputs, guarded, fenced):
    """All of the above; `kernel(*inputs, out)`, inputs of LONGEST elements that may be `out`."""
    assert_any_size(kernel, inputs, guarded)
    assert_any_shape(kernel, inputs)
    assert_in_place(kernel, inputs)
    assert_any_threads(kernel, inputs)
    assert_fenced(kernel, inputs, fenced)
