"""A network drawn from top to bottom as SVG: a box for each module, a line for each value.

The modules stand in ranks, each below all those that it takes from (the layers of Sugiyama et al.
1981). A value that is used further down passes every rank between in its own column. So no line
runs through a box. A module that takes the value branches off from that column.
"""

from collections.abc import Sequence
from html import escape
from itertools import accumulate, pairwise
from typing import NamedTuple

from jitprop.layers import Graph, Input, Module

TITLE, TEXT = 34, 46  # most characters of the two lines in a box
BIG, SMALL = 13, 11  # font sizes
CHARACTER = 0.62  # width of a character of a monospaced font, to its size
HEIGHT, GAP, MARGIN, LINE = 44, 34, 8, 30  # of a box, between ranks, around, width of a bare line
XMLNS = ' xmlns="http://www.w3.org/2000/svg"'  # a file needs it, a web page does not
STYLE = {  # of a box: corner radius, fill
    "value": (HEIGHT / 2, "#ffffff"),
    "learned": (6, "#cfe6f3"),
    "fixed": (6, "#f0f0f0"),
}


class Box(NamedTuple):
    """The contents of a box: an input, a module or an output."""

    style: str
    title: str
    text: str
    takes: tuple[int, ...]
    gives: tuple[int, ...]


def draw_svg(net: Module, inputs: int = 1) -> str:
    """Return the network as the text of an SVG file, for a page with a light background.

    `inputs` says how many inputs it takes; a graph does not need this.
    """
    if not isinstance(net, Graph):
        nodes = [Input() for _ in range(inputs)]
        net = Graph(nodes, net(*nodes))
    boxes = _boxes(net)
    maker = {value: at for at, box in enumerate(boxes) for value in box.gives}
    ranks: list[int] = []
    for box in boxes:
        ranks.append(max((ranks[maker[value]] + 1 for value in box.takes), default=0))
    last = {value: ranks[at] for at, box in enumerate(boxes) for value in box.gives}
    for box, rank in zip(boxes, ranks, strict=True):
        for value in box.takes:
            last[value] = max(last[value], rank)
    columns, passes = _columns(boxes, ranks, maker, last)

    longest = max(
        max(len(box.title) * BIG, len(box.text) * SMALL, 8 * BIG) * CHARACTER for box in boxes
    )
    wide = [LINE] * (1 + max([*columns, *passes.values()]))
    for column in columns:
        wide[column] = round(longest) + 24
    left = list(accumulate(wide, initial=MARGIN))
    middle = [(a + b) / 2 for a, b in pairwise(left)]
    width = left[-1] + MARGIN
    height = 2 * MARGIN + (max(ranks) + 1) * (HEIGHT + GAP) - GAP

    def top(rank: int) -> float:
        return MARGIN + rank * (HEIGHT + GAP)

    def port(at: int, place: int, count: int) -> float:
        step = min(40, (longest - 8) / count)
        return middle[columns[at]] + (place - (count - 1) / 2) * step

    lines, heads = [], []
    for value, at in maker.items():
        x, gives = port(at, boxes[at].gives.index(value), len(boxes[at].gives)), ranks[at]
        for rank in range(gives + 1, last[value] + 1):
            y = top(rank)
            for number, box in enumerate(boxes):
                for place, taken in enumerate(box.takes):
                    if taken == value and ranks[number] == rank:
                        end = port(number, place, len(box.takes))
                        lines.append(_curve(x, y - GAP, end, y - 7))
                        heads.append(f"M{end:g} {y:g}l-4.5 -9h9z")
            if (value, rank) in passes:
                end = middle[passes[value, rank]]
                lines.append(f"{_curve(x, y - GAP, end, y)}V{y + HEIGHT:g}")
                x = end
    parts = [
        f'<svg{XMLNS} viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" aria-label="The network as a graph" '
        'font-family="ui-monospace, Menlo, Consolas, monospace" text-anchor="middle">',
        f'<path d="{"".join(lines)}" fill="none" stroke="#555" stroke-width="1.5"/>',
        f'<path d="{"".join(heads)}" fill="#555"/>',
    ]
    for box, rank, column in zip(boxes, ranks, columns, strict=True):
        (radius, fill), x, y = STYLE[box.style], middle[column], top(rank)
        start = left[column] + 4
        parts.append(
            f'<rect x="{start:g}" y="{y:g}" width="{wide[column] - 8:g}" height="{HEIGHT}" '
            f'rx="{radius:g}" fill="{fill}" stroke="#555"/>'
        )
        for text, size, down, weight in ((box.title, BIG, 19, 600), (box.text, SMALL, 35, 400)):
            parts.append(
                f'<text x="{x:g}" y="{y + down:g}" font-size="{size}" font-weight="{weight}" '
                f'fill="#222">{escape(text)}</text>'
            )
    return "\n".join([*parts, "</svg>\n"])


def _boxes(graph: Graph) -> list[Box]:
    """Return the inputs, the modules in their order, and the outputs."""
    widths = graph.known_widths()
    inputs = len(graph.in_widths)
    boxes = [
        Box(
            "value",
            "input" if inputs == 1 else f"input {at}",
            _wide(widths[at : at + 1]),
            (),
            (at,),
        )
        for at in range(inputs)
    ]
    seen: set[int] = set()
    for step in graph.steps:
        parameters = step.module.parameters()
        text = [step.label, _wide([widths[value] for value in step.gives])]
        new = sum(p.value.size for p in parameters if id(p.value) not in seen)
        if new:
            text.append(f"{new:,} parameters")
        elif parameters:
            text.append("shared")
        seen.update(id(p.value) for p in parameters)
        style = "learned" if parameters else "fixed"
        boxes.append(
            Box(
                style,
                _short(repr(step.module), TITLE),
                _short(" · ".join(text), TEXT),
                step.takes,
                step.gives,
            )
        )
    for at, value in enumerate(graph.results):
        title = "output" if graph.outputs is None else f"output {at}"
        boxes.append(Box("value", title, _wide([widths[value]]), (value,), ()))
    return boxes


def _columns(
    boxes: list[Box], ranks: list[int], maker: dict[int, int], last: dict[int, int]
) -> tuple[list[int], dict[tuple[int, int], int]]:
    """Return the column of each box, and that of each value at each rank that it passes.

    A box stands below the first value that it takes from the rank above. If there is no room, it
    stands to the right of that, as near as possible.
    """
    columns = [0] * len(boxes)
    passes: dict[tuple[int, int], int] = {}
    for rank in range(max(ranks) + 1):
        taken: set[int] = set()
        for at, box in enumerate(boxes):
            if ranks[at] == rank:
                above = [maker[v] for v in box.takes if ranks[maker[v]] == rank - 1]
                columns[at] = _free(columns[above[0]] if above else 0, taken)
        for value, at in maker.items():
            if ranks[at] < rank < last[value]:
                passes[value, rank] = _free(passes.get((value, rank - 1), columns[at]), taken)
    return columns, passes


def _free(column: int, taken: set[int]) -> int:
    """Take the first free column from this one to the right."""
    while column in taken:
        column += 1
    taken.add(column)
    return column


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    half = (y + to_y) / 2
    return f"M{x:g} {y:g}C{x:g} {half:g} {to_x:g} {half:g} {to_x:g} {to_y:g}"


def _wide(widths: Sequence[int | None]) -> str:
    return f"{', '.join('?' if width is None else str(width) for width in widths)} wide"


def _short(text: str, longest: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
