"""Identity: `y = x`, `dx = dy`. It needs no kernel: it returns its argument."""

from jitprop.layers.batch import Array, MaybeNone, as_gradient, as_input, remembered
from jitprop.layers.module import Module


class Identity(Module):
    """Returns (batch, features) as it is: an empty network, or a placeholder for a module."""

    _of_a_run = ("_last_x",)

    def __init__(self) -> None:
        self._last_x: Array | None = None

    def fprop(self, x: Array) -> Array:
        """Return `x` itself."""
        self._last_x = as_input(self, "x", x)
        return self._last_x

    def bprop(self, dy: Array, need_dx: bool = True) -> Array | MaybeNone:
        """Return `dy` itself, unless not needed."""
        x = remembered(self, self._last_x)
        dy = as_gradient(self, dy, x.shape, x.dtype)
        return dy if need_dx else None

    def out_width(self, *in_features: int) -> int:
        """Return the width of `x`."""
        (features,) = in_features
        return features
