"""A person's own modules: no other program has counterparts for them."""

from collections.abc import Container

from jitprop.layers import Graph, Module
from jitprop.layers.node import what
from jitprop.training.plan import own_part


def expect_ours(net: Module, known: Container[type], other: str) -> None:
    """Refuse anything but a network of this package's modules.

    Parameters
    ----------
    net : Module
    known : container of types
        Modules, besides graphs, that have a counterpart.
    other : str
        The program that has the counterparts, for the message.

    Raises
    ------
    TypeError
        `net` is not a module, or holds a person's own module.
    """
    if not isinstance(net, Module):
        raise TypeError(f"net is {what(net)}, expected a module such as Sequential(...)")
    strange = (m for m in net._within() if not isinstance(m, Graph) and type(m) not in known)
    own = own_part(net) or next(strange, None)
    if own is not None:
        kind = f"{type(own).__module__}.{type(own).__qualname__}"
        text = " ".join(repr(own).split())
        raise TypeError(f"{text} ({kind}) is a module of your own, and {other} has none for it")
