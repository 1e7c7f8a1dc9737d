"""Examples, gathered batch by batch into memory that is allocated once."""

from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import kernels
from jitprop.layers import Graph, Linear, Loss, Module
from jitprop.layers.node import what
from jitprop.layers.sparse import CompressedRows, SparseImages
from jitprop.training.distorting import Distorted, width_of
from jitprop.training.distortion import Distortion
from jitprop.training.examples import (
    Array,
    Rows,
    dtype_of,
    inputs,
    row_weights,
    targets,
    wrong_labels,
)

INPUTS = ("auto", "dense", "sparse")
# Up to this density, skipping zeros pays. Measured on Zen 4 with 784x200 weights, the sparse
# products take 0.36 of the time of the dense ones for MNIST (density 0.19), and 0.6 for similar
# images of density 0.44; with only AVX2, 0.52 and 0.78. If pixels do not depend on their
# neighbours, it is 0.89 at 0.5; with AVX2, 0.96 at 0.35, and 1 at 0.4.
SPARSE_DENSITY = 0.35
# The same for a sparse matrix, whose numbers do not depend on their neighbours. With AVX-512 both
# products take 0.35 of the time of the dense ones at 0.05, 0.6 at 0.1, and 1.1 to 1.3 at 0.2.
COMPRESSED_DENSITY = 0.15


