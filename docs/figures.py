"""The figures of the book: `python docs/figures.py [NAME ...]` makes them in docs/images/.

Each figure is a function that computes numbers and one that draws them. A picture keeps two hashes:
that of this script (and of the page from which it takes code), and that of its numbers. The same
seed gives the same bits on every CPU, so whoever computes the numbers again gets the same hash.
"""

import contextlib
import hashlib
import io
import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))
IMAGES = DOCS / "images"
INK, PAPER = "#222222", "#ffffff"
# Okabe and Ito's colours: told apart by those who are colour-blind, too.
COLOURS = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
Numbers = dict[str, Any]


class Figure(NamedTuple):
    """What a figure shows, and how."""

    numbers: Callable[[], Numbers]
    draw: Callable[[Any, Numbers], None]
    size: tuple[float, float] = (8.0, 3.4)


def trained(arguments: str) -> list[Numbers]:
    """Return the epochs of `python train.py` with these arguments."""
    import train

    with tempfile.TemporaryDirectory() as folder:
        metrics = Path(folder, "metrics.json")
        with contextlib.redirect_stdout(io.StringIO()):
            code = train.main([*arguments.split(), "--quiet", "--metrics", str(metrics)])
        if code:
            raise SystemExit(f"train.py {arguments} ended with {code}")
        epochs = json.loads(metrics.read_text())["epochs"]
    return [{key: epoch[key] for key in ("train_loss", "test_errors")} for epoch in epochs]


def commands(page: str, figure: str) -> dict[str, str]:
    """Return the arguments of each `train.py` in the block below a figure, by their comments."""
    text = (DOCS / f"{page}.md").read_text("utf-8")
    block = re.search(rf"images/{figure}\.png\)\n\n```sh\n(.*?)```", text, re.S)
    if not block:
        raise SystemExit(f"docs/{page}.md: no commands below {figure}.png")
    lines = re.findall(r"^\S*python train\.py (.*?) +# (.*)$", block[1], re.M)
    return {label: arguments for arguments, label in lines}


def runs(figure: str) -> Numbers:
    """Run the commands that stand below a figure."""
    return {name: trained(given) for name, given in commands("learning", figure).items()}


def draw_runs(figure: Any, numbers: Numbers) -> None:
    """Loss and errors against epochs."""
    titles = {"train_loss": "training loss", "test_errors": "test errors of 10,000"}
    for place, (key, title) in enumerate(titles.items(), 1):
        axes = figure.add_subplot(1, 2, place)
        for (label, epochs), colour in zip(numbers.items(), COLOURS, strict=False):
            values = [epoch[key] for epoch in epochs]
            axes.plot(range(1, len(values) + 1), values, "o-", ms=3, color=colour, label=label)
        axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.set_title(title, fontsize=10)
        axes.grid(True, which="both", color="#dddddd", lw=0.5)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False)


SCALES = {"a tenth of slide 14": 0.1, "slide 14": 1.0, "four times slide 14": 4.0}
DEPTH = 6


def initialisation() -> Numbers:
    """Activations of a deep network of tanh, and how it learns, for weights of three sizes."""
    import jitprop

    mnist = jitprop.data.load_dataset()
    images = (mnist.train_images[:1000].reshape(1000, -1) / 255).astype(np.float32)
    found: Numbers = {}
    for label, scale in SCALES.items():
        net = jitprop.mlp(784, [100] * DEPTH, 10, rng=0)
        for parameter in net.parameters():
            parameter.value[...] *= np.float32(scale)  # b is 0
        z, deviations = images, []
        for module in net:
            z = module.fprop(z)
            if isinstance(module, jitprop.Tanh):
                deviations.append(float(z.std(dtype=np.float64)))
        losses = [
            epoch.train_loss
            for epoch in jitprop.fit(
                net,
                jitprop.SoftmaxCrossEntropy(),
                mnist.train_images,
                mnist.train_labels,
                epochs=5,
                batch_size=100,
                rate=0.05,
                rng=0,
            )
        ]
        found[label] = {"deviations": deviations, "losses": losses}
    return found


def draw_initialisation(figure: Any, numbers: Numbers) -> None:
    """Deviations against layers, loss against epochs."""
    for place, key, below, title in (
        (1, "deviations", "hidden layer", "deviation of tanh's output, before training"),
        (2, "losses", "epoch", "training loss"),
    ):
        axes = figure.add_subplot(1, 2, place)
        for (label, values), colour in zip(numbers.items(), COLOURS, strict=False):
            steps = range(1, len(values[key]) + 1)
            axes.plot(steps, values[key], "o-", ms=3, color=colour, label=label)
        axes.set_yscale("log")
        axes.set_xlabel(below)
        axes.set_title(title, fontsize=10)
        axes.grid(True, which="both", color="#dddddd", lw=0.5)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False)


