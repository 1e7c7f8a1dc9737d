"""What the kernels should compute: plain NumPy in float64, from the formulas; and how to judge.

Nothing here knows the kernels. Elementwise results are judged in units in the last place, sums by
an absolute bound made of eps and the sum of magnitudes: ulps say nothing where terms cancel.
"""

from fractions import Fraction

import numpy as np


def eps(dtype) -> float:
    return float(np.finfo(dtype).eps)


def pixel_values(dtype):
    """What each byte of an image stands for."""
    return np.arange(256, dtype=dtype) / dtype(255)


# --- Judging ------------------------------------------------------------------------------------


def errors(result, expected, unit):
    """`|result - expected| / unit` for each element: 0 where both are NaN or one infinity.

    `unit` broadcasts against the arrays. NaN against a number, or an infinity against anything
    else, is an infinite error; so is any difference where the unit is 0, and any unit of NaN.
    """
    result = np.asarray(result)
    expected = np.asarray(expected)
    if result.shape != expected.shape:
        raise AssertionError(f"shape {result.shape}, expected {expected.shape}")
    unit = np.broadcast_to(np.asarray(unit, np.float64), result.shape)
    with np.errstate(all="ignore"):
        off = np.abs(result.astype(np.float64) - expected.astype(np.float64))
        ratio = np.where(off == 0, 0.0, off / unit)
        ratio = np.where(np.isnan(unit), np.inf, ratio)
        finite = np.isfinite(result) & np.isfinite(expected)
        same = (np.isnan(result) & np.isnan(expected)) | (result == expected)
    return np.where(finite, ratio, np.where(same, 0.0, np.inf))


def assert_within(result, expected, unit, bound=1.0):
    """Every element of `result` is within `bound * unit` of `expected`."""
    error = errors(result, expected, unit)
    if not np.all(error <= bound):
        worst = np.unravel_index(np.argmax(error), error.shape)
        raise AssertionError(
            f"off by {error[worst]:.3g} units at {tuple(map(int, worst))}, bound {bound:.3g}: "
            f"{np.asarray(result)[worst]!r}, expected {np.asarray(expected)[worst]!r}"
        )


def ulp(expected, dtype):
    """One unit in the last place of `dtype` at each of `expected`, which may be more precise."""
    with np.errstate(all="ignore"):
        size = np.abs(np.asarray(expected)).astype(dtype)
        size = np.minimum(size, np.finfo(dtype).max)
        return np.spacing(size).astype(np.float64)


def assert_ulps(result, expected, bound):
    """Every element is within `bound` units in the last place of the dtype of `result`."""
    result = np.asarray(result)
    assert_within(result, expected, ulp(expected, result.dtype), bound)


def assert_same_bits(result, expected):
    """The same bit patterns; one NaN is as good as another, since CPUs differ in its sign."""
    result, expected = np.asarray(result), np.asarray(expected)
    if result.dtype != expected.dtype:
        raise AssertionError(f"dtype {result.dtype}, expected {expected.dtype}")
    if result.shape != expected.shape:
        raise AssertionError(f"shape {result.shape}, expected {expected.shape}")
    same = (result == expected) & (np.signbit(result) == np.signbit(expected))
    same |= np.isnan(result) & np.isnan(expected)
    if not np.all(same):
        worst = np.unravel_index(np.argmin(same), same.shape)
        raise AssertionError(
            f"{np.count_nonzero(~same)} of {same.size} differ, first at "
            f"{tuple(map(int, worst))}: {result[worst]!r}, expected {expected[worst]!r}"
        )


# --- Multiply-adds ------------------------------------------------------------------------------


def fma32(x, y, z):
    """`x * y + z` of float32 arrays, rounded once to float32.

    The product is exact in float64 (24 + 24 bits). Their sum is rounded to odd in float64 (if it
    was inexact, the last bit is set), after which the second rounding, to 24 bits, is the right one
    (Boldo and Melquiond, 2008).
    """
    with np.errstate(all="ignore"):
        product = np.asarray(x, np.float64) * np.asarray(y, np.float64)
        other = np.broadcast_to(np.asarray(z, np.float64), product.shape)
        total = product + other
        back = total - product  # Knuth's two-sum: what the addition lost
        lost = (product - (total - back)) + (other - back)
        even = total.view(np.int64) & 1 == 0
        inexact = np.isfinite(lost) & (lost != 0) & even
        outwards = np.where((lost > 0) == (total > 0), np.inf, 0.0)
        odd = np.where(inexact, np.nextafter(total, np.copysign(outwards, total)), total)
        return odd.astype(np.float32)


