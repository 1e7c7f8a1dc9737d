"""A batch of images out of 60,000, as numbers from 0 to 1. A shape is (batch, pixels)."""

from perf.cases import Case, empty, images, indices, scaled

IMAGES, PIXELS = 60_000, 784
BATCHES = (100, 1000)


def cases():
    for batch in BATCHES:
        yield Case(
            "gather",
            (batch, PIXELS),
            [images(IMAGES, PIXELS), indices(batch, IMAGES), empty(batch, PIXELS)],
            {
                "jitprop": lambda kernels: kernels.gather,
                "numpy": lambda np: (
                    lambda x, index, out: np.divide(x[index], out.dtype.type(255), out=out)
                ),
                "torch": lambda torch: (
                    lambda x, index, out: torch.div(x[index].to(out.dtype), 255, out=out)
                ),
                "jax": lambda jax: lambda x, index, out: x[index].astype(out.dtype) / 255,
            },
            lambda x, index, out: [scaled(x[index] / 255)],
            flops=batch * PIXELS,
            floats=batch * PIXELS,
            other_bytes=batch * PIXELS + 8 * batch,
        )
