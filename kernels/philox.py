"""Philox: random numbers that are a function of a seed, a step and a place.

    (group, step) --ROUNDS times--> 128 random bits    with the seed as key

So any number of threads draws the same ones, in any order.

Source: Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011; its key
is the seed, its counter (which group of 4 numbers, step).
"""

from jitprop.kernels.compiler.inline import inline
from jitprop.kernels.compiler.simd import LANES, broadcast, steps
from jitprop.kernels.runtime.kernel import GRAIN

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


@inline
def blocks(x, *args):
    """Units are BLOCK elements: one call of `philox` has numbers for them."""
    return (x.size + BLOCK - 1) // BLOCK, GRAIN // BLOCK