def fma64(x, y, z):
    """`x * y + z` of float64 arrays, rounded once: in fractions, for a few finite elements."""

    def one(x, y, z):
        return float(Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)))

    return np.vectorize(one, otypes=[np.float64])(x, y, z)


def chain(a, b):
    """`a @ b`, every element one chain of multiply-adds from +0 on, k = 0, 1, 2, ..."""
    fma = fma32 if a.dtype == np.float32 else fma64
    out = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for k in range(a.shape[1]):
        out = fma(a[:, k : k + 1], b[k : k + 1, :], out)
    return out


# --- Kernels ------------------------------------------------------------------------------------


def matmul(a, b):
    with np.errstate(all="ignore"):
        return a.astype(np.float64) @ b.astype(np.float64)


def assert_matmul(result, a, b, bound):
    """`|result - a @ b| <= bound * eps * (|a| @ |b|)`, element by element."""
    assert_within(result, matmul(a, b), eps(result.dtype) * matmul(np.abs(a), np.abs(b)), bound)


def tanh_bprop(y, dy):
    y, dy = y.astype(np.float64), dy.astype(np.float64)
    return dy * (1 - y * y)


def sigmoid(x):
    """In longdouble where there is one: float64 is judged by it."""
    x = x.astype(np.longdouble)
    with np.errstate(all="ignore"):
        e = np.exp(-np.abs(x))
        return np.where(x < 0, e, 1) / (1 + e)


def softmax(x):
    with np.errstate(all="ignore"):
        x = x.astype(np.float64)
        e = np.exp(x - x.max(axis=1, keepdims=True, initial=-np.inf))
        return e / e.sum(axis=1, keepdims=True)


def softmax_bprop(y, dy):
    y, dy = y.astype(np.float64), dy.astype(np.float64)
    return y * (dy - (dy * y).sum(axis=1, keepdims=True))


def one_hot(labels, n):
    """Targets that say the same as labels."""
    targets = np.zeros((len(labels), n))
    targets[np.arange(len(labels)), labels] = 1
    return targets


def weighted(weight, value):
    """`weight * value`, where no weight makes nothing of any value, infinities among them."""
    with np.errstate(all="ignore"):
        return np.where(weight == 0, 0.0, weight * value)


def cross_entropy(p, targets):
    """The loss of each row."""
    with np.errstate(all="ignore"):
        log = np.log(p.astype(np.float64))
    return weighted(targets.astype(np.float64), -log).sum(axis=1)


def cross_entropy_bprop(p, targets, scale):
    targets = targets.astype(np.float64)
    with np.errstate(all="ignore"):
        return np.where(targets == 0, 0.0, -targets / p.astype(np.float64)) * scale


def log_sum_exp(x):
    """Of each row, as a column."""
    with np.errstate(all="ignore"):
        x = x.astype(np.float64)
        largest = x.max(axis=1, keepdims=True)
        return np.log(np.exp(x - largest).sum(axis=1, keepdims=True)) + largest


def softmax_cross_entropy(logits, targets):
    """The loss of each row."""
    with np.errstate(all="ignore"):
        gap = log_sum_exp(logits) - logits.astype(np.float64)
    return weighted(targets.astype(np.float64), gap).sum(axis=1)


def softmax_cross_entropy_bprop(logits, targets, scale):
    targets = targets.astype(np.float64)
    return (softmax(logits) * targets.sum(axis=1, keepdims=True) - targets) * scale


def log_softmax(x):
    with np.errstate(all="ignore"):
        return x.astype(np.float64) - log_sum_exp(x)


def log_softmax_bprop(y, dy):
    y, dy = y.astype(np.float64), dy.astype(np.float64)
    return dy - np.exp(y) * dy.sum(axis=1, keepdims=True)


def mean_squared_error(z, t):
    """The loss of each row."""
    return ((z.astype(np.float64) - t.astype(np.float64)) ** 2).mean(axis=1)


def mean_squared_error_bprop(z, t, scale):
    return (z.astype(np.float64) - t.astype(np.float64)) * 2 / z.shape[1] * scale


def sigmoid_cross_entropy(z, t):
    """The loss of each row; in longdouble where there is one."""
    z, t = z.astype(np.longdouble), t.astype(np.longdouble)
    with np.errstate(all="ignore"):
        return (np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z)))).sum(axis=1)