class Batches:
    """Examples, one a row, for a network to run on.

    Parameters
    ----------
    net : Module
        The network; its parameters' dtype is that of the batches.
    x : array, or tuple of arrays for a network of several inputs
        (n, ...) uint8 images, which are divided by 255 when they are gathered; or (n, features),
        (n, ...) of other numbers, as they are; or a sparse matrix with `tocsr`, like those of
        SciPy: it holds numbers, whatever its dtype. An array that already has the network's dtype
        is not copied: do not change it.
    t : array, or tuple of arrays for several outputs
        (n,) class labels, (n, classes) one-hot targets, or (n, features) numbers: see `targets` in
        `jitprop.training.examples`. Errors are counted on the first output.
    size : int or None
        Examples in a batch; None, or more than there are, means all.
    input : str
        "sparse" leaves out the zeros of images and of sparse matrices if the first layer can; the
        bits stay the same. "auto" does so if it is faster, "dense" never does.
    loss : Loss or None
        The loss that takes the targets.
    pixels : bool or None
        Whether bytes are pixels; None: as `net.pixels` says.
    of : str
        The name of the set, for messages: "", "validation: ".
    warn : bool
        Whether to say so if inputs are so large that a network hardly learns from them.
    weights : (n,) of any numbers, at least 0, or None
        Those of the examples; an example with weight 0 counts as absent.

    Attributes
    ----------
    size : int
        Examples in a batch.
    widths : list of int
        Features of each input.
    targets : int or None
        How many targets `take` returns in a tuple; None if it returns one array.
    counts : bool
        Whether there are classes, so that errors can be counted.
    density : float or None
        If the network gets only pixels that are not zero, or only what a sparse matrix stores,
        their share; else None.
    weights : source of arrays, or None
        The weights in use: all are divided by one power of two, which changes no mean.
    share : (1,) float64, or None
        1 / the sum of the weights of the last `take`; None without weights.
    rows : (examples,) int64, or None
        The places of the examples in `x`; None if none is absent.

    Raises
    ------
    ValueError
        Arrays do not fit together, or not to the network; they hold NaN, infinity, or labels that
        are not a class; or `input` is not possible.
    TypeError
        An array does not hold numbers, or `net` is not a module.
    """

    def __init__(
        self,
        net: Module,
        x: Rows,
        t: Rows,
        size: int | None,
        input: str = "auto",
        loss: Loss | None = None,
        pixels: bool | None = None,
        of: str = "",
        warn: bool = False,
        weights: npt.ArrayLike | None = None,
    ) -> None:
        if input not in INPUTS:
            raise ValueError(f"input is {input!r}, expected one of {', '.join(INPUTS)}")
        if not isinstance(net, Module):
            raise TypeError(f"net is {what(net)}, expected a module such as Sequential(...)")
        xs = inputs(net, x, pixels, of, warn)
        if len(xs[0]) == 0:
            raise ValueError(f"{of}x holds no example")
        ts = targets(net, loss, t, xs, of)
        self.targets = len(t) if isinstance(t, tuple) else None
        self._length = len(xs[0])
        dtype = dtype_of(net)
        self.rows: Array | None = None
        if weights is not None:
            where = f"{of}weights" if of else "sample_weight"
            weights = row_weights(where, weights, self._length, dtype)
            if not weights.all():
                self.rows = np.flatnonzero(weights)
                self._length = len(self.rows)
        self.size = min(size or self._length, self._length)
        self.widths = [array.shape[1] for array in xs]
        self.density: float | None = None
        self._x: list[Any] = []
        for place, array in enumerate(xs):
            density = sparse_density(net, array, input, place)
            compressed = isinstance(array, CompressedRows)
            if density is None:
                numbers = _Compressed if compressed else _Source
                kind = _Images if array.dtype == np.uint8 else numbers
                self._x.append(kind(array, dtype, self.size))
            else:
                self._x.append(array if compressed else SparseImages(array, dtype))
                self.density = density
        if input == "sparse" and self.density is None:
            raise ValueError(
                "input is sparse, but neither images nor a sparse matrix go into Linear alone"
            )
        self._t = [
            _Labels(values, np.int64, self.size)
            if values is classes
            else _Source(values, dtype, self.size)
            for values, classes in ts
        ]
        self.weights: _Source | None = None
        self.share: Array | None = None
        if weights is not None:
            self.weights = _Source(weights.reshape(-1, 1), dtype, self.size)
            self.share = np.zeros(1)
        # The classes of the first output, if its targets are one-hot.
        values, classes = ts[0]
        self.counts = classes is not None
        self._classes: _Labels | None = None
        if classes is not None and classes is not values:
            self._classes = _Labels(classes, np.int64, self.size)
        self._index: Array = np.zeros(0, np.int64)
        self._misses = np.zeros(self.size, dtype)

    def __len__(self) -> int:
        """Return the number of examples that are not absent."""
        return self._length

    def take(self, index: Array) -> tuple[tuple[Any, ...], Any]:
        """Return the inputs, a tuple, and the targets of the examples `index`, int64 (batch,).

        With weights the targets are a pair, (targets, weights), as `Weighted` takes them. All are
        valid until the next call.
        """
        self._index = index
        targets: Any = tuple(source.take(index) for source in self._t)
        inputs = tuple(source.take(index) for source in self._x)
        if self.targets is None:
            (targets,) = targets
        if self.weights is not None:
            weights = self.weights.take(index).reshape(-1)
            kernels.share(weights, self.share)
            targets = targets, weights
        return inputs, targets

    def weight(self, index: Array | None = None) -> float:
        """Return the sum of the weights of the examples `index`, or of all.

        Without weights, it is their number.
        """
        if self.weights is None:
            return len(self) if index is None else len(index)
        weights = self.weights.array.reshape(-1)
        return float(kernels.total(weights if index is None else weights[index]))

    def distort(self, how: Distortion, x: Rows, rng: np.random.Generator) -> Array:
        """Distort images from now on when batches take them.

        Parameters
        ----------
        how : Distortion
        x : array
            The images as a person gave them; their shape tells their width.
        rng : Generator
            Draws the seed of the distortions.

        Returns
        -------
        (3,) int64
            The seed, the epoch, which the caller writes there, and the width of an image.

        Raises
        ------
        ValueError, TypeError
            `x` is not an array of images.
        """
        if not isinstance(how, Distortion):
            raise TypeError(f"distort is {what(how)}, expected Distortion(...) or None")
        source = self._x[0]
        if len(self._x) > 1 or not isinstance(source, SparseImages | _Images):
            raise ValueError("distort is for one input of images that are bytes, uint8")
        images = source.images if isinstance(source, SparseImages) else source.array
        key = np.array([rng.integers(2**63), 0, width_of(np.asarray(x).shape)])
        self._x[0] = distorted = Distorted(images, how, key, self.size)
        if isinstance(source, SparseImages):
            distorted.source = SparseImages(distorted.batch, source.dtype)
        else:
            distorted.source = _Images(distorted.batch, source.batch.dtype, self.size)
        return key

    def refill(self, x: Array, t: Array) -> None:
        """Replace the examples by others: one input and one output of the same shapes.

        They have the form that `inputs` and `targets` return, and the network knows their classes.
        If the first `x` and `t` were not copied, this overwrites them.
        """
        (source,), (target,) = self._x, self._t
        source.array[...], target.array[...] = x, t

    def wrong_input(self) -> str:
        """Say which example of the last batch is not finite any more; "" if all are.

        `inputs` has checked that all were. But an array that was not copied may have changed since.
        """
        for source in self._x:
            array = source.array if isinstance(source, _Source) else source
            if not isinstance(array, SparseImages) and array.dtype.kind == "f":
                numbers = array.stored if isinstance(array, CompressedRows) else array.__getitem__
                for row in self._index:
                    if not np.isfinite(numbers(row)).all():
                        return f": x is not finite (row {row}), and was when training began"
        return ""

    def misses(self, z: Any, t: Any) -> Array:
        """Return for each row of the last `take` 1 if the network chose a wrong class, else 0.

        `t` is what `take` returned. Without classes, return an empty array.
        """
        if self.weights is not None:
            t = t[0]
        zs, ts = ((z,), (t,)) if self.targets is None else (z, t)
        for output in zs:
            check_output(output, len(ts[0]))
        # A tape does not check labels: those of all outputs must lie inside.
        for source, output in zip(self._t, zs, strict=False):  # the loss refuses another number
            if isinstance(source, _Labels) and source.highest >= output.shape[1]:
                raise ValueError(wrong_labels("t", source.lowest, source.highest, output.shape[1]))
        if not self.counts:
            return self._misses[:0]
        labels = ts[0] if self._classes is None else self._classes.take(self._index)
        out = self._misses[: len(labels)]
        kernels.misses(zs[0], labels, out)
        return out


