"""Modules of a person's own, for which no other program has a counterpart."""

from collections.abc import Container

from jitprop.layers import Graph, Module
from jitprop.layers.node import what
from jitprop.training.plan import own_part


def expect_ours(net: Module, known: Container[type], other: str) -> None:
    """Refuse what is no network of this package's modules.

    Parameters
    ----------
    net : Module
    known : container of types
        Modules, beside graphs, that have a counterpart.
    other : str
        Where they have one, for the message.

    Raises
    ------
    TypeError
        `net` is no module, or a module is a person's own.
    """
    if not isinstance(net, Module):
        raise TypeError(f"net is {what(net)}, expected a module such as Sequential(...)")
    strange = (m for m in net._within() if not isinstance(m, Graph) and type(m) not in known)
    own = own_part(net) or next(strange, None)
    if own is not None:
        kind = f"{type(own).__module__}.{type(own).__qualname__}"
        text = " ".join(repr(own).split())
        raise TypeError(f"{text} ({kind}) is a module of your own, and {other} has none for it")
