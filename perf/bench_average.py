"""One more step of the mean of weights over steps. A shape is that of the weights."""

from perf.cases import Case, number, signed

SHAPES = ((784, 200), (2500, 2000))
KEEP = 0.9


def cases():
    for shape in SHAPES:
        size = shape[0] * shape[1]
        yield Case(
            "average",
            shape,
            [signed(*shape), signed(*shape), number(KEEP)],
            {
                "jitprop": lambda kernels: kernels.average,
                "numpy": lambda np: (
                    lambda w, mean, keep: np.add(keep * mean, (1 - keep) * w, out=mean)
                ),
                "torch": lambda torch: lambda w, mean, keep: mean.lerp_(w, 1 - keep),
                "jax": lambda jax: lambda w, mean, keep: mean + (1 - keep) * (w - mean),
            },
            lambda w, mean, keep: [(keep * mean + (1 - keep) * w, abs(mean) + abs(w))],
            flops=3 * size,
            floats=3 * size,
            outputs=(1,),
        )
