"""The work on each batch, recorded once and then run without Python.

`fprop`, the loss, `bprop` and the optimiser call kernels, and these calls depend only on shapes.
So the first batch of each size is recorded on a tape (`Tape`), from the gathering of its examples
to the update of the weights. Compiled code replays the tape for all later batches. A person's own
module may run any Python, but a tape records only kernels. With such a module, Python runs every
batch; the results are the same to the bit.
"""

from abc import ABC
from collections.abc import Generator, Iterator
from time import perf_counter
from typing import Any

import numpy as np

from jitprop import kernels
from jitprop.kernels.compiler.apart import apart
from jitprop.kernels.fused import fused
from jitprop.kernels.runtime.kernel import Kernel
from jitprop.layers import Graph, Loss, Module, Weighted
from jitprop.layers.mode import in_mode, one_at_a_time
from jitprop.layers.node import what
from jitprop.training.batches import Batches
from jitprop.training.examples import Array, of_layers
from jitprop.training.optimisers import Optimiser

CHUNK = 0.05  # seconds of replay; after each, Python may do other things, such as answer Ctrl-C
TRIAL = 1.0  # seconds after which the slower way is tried again
SHARE = 10  # such a trial has a tenth of the batches of a chunk
ALONE = 1_500_000  # below so many multiply-adds of a batch forwards, one thread is mostly faster


class Pace:
    """Measures a batch on all threads and on one, and chooses the faster; the bits are equal.

    Small batches are faster on one thread: to move data between two cores takes longer than to
    compute with them. Which batches are small depends on the machine, and at times on its other
    work. Until both ways are measured, batches below ALONE count as small. Batches that take a
    tenth of a chunk are not small. If all batches together take less than a chunk, there is nothing
    to choose.
    """

    def __init__(self, small: bool) -> None:
        self._small = small
        self._seconds: dict[bool, float] = {}
        self._compiled = False  # whether the first chunk, which compiles, is over
        self._left = CHUNK  # seconds until a trial of the other way

    @property
    def alone(self) -> bool:
        """Whether one thread is faster, as far as known."""
        if len(self._seconds) < 2:
            return self._small
        return min(self._seconds, key=self._seconds.__getitem__)

    def choose(self) -> tuple[bool, int]:
        """Return whether the next chunk runs on one thread alone, and how many batches it has."""
        times = max(1, int(CHUNK / min(self._seconds.values(), default=1.0)))
        if times < SHARE or kernels.get_num_threads() == 1 or self._left > 0:
            return self.alone, times
        return not self.alone, times // SHARE

    def note(self, alone: bool, seconds: float, times: int) -> None:
        """Note the seconds that the batches of the chosen chunk took."""
        if not self._compiled:
            self._compiled = True
            return
        self._left = self._left - seconds if alone == self.alone else TRIAL
        self._seconds[alone] = seconds / times