def sparse_density(net: Module, x: Any, input: str, place: int) -> float | None:
    """Decide whether the network gets only pixels that are not zero, or what a matrix stores.

    If so, return their share, for pixels estimated from a sample; else None. `x` is the network's
    input `place`, as `inputs` returned it; `input` is that of `Batches`.
    """
    compressed = isinstance(x, CompressedRows)
    if input == "dense" or not (compressed or x.dtype == np.uint8) or not into_linear(net, place):
        return None
    if compressed:
        density = x.density()
        return density if density <= COMPRESSED_DENSITY or input == "sparse" else None
    sample = x[:: max(1, len(x) // 1000)]  # enough to tell, in a hundredth of the time
    density = np.count_nonzero(sample) / max(1, sample.size)
    return density if density <= SPARSE_DENSITY or input == "sparse" else None


def check_output(z: Any, rows: int) -> None:
    """Refuse a wrong output, which a person's own module may give.

    Raises
    ------
    TypeError
        It is not an array of numbers.
    ValueError
        It does not have one row for each example.
    """
    if not isinstance(z, np.ndarray) or z.dtype.kind not in "biuf":
        given = f"an array of {z.dtype}" if isinstance(z, np.ndarray) else what(z)
        raise TypeError(
            f"the network's output is {given}, expected an array of numbers, (batch, features)"
        )
    if z.ndim < 2:
        raise ValueError(f"the network's output has shape {z.shape}, expected ({rows}, features)")
    if len(z) != rows:
        raise ValueError(f"the network gave {len(z)} rows for {rows}")


class _Source:
    """An array of examples and memory for a batch of them."""

    def __init__(self, array: Array, dtype: npt.DTypeLike, size: int) -> None:
        self.array = array
        self.batch = kernels.aligned_zeros((size, *array.shape[1:]), dtype)

    def take(self, index: Array) -> Array:
        out = self.batch[: len(index)]
        self.gather(self.array, index, out)
        return out

    gather: Any = staticmethod(kernels.gather_rows)


class _Images(_Source):
    gather = staticmethod(kernels.gather)


class _Compressed(_Source):
    gather = staticmethod(CompressedRows.gather)


class _Labels(_Source):
    gather = staticmethod(kernels.gather_labels)

    def __init__(self, array: Array, dtype: npt.DTypeLike, size: int) -> None:
        super().__init__(array, dtype, size)
        self.lowest, self.highest = int(array.min()), int(array.max())


def into_linear(net: Module, place: int) -> bool:
    """Return whether only Linear modules take input `place`."""
    takers = [net]
    if isinstance(net, Graph):
        takers = [step.module for step in net.steps if place in step.takes]
        if place in net.results:
            return False
    return bool(takers) and all(
        isinstance(module, Linear) and type(module).fprop is Linear.fprop for module in takers
    )
