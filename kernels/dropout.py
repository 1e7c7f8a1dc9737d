"""Dropout: elements of a batch set to zero at random, the others made larger to make up for them.

    out = x * scale where the element's random number keeps it, else 0;  scale = 1 / (1 - p)

The gradient is the same function of the gradient. A random number depends only on the seed, the
step and the place of the element. So any number of threads draws the same ones, for float32 and
float64, and `bprop` draws them again instead of remembering a mask.

Sources: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
2014. Random numbers: Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
2011; its key is the seed, its counter (block of 4 numbers, step).
"""

from jitprop.kernels.compiler.inline import inline
from jitprop.kernels.compiler.simd import LANES, broadcast, load, steps, store, where
from jitprop.kernels.runtime.kernel import GRAIN, kernel, once

BLOCK = 4 * LANES  # numbers that one vector of counters makes
ROUNDS = 10
WORD = 0xFFFFFFFF  # the lower 32 bits
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)


@inline
def philox(block, step, seed, like, rounds):
    """Four vectors of int64 with 32 random bits each, for counters `block .. block+15`.

    Its authors found that 7 rounds pass their tests of randomness; 10 leave a margin. `like` is an
    int64 array. 32-bit words live in 64-bit lanes, so that a product is whole.
    """
    counter = steps(broadcast(0, like)) + block
    c0, c1 = counter & WORD, (counter >> 32) & WORD
    c2, c3 = broadcast(step & WORD, like), broadcast((step >> 32) & WORD, like)
    k0, k1 = seed & WORD, (seed >> 32) & WORD
    for _ in range(rounds):
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1 = ((p1 >> 32) & WORD) ^ c1 ^ k0, p1 & WORD
        c2, c3 = ((p0 >> 32) & WORD) ^ c3 ^ k1, p0 & WORD
        k0, k1 = (k0 + WEYL[0]) & WORD, (k1 + WEYL[1]) & WORD
    return c0, c1, c2, c3


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
def _blocks(x, *args):
    return (x.size + BLOCK - 1) // BLOCK, GRAIN // BLOCK


@inline
def _drop(x, out, i, bits, threshold, scale):
    rest = x.size - i
    if rest >= LANES:
        store(out, i, where(bits < threshold, 0, load(x, i) * scale))
    elif rest > 0:
        store(out, i, where(bits < threshold, 0, load(x, i, rest) * scale), rest)


@kernel("x(...), key:int64(3), scale -> out(...)", units=_blocks, inplace="x")
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
