"""Asking a network: `predict` once, a `Predictor` again and again.

A twin of the network answers in evaluation. It shares the network's parameters and has its own
buffers. So asking changes nothing in the network, several threads may ask at once, and after more
training the answers come from the new weights. As in training, the kernels are recorded on a tape,
one for each number of rows, and replayed. The answer for a row has the same bits, whatever other
rows there are.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitprop import kernels
from jitprop.kernels.compiler.apart import apart
from jitprop.kernels.compiler.messages import say_once
from jitprop.kernels.fused import fused
from jitprop.layers import (
    CrossEntropy,
    Graph,
    Linear,
    Loss,
    Losses,
    Module,
    Sigmoid,
    SigmoidCrossEntropy,
    Softmax,
    SoftmaxCrossEntropy,
)
from jitprop.layers.at_random import AtRandom
from jitprop.layers.mode import in_mode, one_at_a_time, parts
from jitprop.layers.node import what
from jitprop.layers.sharing import share
from jitprop.layers.sparse import CompressedRows, SparseImages, SparseRows
from jitprop.training.batches import (
    COMPRESSED_DENSITY,
    SPARSE_DENSITY,
    check_output,
    into_linear,
)
from jitprop.training.ensemble import mean, members
from jitprop.training.examples import Array, Rows, all_finite, dtype_of, inputs
from jitprop.training.plan import ALONE, own_part

BATCH = 500  # rows that run together: their activations stay in the cache
FEW = 3  # so many rows are computed together anyway, with zeros or without
LOOKED_AT = 16  # zeros are counted in so many rows
MOST = 32  # tapes that a thread keeps
OF_LOGITS: dict[type, type] = {Softmax: SoftmaxCrossEntropy, Sigmoid: SigmoidCrossEntropy}

Arrays = list[Any]  # one for each input, or output


class Predictor:
    """A function that answers as a network does: `ask = Predictor(net)`, then `ask(x)`.

    Parameters
    ----------
    net : Module
        It answers in evaluation. Its modes, states and buffers stay as they are. Answers follow
        what it learns later, and new arrays and constants in its modules.

    Raises
    ------
    TypeError
        `net` is not a module.
    """

    def __init__(self, net: Module) -> None:
        if not isinstance(net, Module):
            raise TypeError(f"net is {what(net)}, expected a module such as Sequential(...)")
        self.net = net
        self._look()

    def _look(self) -> None:
        """Note the parts of the network; nothing is recorded yet."""
        self._own = own_part(self.net) is not None
        self._watched = _parameters(self.net)
        self._here = threading.local()

    def __call__(self, x: Rows) -> Any:
        """Return the outputs of the network.

        Parameters
        ----------
        x : array, or tuple of arrays for several inputs
            Examples as `fit` takes them, (n, ...), n at least 0. Bytes are pixels or numbers as in
            training. A sparse matrix is read some rows at a time.

        Returns
        -------
        (n, features) array of the network's dtype, or a tuple of them for several outputs
            They are the caller's own.

        Raises
        ------
        ValueError, TypeError
            `x` does not fit, or holds NaN or infinity.
        """
        if self._own:
            with one_at_a_time, in_mode(self.net, False):
                return _in_pieces(inputs(self.net, x), self._own_answer)
        if not (type(x) is np.ndarray and x.dtype.kind in "fu" and x.ndim and 0 < len(x) <= BATCH):
            return self._answer_pieces(x)
        # If the shape and the dtype were seen before, only look for NaN and infinity.
        key = x.shape, x.dtype.char, self.net.pixels, len(x) <= FEW or _mostly_zero(x)
        run = self._here_now().runs.get(key)
        if run is None or not run.is_plain(x):
            (y,) = inputs(self.net, x)
            if y.dtype != x.dtype:
                return self._answer_pieces(y)
            run = self._run(key, [y], x.shape)
        return run.of(x)

    def _answer_pieces(self, x: Rows) -> Any:
        here = self._here_now()
        here.odd = False
        xs = inputs(self.net, x, finite=True)
        # Tapes for compressed rows work on the numbers of these rows, and are not kept.
        runs: Any = OrderedDict() if any(isinstance(x, CompressedRows) for x in xs) else None
        y = _in_pieces(xs, lambda piece: self._answer(piece, runs))
        if here.odd:
            inputs(self.net, x)  # says where; or all are finite, but their sum is not
        return y

    def _answer(self, xs: Arrays, runs: Any) -> Any:
        sparse = tuple(_is_sparse(x) for x in xs)
        shapes = tuple((x.shape, x.dtype.char) for x in xs)
        run = self._run((shapes, sparse), xs, runs=runs)
        y = run(xs)
        self._here_now().odd |= not all(map(all_finite, run.sums))
        return y

    def _own_answer(self, xs: Arrays) -> Any:
        index = np.arange(len(xs[0]))
        values = [_as_numbers(x, index, dtype_of(self.net)) for x in xs]
        values = [v.copy() if v is x else v for v, x in zip(values, xs, strict=True)]
        return self.net.fprop(*values)

    def _here_now(self) -> Any:
        """Return what this thread keeps: the recorded `runs`, their `net`, and `odd`.

        `odd` says whether a sum of the inputs was not finite. All is new, without a net, if a
        parameter or a constant has been replaced.
        """
        for attributes, name, value in self._watched:
            if attributes.get(name) is not value:
                self._look()
                break
        here = self._here
        if not hasattr(here, "runs"):
            here.net, here.runs, here.odd = None, OrderedDict(), False
        return here

    def _run(
        self, key: Any, xs: Arrays, shape: tuple[int, ...] | None = None, runs: Any = None
    ) -> "_Run":
        here = self._here_now()
        runs = here.runs if runs is None else runs
        run = runs.get(key)
        if run is None:
            if here.net is None:
                here.net = twin(self.net)
            run = apart(_Run, here.net, xs, shape)  # without the kernels of a handler
            runs[key] = run
            while len(runs) > MOST:
                runs.popitem(last=False)
        return run

    def __reduce__(self) -> Any:
        """Give a copy, or a pickle, only the network; it records anew."""
        return Predictor, (self.net,)


class _Run:
    """A network on a number of rows, recorded: memory for its inputs, and a tape."""

    def __init__(self, net: Module, xs: Arrays, shape: tuple[int, ...] | None) -> None:
        dtype = dtype_of(net)
        self.given = [_memory(x) for x in xs]
        self.index = index = np.arange(len(xs[0]))
        self.sums: Arrays = []  # of columns: NaN and infinity show in them
        with kernels.Tape() as tape:
            values: list[Any] = []
            for place, (array, x) in enumerate(zip(self.given, xs, strict=True)):
                compressed = isinstance(array, CompressedRows)
                if not (compressed or array.dtype == np.uint8 or shape):
                    self.sums.append(kernels.aligned_zeros(array.shape[1:], dtype))
                    kernels.bias_bprop(array, self.sums[-1])
                if not (_is_sparse(x) and into_linear(net, place)):
                    values.append(_as_numbers(array, index, dtype))
                elif compressed:
                    values.append(array.take(index))
                elif array.dtype == np.uint8:
                    values.append(SparseImages(array, dtype).take(index))
                else:
                    values.append(SparseRows(array))
            y = net.fprop(*values)
        self.several = isinstance(y, tuple)
        self.results = list(y) if self.several else [y]
        self.tape = fused(tape, self.results)
        self.alone = net.multiply_adds(*(x.shape[1] for x in xs)) * len(index) < ALONE
        # For one input: the same memory in the shape that a person gives.
        self.place: Any = self.given[0].reshape(shape) if shape else None

    def is_plain(self, x: Array) -> bool:
        """Whether all numbers are finite."""
        return x.dtype == np.uint8 or all_finite(x)

    def of(self, x: Array) -> Any:
        """Return in new arrays the outputs for `x`, which has the shape of `place`."""
        self.place[...] = x
        self.tape.run(1, self.alone)
        if self.several:
            return tuple(result.copy() for result in self.results)
        return self.results[0].copy()

    def __call__(self, xs: Arrays) -> Any:
        """Return the outputs of the network, valid until the next call."""
        for memory, x in zip(self.given, xs, strict=True):
            if isinstance(x, CompressedRows):
                memory.starts[:], memory.ends[:] = x.starts, x.ends
            elif memory.dtype == np.uint8:
                memory[...] = x
            else:
                kernels.gather_rows(x, self.index, memory)  # a copy by all threads
        self.tape.run(1, self.alone)
        return tuple(self.results) if self.several else self.results[0]


def predict(net: Module, x: Rows) -> Any:
    """Return the outputs of a network for examples, in evaluation: `Predictor(net)(x)`.

    Parameters
    ----------
    net : Module
        It stays as it is.
    x : array, or tuple of arrays for several inputs
        Examples as `fit` takes them, (n, ...), also as sparse matrices.

    Returns
    -------
    (n, features) array of the network's dtype, or a tuple of them for several outputs
        Logits if the network ends in logits; `probabilities` gives probabilities of the classes.

    Raises
    ------
    ValueError, TypeError
        `x` does not fit, or holds NaN or infinity.
    """
    return Predictor(net)(x)


def probabilities(net: Module | Sequence[Module], x: Rows) -> Any:
    """Return the probability of each class; for several networks, the mean of theirs.

    A network that ends in Softmax or Sigmoid gives probabilities itself. The outputs of any other
    network get a softmax. A single output, the logit of the second of two classes, gets a sigmoid.

    Parameters
    ----------
    net : Module, or list or tuple of Modules
        Several networks must have the same inputs and the same classes; all else may differ.
    x : array, or tuple of arrays for several inputs
        As for `predict`, which raises the same errors.

    Returns
    -------
    (n, classes) array of the network's dtype, or a tuple of them for several outputs
        Several networks give the wider of their dtypes.

    Raises
    ------
    ValueError
        There is no network, or several do not go together; or as for `predict`.
    TypeError
        One of them is not a module; or as for `predict`.
    """
    return mean([as_probabilities(one, predict(one, x)) for one in members(net)])


def as_probabilities(net: Module, y: Any) -> Any:
    """Return the outputs `y` of a network, an array or a tuple of them, as probabilities."""
    several = isinstance(y, tuple)
    found = []
    for place, z in enumerate(y if several else (y,)):
        if not _gives_probabilities(net, place, z):
            logits, z = np.ascontiguousarray(z), np.empty_like(z, order="C")
            kernel = kernels.softmax_fprop if z.shape[1] > 1 else kernels.sigmoid_fprop
            kernel(logits, z)
        found.append(z)
    return tuple(found) if several else found[0]


def twin(net: Module) -> Module:
    """Return a network in evaluation that shares another's parameters, but not its buffers."""
    return share([net, net])[0][1].eval()


