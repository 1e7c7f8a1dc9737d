"""Dropout: elements of a batch set to zero at random, the others made larger to make up for them.

    out = x * scale where the element's random number keeps it, else 0;  scale = 1 / (1 - p)

The gradient is the same function of the gradient. A random number depends only on the seed, the
step and the place of the element. So any number of threads draws the same ones, for float32 and
float64, and `bprop` draws them again instead of remembering a mask.

Sources: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
2014. Random numbers: philox.py.
"""

from jitprop.kernels.compiler.inline import inline
from jitprop.kernels.compiler.simd import LANES, load, store, where
from jitprop.kernels.philox import BLOCK, ROUNDS, blocks, philox
from jitprop.kernels.runtime.kernel import kernel, once


@kernel("state!:int64(2), key!:int64(3)", units=once)
def dropout_step(state, key, start, stop):
    """Begin a new step: `state[1] += 1`, then `key[:2] = state`.

    Parameters
    ----------
    state : (2,) int64, the seed and the number of steps that were begun
    key : (3,) int64, the first two overwritten: what `dropout` takes
    """
    for _ in range(start, stop):
        state[1] += 1
        key[0] = state[0]
        key[1] = state[1]


@inline
def _drop(x, out, i, bits, threshold, scale):
    rest = x.size - i
    if rest >= LANES:
        store(out, i, where(bits < threshold, 0, load(x, i) * scale))
    elif rest > 0:
        store(out, i, where(bits < threshold, 0, load(x, i, rest) * scale), rest)


@kernel("x(...), key:int64(3), scale -> out(...)", units=blocks, inplace="x")
def dropout(x, key, scale, out, start, stop):
    """`out = x * scale`, but 0, whatever x, where 32 random bits are below `key[2]`.

    Parameters
    ----------
    x : (...) float32 or float64, a batch or the gradient of one
    key : (3,) int64: seed, step, and the probability of a zero times 2^32
    scale : number, 1 / (1 - p)
    out : shape and dtype of x, overwritten; may be x
    """
    for block in range(start, stop):
        b0, b1, b2, b3 = philox(block * LANES, key[1], key[0], key, ROUNDS)
        i = block * BLOCK
        _drop(x, out, i, b0, key[2], scale)
        _drop(x, out, i + LANES, b1, key[2], scale)
        _drop(x, out, i + 2 * LANES, b2, key[2], scale)
        _drop(x, out, i + 3 * LANES, b3, key[2], scale)
