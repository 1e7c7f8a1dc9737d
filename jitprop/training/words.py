"""A network in words."""

from collections.abc import Iterator

from jitprop.layers import Activation, Graph, Linear, Module, Sequential
from jitprop.layers.at_random import AtRandom


def leaves(module: Module) -> Iterator[Module]:
    """Yield the modules that are not graphs, in the order in which they run."""
    if not isinstance(module, Graph):
        yield module
        return
    for part in module.modules:
        yield from leaves(part)


def network(net: Module) -> str:
    """Return a line: "784-200-10, tanh, 159,010 parameters"."""
    parts = list(leaves(net))
    parameters = sum(parameter.value.size for parameter in net.parameters())
    count = f"{parameters:,} parameter{'s' * (parameters != 1)}"
    linears = [part for part in parts if isinstance(part, Linear)]
    if not linears or not _is_chain(net):
        what = f"{type(net).__name__} of {len(parts)} modules" if len(parts) > 1 else repr(parts[0])
        return f"{' '.join(what.split())}, {count}"
    widths = [linears[0].in_features, *(linear.out_features for linear in linears)]
    others = [type(part).__name__ for part in parts if not isinstance(part, Linear | AtRandom)]
    words = [word if word == "ReLU" else word.lower() for word in dict.fromkeys(others)]
    return ", ".join(["-".join(map(str, widths)), *words, count])


def _is_chain(net: Module) -> bool:
    """Whether it is a chain: Linear layers with functions without parameters between them."""
    if isinstance(net, Sequential):
        return all(map(_is_chain, net.modules))
    return isinstance(net, Linear | Activation | AtRandom)
