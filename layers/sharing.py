"""How modules at several places of a graph share their parameters."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jitprop.layers.batch import Buffer
from jitprop.layers.copies import copied
from jitprop.layers.module import Module, Parameter


@dataclass
class Shared:
    """A parameter that modules at several places share.

    Attributes
    ----------
    holders : list of pairs of int
        The step of each module and the place in its `parameters()`, in the order of the steps. The
        gradient of the parameter lies where the first module has it.
    total : Buffer
        For the sum so far in a backward pass.
    """

    holders: list[tuple[int, int]]
    total: Buffer = field(default_factory=Buffer)


def share(
    modules: Sequence[Module],
) -> tuple[list[Module], list[list[int] | None], list[Shared]]:
    """Return the module at each place, which of its parameters are new, and the shared ones.

    A module gets a twin if any part of it stood at an earlier place. A twin is a copy, except that
    it has the same arrays of parameters and states. The new parameters are None for a module that
    is not a twin.
    """
    twins: list[Module] = []
    news: list[list[int] | None] = []
    seen: set[int] = set()
    first: dict[int, Parameter] = {}
    holders: dict[int, list[tuple[int, int]]] = {}
    for step, module in enumerate(modules):
        within = set(map(id, module._within()))
        parameters = module.parameters()
        new = [place for place, p in enumerate(parameters) if id(p.value) not in first]
        if seen.isdisjoint(within) and len(new) == len(parameters):
            twins.append(module)
            news.append(None)
        else:
            kept = [p.value for p in parameters] + [state.value for state in module.states()]
            memo: dict[int, Any] = {id(array): array for array in kept}
            memo |= {id(p.grad): first.get(id(p.value), p).grad for p in parameters}
            twin = copied(module, memo)
            copies = twin.parameters()
            if any(a.value is not b.value for a, b in zip(copies, parameters, strict=True)):
                raise ValueError(
                    f"Graph: {module!r} cannot stand at two places: parameters() returns arrays "
                    "that are not attributes of the module"
                )
            twins.append(twin)
            news.append(new)
        seen |= within
        for place, p in enumerate(parameters):
            first.setdefault(id(p.value), p)
            holders.setdefault(id(p.value), []).append((step, place))
    return twins, news, [Shared(places) for places in holders.values() if len(places) > 1]
