"""The words of a page about a run: the network, the data, its origin, the settings."""

import shlex
from collections.abc import Mapping
from datetime import datetime
from html import escape
from typing import Any

import numpy as np

from jitprop.layers import Module
from jitprop.training.loop import Examples
from jitprop.training.metrics import versions
from jitprop.training.text import printable
from jitprop.training.version import own_version
from jitprop.training.words import network

HEAD = ("data", "date", "command")  # settings at the head of the page
WORDS = {  # for settings, if it is not enough to replace underscores by spaces
    "arch": "architecture",
    "hidden": "hidden layers",
    "validation": "validation images",
    "lr": "learning rate",
    "rate": "learning rate",
    "nesterov": "Nesterov's momentum",
    "eps": "epsilon",
    "warmup": "warm-up, epochs",
    "step_size": "step size, epochs",
    "patience": "patience, epochs",
    "cpu": "processor",
    "weights_sha256": "SHA-256 of the weights",
}
ONLY = {  # settings that count only if another one has one of these values
    "momentum": ("optimizer", ("sgd",)),
    "nesterov": ("optimizer", ("sgd",)),
    "betas": ("optimizer", ("adam", "adamw")),
    "eps": ("optimizer", ("adam", "adamw")),
    "step_size": ("schedule", ("step",)),
    "gamma": ("schedule", ("step",)),
    "patience": ("early_stopping", (True,)),
}
NAMES = {"python": "Python", "numpy": "NumPy"}


def targets(t: Any) -> Any:
    """Return the targets for counting errors, an array: the first of several."""
    return np.asarray(t[0] if isinstance(t, tuple) else t)


def data(settings: Mapping[str, Any], sets: Mapping[str, Examples]) -> str:
    """Return a line: "MNIST: 60,000 train, 10,000 test, 28x28 pixels"."""
    counts = [f"{len(targets(t)):,} {name}" for name, (_, t) in sets.items()]
    x: Any = next(iter(sets.values()))[0]
    if not isinstance(x, tuple) and np.ndim(x) == 3:
        counts.append(f"{'x'.join(map(str, np.shape(x)[1:]))} pixels")
    name = f"{settings['data']}: " if settings.get("data") else ""
    return name + ", ".join(counts)


def head(net: Module, settings: Mapping[str, Any], sets: Mapping[str, Examples]) -> str:
    """Return a table: the network, the data, the date, the versions and the command."""
    used = {"jitprop": own_version(), **versions()}
    rows = {
        "network": escape(network(net)),
        "data": escape(data(settings, sets)),
        "date": escape(str(settings.get("date") or datetime.now().strftime("%Y-%m-%d %H:%M"))),
        "versions": escape(", ".join(f"{NAMES.get(name, name)} {v}" for name, v in used.items())),
    }
    command = settings.get("command")
    if command:
        words = command if isinstance(command, str) else shlex.join(map(str, command))
        rows["command"] = f"<code>{escape(printable(words))}</code>"
    return _table(rows)


def shown(settings: Mapping[str, Any]) -> str:
    """Return the table of the settings that are set and count, in words."""
    rows = {}
    for name, value in settings.items():
        other, values = ONLY.get(name, ("", ()))
        if name in HEAD or value is None or (other in settings and settings[other] not in values):
            continue
        rows[escape(WORDS.get(name, str(name).replace("_", " ")))] = escape(_value(value))
    return _table(rows)


def _value(value: Any) -> str:
    """Return a setting as people write it."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return f"{value:g}" if float(f"{value:g}") == value else str(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(one)}" for name, one in value.items()) or "none"
    return str(value) or "none"


def _table(rows: Mapping[str, str]) -> str:
    lines = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>\n" for name, value in rows.items())
    return f'<div class="box"><table class="settings">\n{lines}</table></div>'


def loss_of(settings: Mapping[str, Any]) -> str:
    """Return the name of the loss: label smoothing changes it."""
    smoothing = settings.get("label_smoothing")
    return f"loss, with label smoothing {_value(smoothing)}" if smoothing else "loss"