def sigmoid_cross_entropy_bprop(z, t, scale):
    """sigmoid(z) - t, as p (1 - t) - (1 - p) t: in the place of 1 - p stands sigmoid(-z)."""
    t = t.astype(np.longdouble)
    return (sigmoid(z) * (1 - t) - sigmoid(-z) * t) * scale


def poisson_loss(z, t):
    """The loss of each row; in longdouble where there is one."""
    z, t = z.astype(np.longdouble), t.astype(np.longdouble)
    with np.errstate(all="ignore"):
        log = np.log(t)
        return (np.exp(z) - t * z + (weighted(t, log) - t)).mean(axis=1)


def poisson_loss_bprop(z, t, scale):
    z, t = z.astype(np.longdouble), t.astype(np.longdouble)
    with np.errstate(all="ignore"):
        return (np.exp(z) - t) / z.shape[1] * scale


def weigh(x, weights):
    """Each row times its weight; a row of weight 0 is nothing, whatever it holds."""
    x, weights = x.astype(np.float64), weights.astype(np.float64)
    weights = weights.reshape(-1, *[1] * (x.ndim - 1))
    return np.where(weights == 0, 0, np.where(weights == 0, 0, x) * weights)


def weighted_mean(losses, weights):
    """Of the losses of rows, and what it is of their gradients: the factor of each row."""
    weights = weights.astype(np.float64)
    return (weights * losses.astype(np.float64)).sum() / weights.sum(), weights / weights.sum()


def sgd(w, gradients, rates, momentum=0.0, nesterov=False, weight_decay=0.0):
    """The weights after each step; PyTorch's SGD as its documentation has it.

    Momentum is Sutskever et al., "On the importance of initialization and momentum", 2013, with
    the rate taken out of the velocity.
    """
    velocity = np.zeros_like(w)
    for gradient, rate in zip(gradients, rates, strict=True):
        g = gradient + weight_decay * w
        velocity = momentum * velocity + g
        w = w - rate * (g + momentum * velocity if nesterov else velocity)
        yield w


def average(w, mean, keep):
    """Some of the old mean, the rest of the new weights."""
    return keep * mean.astype(np.float64) + (1 - keep) * w.astype(np.float64)


def max_norm(w, most):
    """Each column as it is, or of the length `most` where it is longer."""
    norms = np.sqrt((w.astype(np.float64) ** 2).sum(axis=0))
    return w * np.where(norms > most, most / np.maximum(norms, most), 1.0)


