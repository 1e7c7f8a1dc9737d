"""Multiplication by a number: in the cache, and far beyond every cache. A shape is (n,)."""

from perf.cases import Case, empty, number, scaled, signed

SIZES = (16_384, 2**24)


def cases():
    for n in SIZES:
        yield Case(
            "scale",
            (n,),
            [signed(n), number(0.1), empty(n)],
            {
                "jitprop": lambda kernels: kernels.scale,
                "numpy": lambda np: lambda x, factor, out: np.multiply(x, factor, out=out),
                "torch": lambda torch: lambda x, factor, out: torch.mul(x, factor, out=out),
                "jax": lambda jax: lambda x, factor, out: x * factor,
            },
            lambda x, factor, out: [scaled(x * factor)],
            flops=n,
            floats=2 * n,
        )
