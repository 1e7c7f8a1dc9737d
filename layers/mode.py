"""Set the mode of a network, training or evaluation, for a while; then restore each part's own."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jitprop.layers.graph import Graph
from jitprop.layers.module import Module

_LAYERS = __name__.rpartition(".")[0] + "."

# Networks with a person's own modules run one after another, each in the mode that it needs.
one_at_a_time = threading.RLock()
if hasattr(os, "register_at_fork"):  # a child lacks the other threads: none of them may hold it
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
    """Let someone run a network and switch its mode; restore modes and states afterwards."""
    modes = [(part, part.training) for part in parts(net)]
    states = [(state.value, state.value.copy()) for state in net.states()]
    try:
        yield
    finally:
        _restore(modes)
        for value, before in states:
            value[...] = before


def _restore(modes: list[tuple[Module, bool]]) -> None:
    for part, mode in modes:  # by each part's own method, the outermost first
        if part.training != mode:
            part.train(mode)
    for part, mode in modes:  # two graphs may have switched one part
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
    """Whether objects of a class are modules; kept, since it is slow to ask an abstract class."""
    if kind not in _KNOWN:
        _KNOWN[kind] = issubclass(kind, Module)
    return _KNOWN[kind]
