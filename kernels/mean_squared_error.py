"""Mean squared error of each row.

    loss = sum over rows of (sum over j of (z[j] - t[j])^2) / n
    dz   = (z - t) * 2 / n * scale

Source: PyTorch's MSELoss; with scale 1 / batch the gradient is its gradient.
"""

from jitprop.kernels.compiler.simd import LANES, broadcast, fma, lanes_sum, load, stack_array, store
from jitprop.kernels.runtime.kernel import kernel, rows


@kernel("z(batch,n), t(batch,n) -> losses(batch)", units=rows)
def mean_squared_error_fprop(z, t, losses, start, stop):
    """`losses = mean((z - t)^2)`, row by row.

    Parameters
    ----------
    z, t : (batch, n) float32 or float64
    losses : (batch,) of the dtype of z, overwritten
    """
    n = z.shape[1]
    sums = stack_array(LANES, z)
    for block in range(start, stop, LANES):
        count = min(LANES, stop - block)
        for i in range(block, block + count):
            total = broadcast(0, z)
            for j in range(0, n, LANES):
                gap = load(z, i * n + j, n - j) - load(t, i * n + j, n - j)
                total = fma(gap, gap, total)
            sums[i - block] = lanes_sum(total)
        store(losses, block, load(sums, 0, count) / n, count)


@kernel("z(batch,n), t(batch,n), scale -> out(batch,n)", units=rows, inplace="z t")
def mean_squared_error_bprop(z, t, scale, out, start, stop):
    """`out = (z - t) * (scale * 2 / n)`, the gradient of the sum of `losses`, times `scale`.

    Parameters
    ----------
    z, t : (batch, n) float32 or float64
    scale : number, 1 / batch for the gradient of the mean over the batch
    out : (batch, n), overwritten; may be z or t
    """
    n = z.shape[1]
    factor = broadcast(scale, z) * 2 / n
    first, last = start * n, stop * n
    whole = last - (last - first) % LANES
    for i in range(first, whole, LANES):
        store(out, i, (load(z, i) - load(t, i)) * factor)
    rest = last - whole
    store(out, whole, (load(z, whole, rest) - load(t, whole, rest)) * factor, rest)