def adam(w, gradients, rates, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    """The weights after each step: Kingma and Ba, "Adam", 2015, algorithm 1.

    Weight decay is that of Loshchilov and Hutter, "Decoupled weight decay regularization", 2019,
    algorithm 2: line 6, or, decoupled, line 12, where the rate is the product of both.
    """
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        g = gradient if decoupled else gradient + weight_decay * w
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        step = (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
        w = w - rate * step - (rate * weight_decay * w if decoupled else 0)
        yield w


def philox(counter, key, rounds=10):
    """Philox4x32 of four words and two, in Python's integers (Salmon et al., 2011)."""
    word = 0xFFFFFFFF
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(rounds):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & word, (p0 >> 32) ^ c3 ^ k1, p0 & word
        k0, k1 = (k0 + 0x9E3779B9) & word, (k1 + 0xBB67AE85) & word
    return c0, c1, c2, c3


def dropout_bits(size, seed, step):
    """The 32 random bits of each element: 16 counters give 64 elements, first words first."""
    words = []
    word = 0xFFFFFFFF
    key = seed & word, (seed >> 32) & word
    for first in range(0, size, 64):
        four = [
            philox((c & word, c >> 32, step & word, (step >> 32) & word), key)
            for c in range(first // 4, first // 4 + 16)
        ]
        words += [words_of_one[i] for i in range(4) for words_of_one in four]
    return np.array(words[:size], np.int64)


def normals(size, seed, step):
    """The normal number of each element: two words give the ones of two elements, 16 apart."""
    words = dropout_bits(-(-size // 64) * 64, seed, step).reshape(-1, 2, 2, 16)
    u, t = ((words[:, :, place] % 2**24 + 1) / 2**24 for place in (0, 1))
    right = np.where(words[:, :, 1] >> 31, -1, 1)
    up = np.where(words[:, :, 1] >> 30 & 1, -1, 1)
    radius, sine = np.sqrt(-2 * np.log(u)), lambda part: np.sin(np.pi / 2 * part)
    both = radius * sine(1 - t) * right, radius * sine(t) * up
    return np.stack(both, axis=2).reshape(-1)[:size]


def levels(size, place, seed, epoch):
    """An image's field, from -15/16 to 15/16: 16 counters give 256 bytes, those 512 numbers.

    The lowest byte of each word comes first; of 16 bytes, first the lower halves, then the upper.

    The image has 2^24 counters of its own, and leaves the first 16 to its affine map.
    """
    word = 0xFFFFFFFF
    count = -(-size // 512)
    blocks = np.uint64(place * 2**24) + np.arange(16, 16 * (count + 1)).astype(np.uint64)
    words = philox(
        (blocks & word, blocks >> 32, epoch & word, (epoch >> 32) & word),
        (seed & word, (seed >> 32) & word),
        7,
    )
    parts = [[one.reshape(count, 16) >> (8 * k) & 255 for one in words] for k in range(4)]
    drawn = np.array(parts).transpose(2, 0, 1, 3).reshape(-1, 1, 16)
    halves = np.concatenate([drawn & 15, drawn >> 4], axis=1)
    return (halves.reshape(-1)[:size] - 7.5) / 8


def gaussian(sigma):
    """Weights from -round(2.5 sigma) to round(2.5 sigma), whose sum is 1."""
    reach = int(np.floor(2.5 * sigma + 0.5))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2)
    return weights / weights.sum()


def displacements(height, width, place, seed, epoch, sigma):
    """The smoothed field: (2, height, width), down and right, for alpha 1."""
    weights = gaussian(sigma)
    side = width + len(weights) - 1
    wide = -(-2 * side // 32) * 32  # a row of both fields, side by side, in whole pairs of vectors
    rows = height + len(weights) - 1
    drawn = levels(rows * wide, place, seed, epoch).reshape(rows, wide)
    fields = np.stack([drawn[:, :side], drawn[:, side : 2 * side]])
    for axis in (1, 2):
        windows = np.lib.stride_tricks.sliding_window_view(fields, len(weights), axis)
        fields = windows @ weights
    return fields


def affine_map(place, seed, epoch, rotate, shear, scale, shift):
    """An image's matrix, scale * shear * rotation, and its shift; down first."""
    word = 0xFFFFFFFF
    key = seed & word, (seed >> 32) & word
    counters = (place * 2**24 + i for i in range(6))
    drawn = [
        philox((c & word, c >> 32, epoch & word, (epoch >> 32) & word), key, 7)[0] / 2**31 - 1
        for c in counters
    ]
    angle, slant = rotate * drawn[0], shear * drawn[1]
    turned = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    slanted = np.array([[1, 0], [np.tan(slant), 1]]) @ turned
    scaled = np.diag([1 + scale * drawn[2], 1 + scale * drawn[3]]) @ slanted
    return scaled, shift * np.array(drawn[4:])


def read_between(image, y, x):
    """The image at places between its pixels, 0 outside."""
    height, width = image.shape
    padded = np.zeros((height + 3, width + 3))
    padded[1:-2, 1:-2] = image
    y, x = np.clip(y + 1, 0, height + 1), np.clip(x + 1, 0, width + 1)
    i, j = np.floor(y).astype(int), np.floor(x).astype(int)
    y, x = y - i, x - j
    above = (1 - x) * padded[i, j] + x * padded[i, j + 1]
    below = (1 - x) * padded[i + 1, j] + x * padded[i + 1, j + 1]
    return (1 - y) * above + y * below


def distort(images, index, key, alpha, sigma, rotate=0, shear=0, scale=0, shift=0):
    """`images[index]` distorted, not rounded."""
    seed, epoch, width = map(int, key)
    out = np.zeros((len(index), images.shape[1]))
    for row, place in enumerate(map(int, index)):
        image = images[place].reshape(-1, width)
        centre = (np.array(image.shape).reshape(2, 1, 1) - 1) / 2
        matrix, moved = affine_map(place, seed, epoch, rotate, shear, scale, shift)
        offsets = np.indices(image.shape) - centre
        at = centre + np.einsum("ab,bij->aij", matrix, offsets) + moved.reshape(2, 1, 1)
        at += alpha * displacements(*image.shape, place, seed, epoch, sigma)
        out[row] = read_between(image, *at).reshape(-1)
    return out