def small_network() -> Numbers:
    """The numbers of the 2-2-2 network, from the code of the page that shows them."""
    text = (DOCS / "backpropagation.md").read_text("utf-8")
    scope: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for block in re.findall(r"^```python\n(# 2-2-2.*?)^```", text, re.M | re.S):
            exec(block, scope)
    names = "x", "w1", "b1", "z1", "h", "w2", "b2", "z2", "p", "dz2", "dw2", "db2", "dh", "dz1"
    names = *names, "dw1", "db1", "dx"
    return {name: np.asarray(scope[name]).tolist() for name in names}


def draw_small_network(figure: Any, numbers: Numbers) -> None:
    """Nodes from left to right; above a node its value, below it the gradient."""
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.45, 4.6), ylim=(-0.62, 1.62))
    axes.axis("off")
    forwards, backwards = COLOURS[0], COLOURS[1]
    columns = (
        ("x", "x", "dx", None),
        ("z1", "z1", "dz1", "b1"),
        ("h", "h", "dh", None),
        ("z2", "z2", "dz2", "b2"),
        ("p", "p", None, None),
    )
    small = {"ha": "center", "va": "center", "fontsize": 8}
    for column, (title, value, gradient, bias) in enumerate(columns):
        axes.text(column, 1.52, title, ha="center", color=INK, fontsize=11)
        for unit in (0, 1):
            y = 1 - unit
            axes.scatter(column, y, 1500, "#f4f4f4", edgecolors=INK, linewidths=0.9)
            axes.text(column, y, f"{numbers[value][0][unit]:.3f}", color=forwards, **small)
            if gradient:
                slope = f"{numbers[gradient][0][unit]:+.3f}"
                axes.text(column, y - 0.25, slope, color=backwards, **small)
            if bias:
                both = f"b {numbers[bias][unit]:g}"
                axes.text(column, y + 0.25, both, color=INK, **small)
    for column, w, dw in ((0, "w1", "dw1"), (2, "w2", "dw2")):
        for i in (0, 1):
            for j in (0, 1):
                _arrow(axes, column, 1 - i, 1 - j)
                share = 0.6 if i == j else 0.24
                x, y = column + 0.16 + share * 0.68, (1 - i) + share * (i - j)
                text = {**small, "bbox": {"fc": PAPER, "ec": "none", "pad": 0.6}}
                axes.text(x, y + 0.07, f"{numbers[w][i][j]:g}", color=INK, **text)
                axes.text(x, y - 0.07, f"{numbers[dw][i][j]:+.3f}", color=backwards, **text)
    for column in (1, 3):
        for y in (0, 1):
            _arrow(axes, column, y, y)
        axes.text(column + 0.5, 1.1, "tanh" if column == 1 else "softmax", color=INK, **small)
    axes.text(0, -0.5, "blue: values, forwards", color=forwards, fontsize=8)
    axes.text(1.5, -0.5, "orange: gradients of E, backwards", color=backwards, fontsize=8)
    axes.text(3.5, -0.5, "black: weights", color=INK, fontsize=8)


def _arrow(axes: Any, column: int, start: int, end: int) -> None:
    axes.annotate(
        "",
        (column + 0.84, end),
        (column + 0.16, start),
        arrowprops={"arrowstyle": "->", "color": "#888888", "lw": 0.8},
    )


FIGURES = {
    "network": Figure(small_network, draw_small_network, (8.6, 3.6)),
    "batches": Figure(lambda: runs("batches"), draw_runs),
    "rates": Figure(lambda: runs("rates"), draw_runs),
    "initialisation": Figure(initialisation, draw_initialisation),
    "momentum": Figure(lambda: runs("momentum"), draw_runs),
}


def digest(value: Any) -> str:
    """Return the hash of numbers, or of a text."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def source(name: str) -> str:
    """Return the hash of all that a figure is made from: this script, and code on its page."""
    more: Any = ""
    if name == "network":
        text = (DOCS / "backpropagation.md").read_text("utf-8")
        more = re.findall(r"^```python\n(# 2-2-2.*?)^```", text, re.M | re.S)
    elif name in ("batches", "rates", "momentum"):
        more = commands("learning", name)
    return digest([Path(__file__).read_text("utf-8"), more])


def make(name: str) -> None:
    """Compute a figure's numbers, draw them and write the picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure as Canvas

    figure = FIGURES[name]
    numbers = figure.numbers()
    canvas = Canvas(figure.size, dpi=110, facecolor=PAPER, layout="constrained")
    figure.draw(canvas, numbers)
    about = {"Source": source(name), "Numbers": digest(numbers), "Software": None}
    IMAGES.mkdir(exist_ok=True)
    canvas.savefig(IMAGES / f"{name}.png", metadata=about)


def main(names: list[str]) -> int:
    """Make these figures, or all."""
    if unknown := [name for name in names if name not in FIGURES]:
        print(f"no figure {unknown[0]}; there are {', '.join(FIGURES)}", file=sys.stderr)
        return 2
    for name in names or FIGURES:
        make(name)
        print(IMAGES.relative_to(ROOT) / f"{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