def _in_pieces(xs: Arrays, answer: Callable[[Arrays], Any]) -> Any:
    """Call `answer` for pieces of the rows; return its results put together in new arrays."""
    rows = len(xs[0])
    if not rows:  # one row tells the width of the output
        y = answer([np.zeros((1, *x.shape[1:]), x.dtype) for x in xs])
        for z in y if isinstance(y, tuple) else (y,):
            check_output(z, 1)
        return tuple(z[:0].copy() for z in y) if isinstance(y, tuple) else y[:0].copy()
    results: Arrays = []
    for start in range(0, rows, BATCH):
        piece = [x[start : start + BATCH] for x in xs]
        y = answer(piece)
        several = isinstance(y, tuple)
        parts_of_y = list(y) if several else [y]
        for z in parts_of_y:
            check_output(z, len(piece[0]))
        if not results:
            results = [np.empty((rows, *z.shape[1:]), z.dtype) for z in parts_of_y]
        for result, z in zip(results, parts_of_y, strict=True):
            result[start : start + len(piece[0])] = z
    return tuple(results) if several else results[0]


def _as_numbers(x: Array, index: Array, dtype: np.dtype[Any]) -> Array:
    """Return the rows `index` as a network takes them: pixels are divided by 255."""
    if not isinstance(x, CompressedRows) and x.dtype != np.uint8:
        return x
    out = kernels.aligned_zeros(x.shape, dtype)
    if isinstance(x, CompressedRows):
        x.gather(index, out)
    else:
        kernels.gather(x, index, out)
    return out


