"""The order in which the modules of a graph run: each after those that it depends on."""

from collections.abc import Sequence

from jitprop.layers.node import Call, Input, Node, what


def as_nodes(name: str, given: Node | Sequence[Node]) -> list[Node]:
    """Return the nodes given to a graph as a list, after a check of each."""
    nodes = [given] if isinstance(given, Node) else given
    if not isinstance(nodes, (list, tuple)) or not nodes:
        raise TypeError(f"Graph: {name} is {given!r}, expected a node or a list of nodes")
    seen: set[Node] = set()
    for at, node in enumerate(nodes):
        if not isinstance(node, Node):
            raise TypeError(f"Graph: {name}[{at}] is {what(node)}, expected a node")
        if name == "inputs" and not isinstance(node, Input):
            raise TypeError(f"Graph: inputs[{at}] is the output of {node!r}, expected an Input")
        if name == "inputs" and node in seen:
            raise ValueError(f"Graph: inputs[{nodes.index(node)}] and [{at}] are one {node!r}")
        seen.add(node)
    return list(nodes)


def in_order(inputs: list[Node], outputs: list[Node]) -> list[Call]:
    """Return all calls that the outputs depend on, each after those that it depends on."""
    order: list[Call] = []
    known = set(inputs)
    unused = known.difference(outputs)
    done: set[Call] = set()
    begun: set[Call] = set()
    last = Call(_Outputs(), tuple(outputs), ())
    stack = [(last, iter(last.inputs))]
    while stack:
        current, rest = stack[-1]
        for node in rest:
            made = node.call
            if made is None:
                if node not in known:
                    raise ValueError(
                        f"Graph: {current.module!r} takes {node!r}, which is not among the inputs "
                        f"{inputs}: a node of another graph?"
                    )
                unused.discard(node)
            elif made in begun:
                raise ValueError(
                    f"Graph: a cycle: {current.module!r} takes the output of {made.module!r}, "
                    f"which depends on {current.module!r}"
                )
            elif made not in done:
                begun.add(made)
                stack.append((made, iter(made.inputs)))
                break
        else:
            stack.pop()
            begun.discard(current)
            done.add(current)
            order.append(current)
    for node in unused:
        raise ValueError(
            f"Graph: inputs[{inputs.index(node)}], {node!r}, is never used: the outputs {outputs} "
            "do not depend on it"
        )
    return order[:-1]


class _Outputs:
    """Stands in messages for what takes the outputs of a graph."""

    def __repr__(self) -> str:
        return "the output"
