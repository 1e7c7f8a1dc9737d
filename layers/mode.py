"""The mode of a network, training or evaluation, for a while: afterwards each part has its own."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jitprop.layers.graph import Graph
from jitprop.layers.module import Module

_LAYERS = __name__.rpartition(".")[0] + "."

# Networks with modules of a person's own run one after another, in the mode that each needs.
one_at_a_time = threading.RLock()
if hasattr(os, "register_at_fork"):  # a child must not find it held by a thread that it has not
    os.register_at_fork(
        before=one_at_a_time.acquire,
        after_in_parent=one_at_a_time.release,
        after_in_child=one_at_a_time.release,
    )


@contextmanager
def in_mode(net: Module, training: bool) -> Iterator[None]:
    """Switch a network, and all within it, to training or to evaluation."""
    with one_at_a_time:
        modes = [(part, part.training) for part in parts(net)]
        net.train(training)
    try:
        yield
    finally:
        with one_at_a_time:
            _restore(modes)


@contextmanager
def undisturbed(net: Module) -> Iterator[None]:
    """Let someone run a network and switch its mode; modes and states are then what they were."""
    modes = [(part, part.training) for part in parts(net)]
    states = [(state.value, state.value.copy()) for state in net.states()]
    try:
        yield
    finally:
        _restore(modes)
        for value, before in states:
            value[...] = before


def _restore(modes: list[tuple[Module, bool]]) -> None:
    for part, mode in modes:  # by their own methods, the outermost first
        if part.training != mode:
            part.train(mode)
    for part, mode in modes:  # what stands in two graphs was switched by both
        if part.training != mode:
            part.training = mode


def parts(net: Module) -> list[Module]:
    """Return a module and all within it, each once, the outermost first."""
    found: dict[int, Module] = {}
    left: list[Any] = [net]
    while left:
        one = left.pop()
        if isinstance(one, (list, tuple)):
            left += one
        elif isinstance(one, dict):
            left += one.values()
        elif _is_module(type(one)) and id(one) not in found:
            found[id(one)] = one
            if isinstance(one, Graph):
                left += one.modules
                left += (step.module for step in one.steps)
            elif not type(one).__module__.startswith(_LAYERS):  # a person's own may hold others
                left += vars(one).values()
    return list(found.values())


_KNOWN: dict[type, bool] = {}


def _is_module(kind: type) -> bool:
    """Whether objects of a class are modules: to ask an abstract class for each takes long."""
    if kind not in _KNOWN:
        _KNOWN[kind] = issubclass(kind, Module)
    return _KNOWN[kind]
