"""Each row times its weight: ten columns, and a large batch. A shape is (batch, n)."""

from perf.cases import Case, empty, scaled, signed

SHAPES = ((100, 10), (1000, 2500))


def cases():
    for batch, n in SHAPES:
        yield Case(
            "weigh",
            (batch, n),
            [signed(batch, n), signed(batch), empty(batch, n)],
            {
                "jitprop": lambda kernels: kernels.weigh,
                "numpy": lambda np: lambda x, w, out: np.multiply(x, w[:, None], out=out),
                "torch": lambda torch: lambda x, w, out: torch.mul(x, w[:, None], out=out),
                "jax": lambda jax: lambda x, w, out: x * w[:, None],
            },
            lambda x, w, out: [scaled(x * w[:, None])],
            flops=batch * n,
            floats=2 * batch * n + batch,
        )
