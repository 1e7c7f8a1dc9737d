"""Gaussian noise: it draws numbers but adds 0 times them, so that results compare. A shape is (n,).

NumPy draws by Ziggurat, from a table of steps; PyTorch draws pairs, as Box and Muller do.
"""

from perf.bench_dropout import FLOPS as OF_PHILOX
from perf.bench_dropout import key
from perf.cases import Case, empty, number, scaled, signed

SIZES = (16_384, 2**24)
# Of Philox; for each of a pair of numbers half a logarithm and a root, one sine, and the sum.
FLOPS = OF_PHILOX + 20 + 20 + 4


def cases():
    for n in SIZES:
        yield Case(
            "gaussian_noise",
            (n,),
            [signed(n), key, number(0.0), empty(n)],
            {
                "jitprop": lambda kernels: kernels.gaussian_noise,
                "numpy": numpy_noise,
                "torch": torch_noise,
            },
            lambda x, key, scale, out: [scaled(x)],
            flops=FLOPS * n,
            floats=2 * n,
        )


def numpy_noise(np):
    rng = np.random.default_rng(1)

    def gaussian_noise(x, key, scale, out):
        rng.standard_normal(dtype=out.dtype, out=out)
        np.multiply(out, scale, out=out)
        np.add(x, out, out=out)

    return gaussian_noise


def torch_noise(torch):
    def gaussian_noise(x, key, scale, out):
        torch.randn(out.shape, dtype=out.dtype, out=out)
        out.mul_(scale).add_(x)

    return gaussian_noise
