"""Networks as SVG: every connection is there, no line runs through a box, no two boxes overlap."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from jitprop.layers import (
    Add,
    Concatenate,
    Graph,
    Input,
    Linear,
    Module,
    Multiply,
    ReLU,
    Sequential,
    Split,
    Subtract,
    Tanh,
)
from jitprop.reporting.diagram import GAP, HEIGHT, draw_svg

CURVE = re.compile(
    r"M([\d.]+) ([\d.]+)C[\d.]+ [\d.]+ [\d.]+ [\d.]+ ([\d.]+) ([\d.]+)(?:V([\d.]+))?"
)
HEAD = re.compile(r"M([\d.]+) ([\d.]+)l")


class Drawing:
    """What a person sees: boxes as (left, top, right, bottom), their texts, who leads to whom."""

    def __init__(self, svg):
        root = ElementTree.fromstring(svg)
        lines, heads = (path.get("d") for path in root if path.tag.endswith("path"))
        self.boxes, self.texts = [], []
        for rect in (part for part in root if part.tag.endswith("rect")):
            x, y, w, h = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
            self.boxes.append((x, y, x + w, y + h))
        texts = [part for part in root if part.tag.endswith("text")]
        self.texts = [(a.text, b.text) for a, b in zip(texts[::2], texts[1::2], strict=True)]
        self.size = [float(root.get(name)) for name in ("width", "height")]
        self.lines = [
            tuple(None if number == "" else float(number) for number in line)
            for line in CURVE.findall(lines)
        ]
        self.links = sorted(self._trace(*map(float, head)) for head in HEAD.findall(heads))

    def _trace(self, x, y):
        """Follow a line from the tip of its arrow upwards; return both its ends as box numbers."""
        target = self._box(x, y)
        x, y = next((a, b) for a, b, c, d, down in self.lines if (c, d) == (x, y - 7) and not down)
        while (source := self._box(x, y)) is None:
            x, y = next((a, b) for a, b, c, _, down in self.lines if (c, down) == (x, y))
        return source, target

    def _box(self, x, y):
        """The box at whose upper or lower edge a point lies."""
        for at, (left, top, right, bottom) in enumerate(self.boxes):
            if left < x < right and y in (top, bottom):
                return at
        return None


def check(net):
    """Compare a drawing with the steps of the graph; return it."""
    drawing = Drawing(draw_svg(net))
    inputs = len(net.in_widths)
    maker = list(range(inputs))
    expected = []
    for at, step in enumerate(net.steps, inputs):
        expected += [(maker[value], at) for value in step.takes]
        maker += [at] * len(step.gives)
    ends = range(inputs + len(net.steps), inputs + len(net.steps) + len(net.results))
    expected += [(maker[value], end) for value, end in zip(net.results, ends, strict=True)]
    assert drawing.links == sorted(expected)

    starts = {line[:2] for line in drawing.lines}
    for _, _, x, _, down in drawing.lines:
        assert down is None or (x, down) in starts  # no line ends beside a box
    for at, (left, top, right, bottom) in enumerate(drawing.boxes):
        assert left > 0 < top
        assert right < drawing.size[0]
        assert bottom < drawing.size[1]
        for other in drawing.boxes[at + 1 :]:
            assert right < other[0] or other[2] < left or bottom < other[1] or other[3] < top
        for from_x, from_y, x, y, down in drawing.lines:
            assert y - from_y <= GAP  # curves stay between two ranks, where no box is
            if down is not None:
                assert down - y == HEIGHT
                assert not (left <= x <= right and top < down and y < bottom)
            assert min(from_x, x) > 0
            assert max(from_x, x) < drawing.size[0]
        for text, size in zip(drawing.texts[at], (13, 11), strict=True):
            assert len(text) * 0.62 * size < right - left
    return drawing


def test_a_chain():
    drawing = check(Sequential(Linear(784, 200, 0), Tanh(), Linear(200, 10, 0)))
    assert drawing.links == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert drawing.texts == [
        ("input", "784 wide"),
        ("Linear(784, 200)", "0 · 200 wide · 157,000 parameters"),
        ("Tanh()", "1 · 200 wide"),
        ("Linear(200, 10)", "2 · 10 wide · 2,010 parameters"),
        ("output", "10 wide"),
    ]
    assert len({left for left, _, _, _ in drawing.boxes}) == 1


def test_a_skip_connection():
    x = Input(8)
    net = Graph(x, Tanh()(Linear(8, 8, 0)(x)) + x)
    assert check(net).links == [(0, 1), (0, 3), (1, 2), (2, 3), (3, 4)]


def test_skips_within_skips():
    x = v = Input(8)
    for _ in range(4):
        v = Linear(8, 8, 0)(Tanh()(Linear(8, 8, 0)(v))) + v
    check(Graph(x, Linear(8, 3, 0)(v * x + x)))


def test_many_inputs_outputs_and_a_shared_module():
    x, w = Input(10), Input(5)
    p, q, r = Split([4, 3, 3])(x)
    shared = Linear(3, 3, 0)
    z = Linear(11, 5, 0)(Concatenate()(Subtract()(shared(q), shared(r)), p, Tanh()(p) * p))
    inner = Sequential(Linear(5, 7, 0), ReLU())(w)
    drawing = check(Graph([x, w], [z + w, inner, w]))
    details = " ".join(text for _, text in drawing.texts)
    assert details.count("shared") == 1
    assert "split1 · 4, 3, 3 wide" in details
    assert [title for title, _ in drawing.texts if "put" in title] == [
        *("input 0", "input 1", "output 0", "output 1", "output 2")
    ]


@pytest.mark.parametrize("seed", range(20))
def test_any_graph(seed):
    rng = np.random.default_rng(seed)
    inputs = [Input(4) for _ in range(rng.integers(1, 3))]
    nodes = list(inputs)
    for _ in range(rng.integers(1, 25)):
        taken = [nodes[at] for at in rng.integers(len(nodes), size=rng.integers(1, 4))]
        kind = [Tanh, Multiply, Add][len(taken) - 1]
        nodes.append(kind()(*taken))
    outputs = [nodes[-1], Add()(*nodes[: max(2, len(inputs))])]
    check(Graph(inputs, outputs))


def test_the_order_of_operands():
    """Arrows reach a box in the order of its arguments, from left to right."""
    for flip in (False, True):
        x = Input(4)
        a, b = Split([2, 2])(x)
        svg = draw_svg(Graph(x, Subtract()(b, a) if flip else Subtract()(a, b)))
        lines = [line for line in Drawing(svg).lines if line[4] is None]
        ends = sorted((x, to) for x, y, to, _, _ in lines if y == sorted({p[1] for p in lines})[1])
        assert (ends[0][1] < ends[1][1]) is not flip


def test_what_is_left_stays_left():
    """Lines do not cross without need; a box stands below the first that it takes."""
    x, w = Input(4), Input(4)
    drawing = check(Graph([x, w], Subtract()(x, w)))
    ends = [end for _, _, end, _, _ in sorted(drawing.lines) if end]
    assert ends[0] < ends[1]
    drawing = check(Graph([x, w], [ReLU()(w), Tanh()(x)]))
    left = {title: box[0] for (title, _), box in zip(drawing.texts, drawing.boxes, strict=True)}
    assert left["input 0"] == left["Tanh()"] < left["input 1"] == left["ReLU()"]


class Odd(Module):
    """A module of a person's own, whose name needs escaping and is too long to be shown."""

    def fprop(self, a, b):
        return a + b

    def bprop(self, dy, need_dx=True):
        return dy, dy

    def __repr__(self):
        return "<Odd & 'long' \n" + "x" * 99 + ">"


def test_a_module_alone():
    svg = draw_svg(Odd(), 2)
    assert "&lt;Odd &amp; " in svg
    drawing = Drawing(svg)
    assert drawing.links == [(0, 2), (1, 2), (2, 3)]
    assert drawing.texts[2][0].startswith("<Odd & 'long' x")
    assert drawing.texts[2] == (drawing.texts[2][0], "odd1 · ? wide")
    assert len(drawing.texts[2][0]) < 40
