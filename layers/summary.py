"""A graph for people: a table of its modules, and a flowchart in the language of Mermaid."""

from typing import Any

from jitprop.layers.node import Input

Graph = Any  # layers.graph imports this file
LONGEST = 48  # characters of a module in the table; a chain within a graph may have very many
Row = tuple[str, ...]


def table(graph: Graph) -> str:
    """Return a line for each input and module, and the totals.

    Parameters of a module at several places count at its first place. Multiply-adds are those of
    one sample forwards. "?" stands for a width that is not known before the graph has run.
    """
    widths = graph.known_widths()
    names = _names(graph)
    first: dict[int, str] = {}
    rows: list[Row] = [("", "module", "from", "output", "parameters", "multiply-adds")]
    for at, width in enumerate(graph.in_widths):
        rows.append((names[at], repr(Input(width)), "", _shape(widths[at]), "", ""))
    counts, work = [], []
    for step in graph.steps:
        parameters = step.module.parameters()
        counts.append(sum(p.value.size for p in parameters if id(p.value) not in first))
        work.append(step.multiply_adds(widths))
        elsewhere = {first[id(p.value)]: None for p in parameters if id(p.value) in first}
        for p in parameters:
            first.setdefault(id(p.value), step.label)
        shared = f"as {', '.join(elsewhere)}" if elsewhere else ""
        own = f"{counts[-1]:,}" if counts[-1] or not shared else ""
        rows.append(
            (
                step.label,
                _short(repr(step.module)),
                ", ".join(names[value] for value in step.takes),
                ", ".join(_shape(widths[value]) for value in step.gives),
                " + ".join(filter(None, (own, shared))),
                "?" if work[-1] is None else f"{work[-1]:,}",
            )
        )
    total = f"{sum(filter(None, work)):,}{' + ?' if None in work else ''}"
    outputs = ", ".join(names[value] for value in graph.results)
    rows.append(("total", f"{len(graph.steps)} modules", outputs, "", f"{sum(counts):,}", total))
    return _aligned(rows)


def mermaid(graph: Graph) -> str:
    """Return a flowchart: inputs and outputs round, modules square, widths along the arrows."""
    widths = graph.known_widths()
    maker = [f"x{at}" for at in range(len(graph.in_widths))]
    lines = ["flowchart TD"]
    for name, width in zip(maker, graph.in_widths, strict=True):
        lines.append(f'    {name}(["{_quoted(repr(Input(width)))}"])')
    for number, step in enumerate(graph.steps):
        lines.append(f'    m{number}["{_quoted(f"{step.label}: {step.module!r}")}"]')
        maker += [f"m{number}"] * len(step.gives)
    for number, step in enumerate(graph.steps):
        lines += [_arrow(maker[value], f"m{number}", widths[value]) for value in step.takes]
    for at, value in enumerate(graph.results):
        lines.append(f'    y{at}(["{"output" if graph.outputs is None else f"output {at}"}"])')
        lines.append(_arrow(maker[value], f"y{at}", widths[value]))
    return "\n".join(lines) + "\n"


def _names(graph: Graph) -> list[str]:
    """Return the name of each value: that of its step, with its place if there are several."""
    names = ["x" if len(graph.in_widths) == 1 else f"x{at}" for at in range(len(graph.in_widths))]
    for step in graph.steps:
        several = len(step.gives) > 1
        names += [f"{step.label}[{at}]" if several else step.label for at in range(len(step.gives))]
    return names


def _shape(width: int | None) -> str:
    return f"(batch, {'?' if width is None else width})"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _aligned(rows: list[Row]) -> str:
    """Return rows as lines: the last two columns, numbers, to the right; a rule around the body."""
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if at >= len(row) - 2 else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, wide, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _quoted(text: str) -> str:
    """Return text in a form that may stand between quotes in Mermaid."""
    for character, code in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;")):
        text = text.replace(character, code)
    return " ".join(text.replace("`", "#96;").split())


def _arrow(source: str, target: str, width: int | None) -> str:
    return f"    {source} --> {target}" if width is None else f"    {source} -->|{width}| {target}"
