"""Architectures by name, and the default settings of each."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from operator import index
from typing import Any

ACTIVATIONS = ("tanh", "relu", "sigmoid")

# Widths of the hidden layers; an activation follows each.
ARCHITECTURES: dict[str, tuple[int, ...]] = {
    "linear": (),
    "mlp200": (200,),
    "mlp800": (800,),
    "deep": (2500, 2000, 1500, 1000, 500),
}

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "linear", "cosine", "step")

MOST_EPOCHS = 10**9
LARGEST = 3.4e38  # about as far as float32 goes

# Settings that only have a meaning with certain values of another one.
_FOR = (
    ("momentum", "optimizer", ("sgd",)),
    ("nesterov", "optimizer", ("sgd",)),
    ("betas", "optimizer", ("adam", "adamw")),
    ("eps", "optimizer", ("adam", "adamw")),
    ("step_size", "schedule", ("step",)),
    ("gamma", "schedule", ("step",)),
)


@dataclass(frozen=True)
class Settings:
    """How to train, in the words of PyTorch.

    Attributes
    ----------
    epochs : int
        Passes over the training set, 0 or more; with early stopping, the most.
    batch_size : int or None
        Images a batch: 1 for stochastic learning, None for the whole set (batch learning). A number
        above that of all images means the whole set, too.
    rate : float
        Learning rate; if a schedule changes it, the highest one.
    momentum : float
        For sgd: share of the last step that the next one keeps, from 0 to below 1.
    nesterov : bool
        Whether momentum is Nesterov's.
    optimizer : str
        "sgd", "adam" or "adamw", see `jitprop.training.optimisers`.
    betas : tuple of float
        For adam and adamw: how much a step keeps of the mean of the gradient, and of the mean of
        its square.
    eps : float
        For adam and adamw: added to the root of the mean square.
    weight_decay : float
        How much weights, not biases, are drawn to 0, at least 0. sgd and adam add weight_decay * w
        to the gradient; adamw takes rate * weight_decay * w off the weights.
    max_norm : float
        How long the weights that lead to one unit may be: the root of the sum of their squares.
        After each step, longer ones are pulled back. 0 for any length.
    average : float
        From 1 on: the network ends with the mean of its weights over this many last epochs, or
        parts of one. Below 1: it ends with a mean over all steps, in which each step counts
        `average` times as much as the next. This mean is evaluated and saved. 0: no mean, but the
        weights of the last step.
    schedule : str
        "constant", "linear", "cosine" or "step", see `jitprop.training.schedules`.
    warmup : float
        Epochs, or a part of one, in which the rate rises to that of the schedule.
    step_size, gamma : int, float
        For the schedule "step": the rate is multiplied by `gamma` every `step_size` epochs.
    early_stopping : bool
        Whether to stop if, for `patience` epochs, validation errors have not become fewer (and, for
        equal errors, the loss not lower), and to end with the weights of the best epoch.
    patience : int
        The number of these epochs, at least 1.

    Raises
    ------
    ValueError
        A number is out of range, or is for another optimizer or schedule than the chosen one.
    TypeError
        A value is of the wrong kind.
    """

    epochs: int
    batch_size: int | None
    rate: float
    momentum: float = 0.0
    nesterov: bool = False
    optimizer: str = "sgd"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    max_norm: float = 0.0
    average: float = 0.0
    schedule: str = "constant"
    warmup: float = 0.0
    step_size: int = 5
    gamma: float = 0.1
    early_stopping: bool = False
    patience: int = 5

    def __post_init__(self) -> None:
        for name, convert in _KINDS.items():  # NumPy's numbers become Python's, as JSON has them
            object.__setattr__(self, name, convert(name, getattr(self, name)))
        if not 0 <= self.epochs <= MOST_EPOCHS:
            given = str(self.epochs) if self.epochs < 10**20 else "a number far above"
            raise ValueError(f"epochs must be 0 or more, at most {MOST_EPOCHS}, not {given}")
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"the batch size must be at least 1, not {self.batch_size}")
        if not (self.rate > 0 and math.isfinite(self.rate)):
            raise ValueError(f"the learning rate must be above 0 and finite, not {self.rate}")
        self._check_optimizer()
        self._check_schedule()
        if not 0 <= self.average <= MOST_EPOCHS:
            raise ValueError(f"average must be from 0 to {MOST_EPOCHS}, not {self.average}")
        if self.average >= 1 and self.early_stopping:
            raise ValueError(
                f"average {self.average:g} is over the last epochs, but with early stopping nobody "
                "knows which these are; below 1 it is over all steps"
            )
        if self.patience < 1:
            raise ValueError(f"patience must be at least 1, not {self.patience}")
        if self.patience != Settings.patience and not self.early_stopping:
            raise ValueError(f"patience is for early stopping, which is off; it is {self.patience}")
        for name, choice, values in _FOR:
            chosen = getattr(self, choice)
            if getattr(self, name) != getattr(Settings, name) and chosen not in values:
                what = f"{_words(name)} is for the {choice} {' and '.join(values)}"
                raise ValueError(f"{what}, not for {chosen}")
        if self.nesterov and not self.momentum:
            raise ValueError(f"nesterov needs a momentum above 0, not {self.momentum}")

    def in_words(self, images: int) -> list[str]:
        """Return the settings that are on, in words, for a set of so many images."""
        size = min(self.batch_size or images, images)
        words = [f"epochs {self.epochs}", f"batch size {size}", f"learning rate {self.rate:g}"]
        if self.optimizer == "sgd":
            words.append(f"{'Nesterov ' * self.nesterov}momentum {self.momentum:g}")
        else:
            words.append(self.optimizer)
        if self.schedule != "constant":
            words.append(f"{self.schedule} schedule")
        if self.early_stopping:
            words.append(f"early stopping with patience {self.patience}")
        words += [f"warm-up {self.warmup:g}"] if self.warmup else []
        words += [f"weight decay {self.weight_decay:g}"] if self.weight_decay else []
        words += [f"max norm {self.max_norm:g}"] if self.max_norm else []
        words += [f"average {self.average:g}"] if self.average else []
        return words

    def _check_optimizer(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            expected = ", ".join(OPTIMIZERS)
            raise ValueError(f"the optimizer must be one of {expected}, not {self.optimizer!r}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, not {self.momentum}")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be two numbers from 0 to below 1, not {self.betas}")
        if not (self.eps > 0 and math.isfinite(self.eps)):
            raise ValueError(f"eps must be above 0 and finite, not {self.eps}")
        if not (self.weight_decay >= 0 and math.isfinite(self.weight_decay)):
            raise ValueError(f"weight decay must be 0 or more and finite, not {self.weight_decay}")
        if not (self.max_norm >= 0 and math.isfinite(self.max_norm)):
            raise ValueError(f"max norm must be 0 or more and finite, not {self.max_norm}")

    def _check_schedule(self) -> None:
        if self.schedule not in SCHEDULES:
            expected = ", ".join(SCHEDULES)
            raise ValueError(f"the schedule must be one of {expected}, not {self.schedule!r}")
        if not 0 <= self.warmup <= self.epochs:
            raise ValueError(
                f"warmup must be from 0 to all {self.epochs} epochs, not {self.warmup}"
            )
        if self.step_size < 1:
            raise ValueError(f"the step size must be at least 1 epoch, not {self.step_size}")
        if not 0 < self.gamma <= 1:
            raise ValueError(f"gamma must be above 0 and at most 1, not {self.gamma}")


# The names of settings, and of arguments of `fit`, in other libraries.
_ELSEWHERE = {
    **dict.fromkeys(("lr", "learning_rate", "learning_rate_init", "eta", "alpha"), "rate"),
    **dict.fromkeys(("n_epochs", "num_epochs", "nb_epoch", "max_iter", "max_epochs"), "epochs"),
    **dict.fromkeys(("batch", "batchsize", "bs", "minibatch_size"), "batch_size"),
    **dict.fromkeys(("solver", "optim", "optimiser"), "optimizer"),
    **dict.fromkeys(("wd", "l2", "decay", "weight_regularization"), "weight_decay"),
    **dict.fromkeys(("lr_schedule", "scheduler", "lr_scheduler"), "schedule"),
    **dict.fromkeys(("beta", "beta_1", "beta_2", "beta1", "beta2"), "betas"),
    **dict.fromkeys(("max_col_norm", "maxnorm", "max_weight_norm", "renorm"), "max_norm"),
    **dict.fromkeys(("swa", "ema", "polyak", "averaging", "ema_decay"), "average"),
    **dict.fromkeys(("warmup_epochs", "warm_up"), "warmup"),
    **dict.fromkeys(("n_iter_no_change",), "patience"),
    **dict.fromkeys(("epsilon",), "eps"),
    **dict.fromkeys(("nesterovs_momentum",), "nesterov"),
    **dict.fromkeys(("seed", "random_state", "generator"), "rng"),
    **dict.fromkeys(("sample_weights", "weights", "weight"), "sample_weight"),
    **dict.fromkeys(("validation_data", "val", "eval_set", "x_val"), "validation"),
    **dict.fromkeys(("callback", "callbacks", "on_epoch_end"), "on_epoch"),
}
_NEEDED = {"epochs": "epochs=10", "batch_size": "batch_size=100", "rate": "rate=0.1"}


def settings_of(given: dict[str, Any], arguments: Iterable[str]) -> Settings:
    """Return the settings that a call names.

    Parameters
    ----------
    given : dict
        Settings by their names.
    arguments : iterable of str
        The other arguments of the call.

    Raises
    ------
    TypeError
        A setting does not exist, or one is missing; the message names the right one.
    ValueError, TypeError
        A value makes no sense.
    """
    names = [field.name for field in fields(Settings)]
    for name in given:
        if name not in names:
            from difflib import get_close_matches  # late: every command reads settings as it begins

            near = get_close_matches(name, [*names, *arguments], n=1, cutoff=0.7)
            meant = _ELSEWHERE.get(name.lower()) or (near[0] if near else None)
            hint = f" you may mean {meant};" if meant else ""
            raise TypeError(
                f"there is no setting {name};{hint} settings are {', '.join(names)}; "
                f"beside them there are {', '.join(arguments)}"
            )
    missing = [example for name, example in _NEEDED.items() if name not in given]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise TypeError(
            f"{' and '.join(m.partition('=')[0] for m in missing)} {verb} missing, "
            f"such as {', '.join(missing)}"
        )
    return Settings(**given)


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{_words(name)} must be an integer, not {value!r}")
    return index(value)


def a_number(name: str, value: Any) -> float:
    """Return a value as a finite float; refuse any other."""
    if isinstance(value, str | bytes | bool) or not hasattr(value, "__float__"):
        raise TypeError(f"{_words(name)} must be a number, not {value!r}")
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):  # 10**400; an array
        raise ValueError(f"{_words(name)} must be a finite number, not {value!r:.40}") from None
    if LARGEST < abs(number) < math.inf:
        raise ValueError(f"{_words(name)} must be finite in float32, not {number}")
    return number


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    if isinstance(values, str | bytes) or not hasattr(values, "__iter__"):
        raise TypeError(f"{_words(name)} must be two numbers, not {values!r}")
    return tuple(a_number(name, value) for value in values)


def switch(name: str, value: Any) -> bool:
    if type(value).__name__ not in ("bool", "bool_"):  # NumPy's, which need not be loaded
        raise TypeError(f"{_words(name)} must be True or False, not {value!r}")
    return bool(value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"the {_words(name)} must be a text, not {value!r}")
    return str(value)


_KINDS: dict[str, Callable[[str, Any], Any]] = {
    "epochs": _integer,
    "batch_size": lambda name, value: None if value is None else _integer(name, value),
    "rate": a_number,
    "momentum": a_number,
    "nesterov": switch,
    "optimizer": _text,
    "betas": _numbers,
    "eps": a_number,
    "weight_decay": a_number,
    "max_norm": a_number,
    "average": a_number,
    "schedule": _text,
    "warmup": a_number,
    "step_size": _integer,
    "gamma": a_number,
    "early_stopping": switch,
    "patience": _integer,
}


def _words(name: str) -> str:
    return name.replace("_", " ")


# Chosen on the last 10,000 training images, held out, by `python -m perf.figures --sweep linear`.
# The ranges of slide 14 are 0.01 to 0.1 for the rate and 100 to 1000 for the batch.
DEFAULTS: dict[str, Settings] = {
    "linear": Settings(epochs=20, batch_size=100, rate=0.1, momentum=0.9, schedule="linear"),
    "mlp200": Settings(epochs=10, batch_size=100, rate=0.1, momentum=0.9),
    "mlp800": Settings(epochs=10, batch_size=100, rate=0.1, momentum=0.9),
    "deep": Settings(epochs=10, batch_size=100, rate=0.02, momentum=0.9),
}

# Arguments of train.py, chosen on the same images. "best" gives the fewest errors of mlp200,
# "speedrun" gives fewer than 250 of 10,000 in little time. The names of the others tell their mean
# errors, see RECORDS.md.
_DISTORTED = "--activation relu --batch-size 200 --schedule linear --warmup 1 --weight-decay 2e-5"
PRESETS: dict[str, str] = {
    "best": "--epochs 40 --lr 0.3 --schedule cosine --weight-decay 1e-4",
    "speedrun": "--epochs 4 --batch-size 250 --lr 0.5 --schedule linear --warmup 0.4",
    "errors100": f"--hidden 800 --epochs 15 --lr 0.2 --distort {_DISTORTED}",
    "errors70": f"--hidden 800 --epochs 60 --lr 0.2 --distort {_DISTORTED}",
    "errors50": f"--hidden 800,400 --epochs 200 --lr 0.15 --distort {_DISTORTED}",
}

# PyTorch's.
_OF_OPTIMIZER: dict[str, dict[str, float]] = {
    "adam": {"rate": 1e-3, "momentum": 0.0},
    "adamw": {"rate": 1e-3, "momentum": 0.0, "weight_decay": 0.01},
}


def settings_for(arch: str, **given: Any) -> Settings:
    """Return the defaults of an architecture, with the given fields of `Settings` instead.

    If an optimizer is given, its own defaults hold.

    Parameters
    ----------
    arch : str
        A key of `DEFAULTS`.
    **given
        Fields of `Settings`.

    Raises
    ------
    KeyError
        There is no such architecture.
    ValueError, TypeError
        As for `Settings`.
    """
    return replace(DEFAULTS[arch], **{**_OF_OPTIMIZER.get(given.get("optimizer", ""), {}), **given})