class Plan:
    """Runs a network over batches: trains it, or without an optimiser only evaluates it.

    Parameters
    ----------
    net : Module
    loss : Loss
    batches : Batches
    optimiser : Optimiser or None
    passes : int
        How many passes over all examples may run in one go; above 1, no batch may be shorter.

    Attributes
    ----------
    size : int
        Examples in a batch; the last one may be shorter.
    history : (passes * batches, 2) float64
        For each batch the sum of its losses (each times its weight, if there are weights) and its
        errors.
    done : int
        Batches of this pass so far.
    diverged : bool
        Whether, in training, the loss of the last batch was not finite; then no step was taken.
    own : Module, Loss or None
        The first module or loss from outside the package `layers`. Because of it, Python runs
        batches one by one. None if there is none.
    """

    def __init__(
        self,
        net: Module,
        loss: Loss,
        batches: Batches,
        optimiser: Optimiser | None = None,
        passes: int = 1,
    ) -> None:
        self.net, self.loss, self.batches, self.optimiser = net, loss, batches, optimiser
        self._loss = loss if batches.weights is None else Weighted(loss)
        self.size = batches.size
        self.own = own_part(net) or own_part(loss)
        self.history = np.zeros((passes * -(-len(batches) // self.size), 2))
        self._order = np.zeros(passes * len(batches), np.int64)
        self._index = np.zeros(self.size, np.int64)
        self._state = np.zeros(3, np.int64)  # first example and number of the next batch, stop
        self._tapes: dict[int, kernels.Tape] = {}
        self._pace = Pace(net.multiply_adds(*batches.widths) * self.size < ALONE)

    @property
    def done(self) -> int:
        return int(self._state[1])

    @property
    def last_loss(self) -> float:
        """Mean loss of the last batch."""
        last = self._order[(self.done - 1) * self.size : self.done * self.size]
        return float(self.history[self.done - 1, 0]) / self.batches.weight(last)

    @property
    def diverged(self) -> bool:
        return self.optimiser is not None and bool(self._state[2])

    def rewind(self, done: int = 0) -> None:
        """Go to the place after the first `done` batches of a pass."""
        self._state[:] = done * self.size, done, 0

    def run(self, order: Array, done: int = 0) -> Generator[None]:
        """Run all batches of `order` except the first `done`; stop if the loss diverges.

        The network is in training, or in evaluation, until the end. A caller that stops early has
        to close the iterator.

        Parameters
        ----------
        order : (n,) int64
            A permutation of the examples, or several in a row, at most `passes`.
        done : int
            Batches to leave out.

        Yields
        ------
        None
            Several times a second, between two batches; the attribute `done` says how many are
            done.
        """
        rows = self.batches.rows
        self._order[: len(order)] = order if rows is None else rows[order]
        self.rewind(done)
        with in_mode(self.net, self.optimiser is not None):
            whole, rest = divmod(len(order), self.size)
            while self.done < whole and not self.diverged:
                alone, times = self._pace.choose()
                times = min(times, whole - self.done)
                start = perf_counter()
                self._repeat(self.size, times, alone)
                self._pace.note(alone, perf_counter() - start, times)
                yield
            if self.done == whole and rest and not self.diverged:
                self._repeat(rest, 1, self._pace.alone)
                yield

    def _repeat(self, size: int, times: int, alone: bool) -> None:
        if self.own is not None:
            for _ in range(times):
                with one_at_a_time:  # others may ask the network meanwhile
                    self._step(size)
                if self.diverged:
                    return
            return
        if size not in self._tapes:
            self._tapes[size] = apart(self._record, size)  # without the kernels of a handler
        self._tapes[size].run(times, alone)

    def _record(self, size: int) -> kernels.Tape:
        with kernels.Tape(self._state[2:] if self.optimiser else None) as tape:
            self._step(size)
        return fused(tape)

    def _step(self, size: int) -> None:
        index = self._index[:size]
        kernels.next_index(self._order, self._state[:1], index)
        x, t = self.batches.take(index)
        z = self.net.fprop(*x)
        misses = self.batches.misses(z, t)
        losses = _losses(self._loss, z, t).astype(misses.dtype, copy=False)
        kernels.tally(losses, misses, self._state[1:], self.history)
        if self.optimiser is None or self.diverged:
            return
        dz = self._loss.bprop(self._scale(size))
        self.net.bprop(*(dz if isinstance(dz, tuple) else (dz,)), need_dx=False)
        self.optimiser.update()

    def _scale(self, size: int) -> Any:
        """Return the factor from the gradient of a sum to that of the mean, for `size` examples."""
        share = self.batches.share
        if share is None:
            return 1 / size
        return share.reshape(()) if self.own is None else float(share[0])


def _losses(loss: Loss, z: Any, t: Any) -> Array:
    """The loss of each row; or of all rows in one number, if a person's loss gives only that."""
    if type(loss).rows is Loss.rows:
        value = loss.fprop(z, t)
        if np.ndim(value) or not isinstance(value, int | float | np.number | np.ndarray):
            raise TypeError(f"{loss!r}: what fprop returned is {what(value)}, expected a number")
        return np.array([value])
    return loss.rows(z, t)


def own_part(whole: Module | Loss) -> Module | Loss | None:
    """Return the first module or loss within `whole` that is not from the package `layers`."""
    return next((part for part in _parts(whole) if not _is_built_in(part)), None)


def _parts(part: Module | Loss) -> Iterator[Module | Loss]:
    """Yield a module or a loss, and all within it."""
    if isinstance(part, Loss):
        yield from part._within()
        return
    yield part
    for inner in part.modules if isinstance(part, Graph) else ():
        yield from _parts(inner)


def _is_built_in(part: Module | Loss) -> bool:
    """Whether all its work is in the package `layers`, and so in kernels.

    A subclass may add methods. But a tape cannot know what a property does, or a method that
    replaces an inherited one, unless it is a kernel.
    """
    inherited: set[str] = set()
    own = [*vars(part).items()]
    for kind in type(part).__mro__:
        if of_layers(kind):
            inherited.update(vars(kind), vars(kind).get("__annotations__", ()))
        elif kind not in (ABC, object):
            own += vars(kind).items()
    for name, value in own:
        computes = callable(value) or isinstance(value, staticmethod | classmethod)
        replaces = name in inherited and computes and not isinstance(value, Kernel)
        if (replaces or isinstance(value, property)) and not name.startswith("__"):
            return False
    return True