def _memory(x: Any) -> Any:
    """Return memory for so many examples; for compressed rows, only for their starts and ends."""
    if isinstance(x, CompressedRows):
        return CompressedRows(x.data, x.indices, x.starts.copy(), x.ends.copy(), x.shape[1])
    return kernels.aligned_zeros(x.shape, x.dtype)


def _is_sparse(x: Any) -> bool:
    """Whether it pays to leave out zeros."""
    if isinstance(x, CompressedRows):
        return x.density() <= COMPRESSED_DENSITY
    return len(x) <= FEW or _mostly_zero(x)


def _mostly_zero(x: Array) -> bool:
    """Whether so many numbers are zero that it pays to leave them out."""
    sample = x[:: max(1, len(x) // LOOKED_AT)] != 0  # counting in floats is slow
    return bool(np.count_nonzero(sample) <= SPARSE_DENSITY * sample.size)


def _parameters(net: Module) -> list[tuple[dict[str, Any], str, Any]]:
    """Return for each parameter and constant the attributes that hold it, its name and value."""
    arrays = {id(parameter.value) for parameter in net.parameters()}
    return [
        (vars(part), name, value)
        for part in parts(net)
        for name, value in vars(part).items()
        if id(value) in arrays or type(value) is float
    ]


def _gives_probabilities(net: Module, place: int, z: Array) -> bool:
    """Whether an output, `z`, holds probabilities: its module tells this, or its numbers do."""
    module = last_module(net, place)
    if module is not None and own_part(module) is not None:  # only its numbers tell
        return bool((z >= 0).all() and np.allclose(z.sum(axis=1), 1, atol=1e-4))
    return isinstance(module, Softmax | Sigmoid)


def check_endings(net: Module, loss: Loss) -> None:
    """Say so if a network ends in a function that its loss applies again, or in none it needs."""
    losses = [part for part, _ in loss.weighted] if isinstance(loss, Losses) else [loss]
    for place, part in enumerate(losses):
        last = last_module(net, place)
        if isinstance(part, OF_LOGITS.get(type(last), ())):
            say_once(
                f"{part!r} applies {last!r} itself, and the network ends in it, too: "
                f"leave out {last!r}"
            )
        elif isinstance(part, CrossEntropy) and isinstance(last, Linear):
            say_once(
                f"{part!r} takes probabilities, and the network ends in {last!r}: add Softmax(), "
                "or take SoftmaxCrossEntropy() in its place"
            )


def last_module(net: Module, place: int = 0) -> Module | None:
    """Return the module that gives an output, without a Dropout or noise that follows it.

    None for an output that is an input.
    """
    module = net
    while isinstance(module, Graph):
        value = module.results[place]
        step = next((step for step in module.steps if value in step.gives), None)
        while step is not None and isinstance(step.module, AtRandom):
            value = step.takes[0]
            step = next((step for step in module.steps if value in step.gives), None)
        if step is None:
            return None
        module, place = step.module, step.gives.index(value)
    return module
