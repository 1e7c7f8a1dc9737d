"""The training loop of slide 12, batch by batch, with the results of every epoch."""

import inspect
import logging
import math
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, replace
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop.layers import Loss, Module
from jitprop.layers.batch import as_generator
from jitprop.layers.mode import undisturbed
from jitprop.layers.node import what
from jitprop.training import schedules
from jitprop.training.asking import check_endings
from jitprop.training.average import keeps
from jitprop.training.batches import Batches
from jitprop.training.distortion import Distortion
from jitprop.training.epoch import Epoch
from jitprop.training.evaluation import BATCH, evaluate_plan, summary
from jitprop.training.examples import Array, Rows, check_loss
from jitprop.training.optimisers import optimiser
from jitprop.training.plan import Plan
from jitprop.training.progress import Progress, Silence, shown
from jitprop.training.settings import Settings, settings_of, switch
from jitprop.training.text import printable

Examples = tuple[Rows, Rows]
Weights = npt.ArrayLike | None
Evaluated = Examples | tuple[Rows, Rows, Weights]


class DivergedError(ArithmeticError):
    """The loss is not finite any more; the message says since which epoch and batch."""


class Training:
    """A run of `fit` that can stop, be saved and go on.

    Parameters
    ----------
    net, loss : Module, Loss
        The network, trained in place, and the criterion.
    x, t : arrays
        The images and labels of `fit`.
    settings : Settings
        `fit` takes its fields one by one.
    rng : Generator, int or None
    validation, test : tuple of arrays or None
    sample_weight : (n,) of numbers or None
    input : str
    pixels : bool or None
    distort : Distortion or None
    on_epoch, on_batch : callable or None
        As for `fit`.

    Attributes
    ----------
    net, loss, settings : Module, Loss, Settings
        As given.
    history : list of Epoch
        One for each epoch that is complete.
    epoch : int
        The one in progress or, between two epochs, the next; from 1.

    Raises
    ------
    ValueError, TypeError
        Arguments make no sense, or do not fit together.
    """

    def __init__(
        self,
        net: Module,
        loss: Loss,
        x: Rows,
        t: Rows,
        settings: Settings,
        *,
        rng: np.random.Generator | int | None = None,
        validation: Evaluated | None = None,
        test: Evaluated | None = None,
        sample_weight: Weights = None,
        input: str = "auto",
        pixels: bool | None = None,
        distort: Distortion | None = None,
        on_epoch: Callable[[Epoch], None] | None = None,
        on_batch: Callable[[int, int, float], None] | None = None,
    ) -> None:
        check_loss(loss)
        if not isinstance(settings, Settings):
            raise TypeError(f"settings are {what(settings)}, expected Settings(epochs=10, ...)")
        if pixels is not None:
            pixels = switch("pixels", pixels)
        for name, call in (("on_epoch", on_epoch), ("on_batch", on_batch)):
            if call is not None and not callable(call):
                raise TypeError(f"{name} is {what(call)}, expected a function or None")
        self.net, self.loss, self.settings = net, loss, settings
        self.history: list[Epoch] = []
        self.epoch = 1
        sets = {"validation": validation, "test": test}
        for name, examples in sets.items():
            if examples is not None and (
                not isinstance(examples, tuple | list) or len(examples) not in (2, 3)
            ):
                raise TypeError(
                    f"{name} must be a pair (x, t), examples and their targets, or (x, t, weights)"
                )
        if settings.early_stopping and validation is None:
            raise ValueError("early stopping needs validation=(x, t)")
        self._on_epoch, self._on_batch = on_epoch, on_batch
        self._progress: Progress | None = None
        self._silence = Silence()
        self._rng = as_generator("fit", rng)
        size = settings.batch_size
        batches = Batches(net, x, t, size, input, loss, pixels, warn=True, weights=sample_weight)
        check_endings(net, loss)
        # Drawn only where it is needed, so that other trainings keep their numbers.
        self._key = None if distort is None else batches.distort(distort, x, self._rng)
        self._optimiser = optimiser(net, settings)
        self._plan = Plan(net, loss, batches, self._optimiser)
        self._evaluations: dict[str, Plan] = {}
        for name, examples in sets.items():
            if examples is not None:
                xs, ts, *weights = examples
                given_weights = weights[0] if weights else None
                others = Batches(
                    net, xs, ts, BATCH, input, loss, pixels, f"{name}: ", weights=given_weights
                )
                if others.widths != batches.widths:
                    given, wanted = (" and ".join(map(str, b.widths)) for b in (others, batches))
                    raise ValueError(f"{name}: x has {given} features, the training set {wanted}")
                self._evaluations[name] = Plan(net, loss, others)
        if pixels is not None:
            net.pixels = pixels
        self._best_weights = (
            {f"best.{p.name}": p.value.copy() for p in net.parameters()}
            if settings.early_stopping
            else {}
        )
        # For the epoch in progress: the state of the generator before it drew the order.
        self._order: Array | None = None
        self._before_order: Any = None
        self._seconds = 0.0

    def __reduce__(self) -> Any:
        """Refuse to be copied: compiled code works on the arrays of this training."""
        raise TypeError(
            "a Training cannot be copied or pickled, it holds its images: "
            "jitprop.save(path, net, training) keeps it, jitprop.resume(path, training) goes on"
        )

    @property
    def density(self) -> float | None:
        """Share of inputs that are not zero, 0 to 1, if the network gets only these; else None."""
        return self._plan.batches.density

    @property
    def batch(self) -> int:
        """How many batches of `epoch` are done."""
        return 0 if self._order is None else self._plan.done

    def run(self, verbose: bool = False) -> list[Epoch]:
        """Train from the present state until all is done; return the history.

        Parameters
        ----------
        verbose : bool
            Whether to show the same as `train.py`: the training in words, a table of epochs, a bar.
            Else the logger `jitprop` says so if kernels take more than a second to compile.

        Raises
        ------
        DivergedError
            The loss became NaN or infinite; that step was not taken.
        """
        if self._plan.own is not None:
            what = f"{self._plan.own!r} is not of the package layers"
            logging.getLogger("jitprop").warning(
                printable(f"{what}: training runs layer by layer, not compiled")
            )
        if verbose:
            plans = {"train": self._plan, **self._evaluations}
            counts = {name: len(plan.batches) for name, plan in plans.items()}
            with shown(self, counts, self._plan.batches.counts) as progress:
                self._progress = progress
                try:
                    return self._run()
                finally:
                    self._progress = None
        with self._silence:
            return self._run()

    def _run(self) -> list[Epoch]:
        while not self.done:
            self._run_epoch()
        if self.best is not None:
            for parameter in self.net.parameters():
                parameter.value[...] = self._best_weights[f"best.{parameter.name}"]
        return self.history

    @property
    def best(self) -> Epoch | None:
        """The epoch with the fewest validation errors; among equal ones, that with the least loss.

        None without early stopping, and before the first epoch is complete.
        """
        if not self.settings.early_stopping:
            return None
        return min(
            self.history, key=lambda e: (e.validation_errors or 0, e.validation_loss), default=None
        )

    @property
    def done(self) -> bool:
        """Whether nothing is left to do: all epochs are done, or early stopping has ended them."""
        best = self.best
        stopped = best is not None and self.epoch - 1 - best.epoch >= self.settings.patience
        return stopped or self.epoch > self.settings.epochs

    def _run_epoch(self) -> None:
        plan, epoch, done = self._plan, self.epoch, self.batch
        batches = len(plan.history)
        rates = schedules.rates(self.settings, epoch, batches)
        self._optimiser.prepare(rates, (epoch - 1) * batches, done)
        average = self._optimiser.average
        if average:
            average.begin(keeps(self.settings, epoch, batches), done)
        order = self._draw_order() if self._order is None else self._order
        if self._key is not None:
            self._key[1] = epoch
        start = perf_counter()
        try:
            with closing(plan.run(order, done)) as chunks:
                for _ in chunks:
                    if plan.diverged:
                        place = f"in epoch {epoch}, batch {plan.done}"
                        why = plan.batches.wrong_input() or self.loss.hint(plan.last_loss)
                        raise DivergedError(f"the loss became {plan.last_loss} {place}{why}")
                    self._silence.end()
                    if self._progress:
                        self._progress.batch(epoch, plan.done, plan.last_loss)
                    self._tell(self._on_batch, epoch, plan.done, plan.last_loss)
        finally:
            self._seconds += perf_counter() - start
            if average:
                average.end()
        found = summary(plan)
        result = Epoch(epoch, found.loss, found.errors, self._seconds)
        for name, evaluation in self._evaluations.items():
            found = evaluate_plan(evaluation)
            if math.isnan(found.loss):
                raise DivergedError(f"the loss became nan at the end of epoch {epoch}")
            values: dict[str, Any] = {f"{name}_loss": found.loss, f"{name}_errors": found.errors}
            result = replace(result, **values)
        self.history.append(result)
        if self.best is result:
            for parameter in self.net.parameters():
                self._best_weights[f"best.{parameter.name}"][...] = parameter.value
        self.epoch, self._order, self._seconds = epoch + 1, None, 0.0
        if self._progress:
            self._progress.epoch(result)
        self._tell(self._on_epoch, result)

    def _tell(self, callback: Callable[..., None] | None, *news: Any) -> None:
        """Call a person's function. It may read everything; that changes nothing."""
        if callback:
            with undisturbed(self.net):
                callback(*news)

    def _draw_order(self) -> Array:
        self._before_order = self._rng.bit_generator.state
        order = self._order = self._rng.permutation(len(self._plan.batches))
        self._plan.rewind()
        return order

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that a checkpoint needs besides parameters and states of `net`.

        They are not copies: training goes on with them.
        """
        kept = {f"optimiser.{name}": array for name, array in self._optimiser.arrays().items()}
        if self._key is not None:
            kept["distortion"] = self._key
        if self._optimiser.average:
            kept |= self._optimiser.average.arrays()
        return {**kept, **self._best_weights, "epoch.history": self._plan.history}

    def record(self) -> dict[str, Any]:
        """Return the state of the training, for JSON."""
        begun = self._order is not None
        more: dict[str, Any] = {} if self._plan.batches.weights is None else {"weighted": True}
        average = self._optimiser.average
        if average:
            more["average"] = {"begun": average.begun, "inside": average.inside}
        return {
            **more,
            "epoch": self.epoch,
            "batch": self.batch,
            "seconds": self._seconds,
            "history": [asdict(epoch) for epoch in self.history],
            "rng": _as_json(self._before_order if begun else self._rng.bit_generator.state),
        }

    def restore(self, arrays: Mapping[str, Array], record: Mapping[str, Any]) -> None:
        """Take the state of another training with the same arguments.

        It does not restore `net` and its generators of random numbers.

        Parameters
        ----------
        arrays, record : dict
            What the methods with these names returned.

        Raises
        ------
        ValueError
            They come from a training with other arguments; nothing was changed.
        """
        weighted = self._plan.batches.weights is not None
        if record.get("weighted", False) != weighted:
            raise ValueError(
                f"it was trained {'without' if weighted else 'with'} a sample_weight, "
                f"{'with' if weighted else 'without'} one it would go on otherwise"
            )
        own = self.arrays()
        for name in {**own, **arrays}:
            given = f"{arrays[name].dtype} of shape {arrays[name].shape}" if name in arrays else ""
            expected = f"{own[name].dtype} of shape {own[name].shape}" if name in own else ""
            if given != expected:
                raise ValueError(
                    f"{name} is {given or 'missing'}, expected {expected or 'no such array'}"
                )
        epoch, batch = record["epoch"], record["batch"]
        if not (1 <= epoch == len(record["history"]) + 1 and 0 <= batch <= len(self._plan.history)):
            raise ValueError(f"there is no batch {batch} in epoch {epoch} of this training")
        average = self._optimiser.average
        if average:
            stood = record["average"]
            average.begun, average.inside = bool(stood["begun"]), bool(stood["inside"])
        self._rng.bit_generator.state = _from_json(record["rng"])
        for name, array in own.items():
            array[...] = arrays[name]
        self.history[:] = [Epoch(**values) for values in record["history"]]
        self.epoch, self._order, self._seconds = epoch, None, record["seconds"]
        if batch:
            self._draw_order()
            self._plan.rewind(batch)


def fit(
    net: Module,
    loss: Loss,
    images: Rows,
    labels: Rows,
    *,
    input: str = "auto",
    pixels: bool | None = None,
    rng: np.random.Generator | int | None = None,
    validation: Evaluated | None = None,
    test: Evaluated | None = None,
    sample_weight: Weights = None,
    distort: Distortion | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_batch: Callable[[int, int, float], None] | None = None,
    verbose: bool = False,
    **settings: Any,
) -> list[Epoch]:
    """Train `net` by gradient descent on the mean of `loss` over one batch after the other.

    Each call begins anew: momentum, Adam's means and schedules start from nothing. So ten calls
    with one epoch differ from one call with ten. To stop and go on, use `Training`: its `run` goes
    on after an exception of `on_batch`, and `jitprop.save` and `jitprop.resume` keep its state.

    Parameters
    ----------
    net, loss : Module, Loss
        The network, trained in place, and the criterion.
    images : (n, ...) uint8, (n, features) of any numbers, sparse matrix, or tuple of these
        Examples, one a row. The network gets bytes as (batch, pixels), divided by 255, and other
        numbers as they are. Arrays of the network's dtype are not copied. A sparse matrix is one of
        SciPy, of any format; its bytes are numbers, not pixels. It never becomes dense as a whole.
    labels : (n,) or (n, features) of any numbers, or tuple of arrays
        For a loss of classes, such as SoftmaxCrossEntropy, labels 0, 1, 2, ... or one-hot targets.
        For other losses, the targets of the outputs; (n,) if there is only one.
    input : str
        "auto", "dense" or "sparse", see `Batches`; the bits stay the same.
    pixels : bool or None
        Whether bytes are pixels, to be divided by 255. None: they are, unless an earlier `fit` said
        False; for a table, (n, features), a line says so once. `net.pixels` and checkpoints keep
        the choice, and `predict` follows it.
    rng : Generator, int or None
        A Generator, or a seed for one: it draws a permutation of the images for each epoch.
    validation, test : pair (x, t), (x, t, weights) or None
        Examples and targets to evaluate after each epoch.
    sample_weight : (n,) of any numbers, at least 0, or None
        How much each example counts: training minimises the weighted mean of a batch's losses. An
        example with weight 0 counts as absent; weights of 1 give the same bits as None. Reported
        losses are weighted means; errors are counts, one for each example.
    distort : Distortion or None
        How to distort images that are bytes, each epoch in another way. The sets for `validation`
        and `test` stay as they are.
    on_epoch : callable or None
        Called with its `Epoch` after each epoch. It may run the network and switch its mode: the
        training stays the same.
    on_batch : callable or None
        Called several times a second with the epoch, the batch (both from 1) and its mean loss. It
        may do as much as `on_epoch`. An exception in it ends the training between two steps.
    verbose : bool
        Whether to show the same as `train.py`: see `Training.run`.
    **settings
        epochs, batch_size, rate, and all else that `Settings` has. A short last batch is trained,
        too, on the mean over its own images.

    Returns
    -------
    list of Epoch
        The history.

    Raises
    ------
    DivergedError
        The loss became NaN or infinite; that step was not taken.
    ValueError, TypeError
        Arguments make no sense.
    """
    return Training(
        net,
        loss,
        images,
        labels,
        settings_of(settings, _ARGUMENTS),
        rng=rng,
        validation=validation,
        test=test,
        sample_weight=sample_weight,
        distort=distort,
        input=input,
        pixels=pixels,
        on_epoch=on_epoch,
        on_batch=on_batch,
    ).run(verbose)


_ARGUMENTS = [
    name
    for name, parameter in inspect.signature(fit).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
]


def _as_json(state: Any) -> Any:
    """Return the state of a bit generator, with lists in place of arrays."""
    if isinstance(state, dict):
        return {name: _as_json(value) for name, value in state.items()}
    if isinstance(state, np.ndarray):
        return {"uint": state.tolist(), "bits": 8 * state.itemsize}
    return state


def _from_json(state: Any) -> Any:
    if isinstance(state, dict) and "bits" in state:
        return np.array(state["uint"], f"uint{state['bits']}")
    if isinstance(state, dict):
        return {name: _from_json(value) for name, value in state.items()}
    return state
