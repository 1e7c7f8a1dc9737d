"""Mean squared error and its gradient. A shape is (batch, features)."""

from perf.cases import Case, empty, number, scaled, signed

SHAPES = ((100, 10), (1000, 784))


def cases():
    for batch, n in SHAPES:
        yield Case(
            "mean_squared_error_fprop",
            (batch, n),
            [signed(batch, n), signed(batch, n), empty(batch)],
            {
                "jitprop": lambda kernels: kernels.mean_squared_error_fprop,
                "numpy": lambda np: lambda z, t, losses: np.square(z - t).mean(1, out=losses),
                "torch": lambda torch: (
                    lambda z, t, losses: torch.mean((z - t).square_(), 1, out=losses)
                ),
                "jax": lambda jax: lambda z, t, losses: ((z - t) ** 2).mean(1),
            },
            lambda z, t, losses: [scaled(((z - t) ** 2).mean(1))],
            flops=3 * batch * n,
            floats=2 * batch * n,
            tolerance=16.0,  # a sum
        )
        yield Case(
            "mean_squared_error_bprop",
            (batch, n),
            [signed(batch, n), signed(batch, n), number(1 / batch), empty(batch, n)],
            {
                "jitprop": lambda kernels: kernels.mean_squared_error_bprop,
                "numpy": numpy_bprop,
                "torch": torch_bprop,
                "jax": lambda jax: lambda z, t, scale, out: (z - t) * (2 * scale / z.shape[1]),
            },
            lambda z, t, scale, out: [scaled((z - t) * (2 * scale / z.shape[1]))],
            flops=2 * batch * n,
            floats=3 * batch * n,
        )


def numpy_bprop(np):
    def bprop(z, t, scale, out):
        np.subtract(z, t, out=out)
        np.multiply(out, 2 * scale / z.shape[1], out=out)

    return bprop


def torch_bprop(torch):
    def bprop(z, t, scale, out):
        torch.sub(z, t, out=out).mul_(2 * scale / z.shape[1])

    return bprop
