"""Pictures of a run: learning curves, confusion matrix, mistakes, weights.

They need matplotlib, the extra `plots`. They do without pyplot, which would choose a backend for
the whole process. Colours are those of Okabe and Ito (2008) and the map cividis (Nuñez et al.
2018), which colour-blind readers tell apart; lines differ in their dashes, too.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import (
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
    StrMethodFormatter,
)

from jitprop.training.examples import Array
from jitprop.training.loop import Epoch

DPI = 130
BLUE, GREEN, VERMILLION = "#0072B2", "#009E73", "#D55E00"
GREY, LIGHT = "#555555", "#dddddd"
LINES = {
    "train": (BLUE, "-", "o"),
    "validation": (GREEN, "--", "s"),
    "test": (VERMILLION, "-", "^"),
}
SIGNED = LinearSegmentedColormap.from_list("signed", [BLUE, "white", VERMILLION])
MARKERS = 30  # up to so many epochs, each has a marker
DECADES = 20  # from this ratio of losses on, their axis is logarithmic
CLASSES = 50  # most that a confusion matrix shows
MISTAKES, UNITS = 40, 100  # most images in a picture
WIDTH, TITLE = 10, 0.55  # inches: of a picture of images, and of the title above
CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}


class Predictions(NamedTuple):
    """The answers of a network for a set of examples.

    Attributes
    ----------
    name : str
        The name of the set.
    truth, guess : (n,) of integers
        Class labels.
    confidence : (n,) of floats
        Probability of the guess, from 0 to 1.
    classes : int
        The number of classes.
    """

    name: str
    truth: Array
    guess: Array
    confidence: Array
    classes: int


def learning_curves(
    history: Sequence[Epoch], counts: Mapping[str, int], labels: bool, loss: str = "loss"
) -> Figure:
    """Draw the losses and, with labels, the errors against the epoch.

    Parameters
    ----------
    history : sequence of Epoch
        At least one.
    counts : dict of int
        Examples in each set.
    labels : bool
        Whether the targets are labels: without labels there are no errors. Errors are also left out
        if no set has them in every epoch.
    loss : str
        The name of the loss.
    """
    labels = labels and any(
        None not in [getattr(epoch, f"{name}_errors") for epoch in history] for name in LINES
    )
    figure = Figure((10 if labels else 5.5, 4.2), layout="constrained")
    axes = figure.subplots(1, 1 + labels, squeeze=False)[0]
    epochs = [epoch.epoch for epoch in history]
    for panel, kind in zip(axes, ("loss", "errors"), strict=False):
        shown = []
        for name, (colour, dashes, marker) in LINES.items():
            found = [getattr(epoch, f"{name}_{kind}") for epoch in history]
            if None in found:
                continue
            values = np.array(found, float)
            if kind == "errors":
                values *= 100 / counts[name]
            last = f"{values[-1]:#.3g}" if kind == "loss" else f"{values[-1]:.2f}%"
            panel.plot(
                epochs,
                values,
                dashes,
                color=colour,
                marker=marker if len(epochs) <= MARKERS else None,
                markersize=5,
                label=f"{name} {last}",
            )
            shown.append(values)
        panel.set_xlabel("epoch")
        panel.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        panel.grid(color=LIGHT)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(
            *panel.get_legend_handles_labels(),
            loc="lower center",
            bbox_to_anchor=(0.5, 1),
            ncols=len(shown),
            frameon=False,
            columnspacing=1.2,
        )
        if kind == "loss":
            panel.set_title(loss.capitalize(), pad=26)
            panel.set_ylabel("mean loss of an example")
            low, high = np.min(shown), np.max(shown)
            if low > 0 and np.isfinite(high) and high > DECADES * low:
                panel.set_yscale("log")
                panel.set_ylabel("mean loss of an example, log scale")
                panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
                panel.yaxis.set_minor_formatter(NullFormatter())
            else:
                panel.set_ylim(bottom=min(0, low) if np.isfinite(low) else None)
        else:
            panel.set_title("Errors", pad=26)
            panel.set_ylabel("misclassified images")
            panel.yaxis.set_major_formatter(PercentFormatter())
            panel.set_ylim(bottom=0, top=None if np.max(shown) else 1)
    return figure


def confusion_matrix(found: Predictions) -> Figure:
    """Draw how many examples of each class the network takes for each class.

    Colours show only the mistakes, which the diagonal would outshine. Of more than 50 classes it
    shows those with the most mistakes.
    """
    wrong = found.truth != found.guess
    each = sum(np.bincount(a[wrong], minlength=found.classes) for a in (found.truth, found.guess))
    classes = np.sort(np.argsort(-each, kind="stable")[:CLASSES])
    n = len(classes)
    place = np.full(found.classes, -1)
    place[classes] = np.arange(n)
    rows, columns = place[found.truth], place[found.guess]
    inside = (rows >= 0) & (columns >= 0)
    counts = np.bincount(rows[inside] * n + columns[inside], minlength=n * n).reshape(n, n)
    totals = np.bincount(found.truth, minlength=found.classes)[classes]

    side = max(5.5, 0.34 * n)
    figure = Figure((side + 2, side + 0.8), layout="constrained")
    axes = figure.subplots()
    off = np.ma.masked_where(np.eye(n, dtype=bool) | (counts == 0), counts)
    most = int(off.max()) if off.count() else 1
    image = axes.imshow(off, "cividis_r", vmin=0, vmax=most)
    size = 10 if n <= 12 else 8
    for (row, column), count in np.ndenumerate(counts):
        if row == column:
            corner = row - 0.5, column - 0.5
            axes.add_patch(Rectangle(corner, 1, 1, color=LIGHT, linewidth=0))
        if count:
            light = row == column or count < 0.45 * most
            colour = "black" if light else "white"
            small = min(size, 26 / len(str(count)) if n > 12 else size)
            axes.text(column, row, str(count), color=colour, fontsize=small, **CENTRED)
    for row, total in enumerate(totals):
        share = f"{counts[row, row] / total:.1%}" if total else "none"
        axes.text(n - 0.3, row, share, va="center", fontsize=size, color=GREY)
    axes.text(n - 0.3, -0.7, "recall", va="bottom", fontsize=size, color=GREY)
    axes.set_xticks(range(n), [str(name) for name in classes], fontsize=size)
    axes.set_yticks(range(n), [str(name) for name in classes], fontsize=size)
    axes.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=LIGHT, linewidth=0.5)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("guess of the network")
    axes.set_ylabel("true class")
    which = f", the {n} of {found.classes} classes with most mistakes" if n < found.classes else ""
    axes.set_title(f"Confusion matrix, {found.name} images{which}", pad=22)
    if off.count():
        bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=30)
        bar.set_label("mistakes, images")
        bar.ax.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    return figure


def mistakes(found: Predictions, images: Array) -> Figure:
    """Draw the misclassified images of (n, rows, columns), the most confident mistakes first."""
    n = len(images)
    wrong = np.flatnonzero(found.truth != found.guess)
    if not len(wrong):
        figure = Figure((8, 1.2))
        line = f"No mistakes: all {n:,} {found.name} images are recognised."
        figure.text(0.5, 0.5, line, fontsize=13, **CENTRED)
        return figure
    shown = wrong[np.argsort(-found.confidence[wrong], kind="stable")][:MISTAKES]
    if len(shown) < len(wrong):
        which = f"The {len(shown)} most confident of {len(wrong):,} mistakes"
    else:
        which = f"All {len(wrong)} mistakes" if len(wrong) > 1 else "The only mistake"
    title = f"{which} on {n:,} {found.name} images ({len(wrong) / n:.2%} wrong)"
    mosaic = Mosaic(title, images.shape[1:], len(shown), across=8, gap=0.2, text=0.42)
    for number in shown:
        mosaic.add(images[number], "gray_r", 0, 255)
        sure = math.floor(found.confidence[number] * 1000) / 10  # 99.99% is not 100%
        mosaic.write(f"guess {found.guess[number]}, {sure:.1f}%", 0.12, VERMILLION)
        mosaic.write(f"truth {found.truth[number]}", 0.28, "black")
    return mosaic.figure


def distortions(rows: Array) -> Figure:
    """Draw images above their distorted forms in some epochs.

    Parameters
    ----------
    rows : (1 + epochs, n, height, width) uint8
        As `jitprop.training.distorting.gallery` returns them.
    """
    names = ["original", *(f"epoch {epoch}" for epoch in range(1, len(rows)))]
    title, count = "Training images as they are, and as each epoch sees them", rows.shape[1] + 1
    mosaic = Mosaic(title, rows.shape[2:], len(rows) * count, count, gap=0.2, text=0)
    for name, row in zip(names, rows, strict=True):
        mosaic.name(name)
        for image in row:
            mosaic.add(image, "gray_r", 0, 255)
    return mosaic.figure


def weights(w: Array, shape: tuple[int, int], classes: bool) -> Figure:
    """Draw each column of `w`, (rows * columns, units), as an image of `shape`.

    Of more than 100 units it shows those with the largest weights. With `classes`, the units are
    classes, and have their numbers below.
    """
    units = w.shape[1]
    chosen = np.sort(np.argsort(-np.square(w, dtype=float).sum(axis=0), kind="stable")[:UNITS])
    n = len(chosen)
    most = float(np.quantile(np.abs(w[:, chosen]), 0.995)) or 1.0
    many = f"{n} of {units:,} units where they are largest"
    title = f"Weights from the pixels to {many if n < units else f'{units} units'}"
    across = 5 if n <= 10 else 10 if n <= 50 else 20
    mosaic = Mosaic(title, shape, n, across, gap=0.08, text=0.2 if classes else 0, aside=1.2)
    for unit in chosen:
        image = mosaic.add(w[:, unit].reshape(shape), SIGNED, -most, most)
        if classes:
            mosaic.write(f"class {unit}", 0.1, "black")
    bar = mosaic.figure.colorbar(image, cax=mosaic.beside(), extend="both")
    bar.set_label("weight")
    return mosaic.figure


class Mosaic:
    """Images in rows, with lines of text below them.

    Parameters
    ----------
    title : str
        The title of the picture.
    shape : tuple of int
        Rows and columns of each image.
    count : int
        How many there will be.
    across : int
        Images a row.
    gap, text : float
        Between images, and below them for text, in units of an image's larger side.
    aside : float
        Inches kept free to the right.
    """

    def __init__(
        self,
        title: str,
        shape: tuple[int, ...],
        count: int,
        across: int,
        gap: float,
        text: float,
        aside: float = 0,
    ) -> None:
        self.high, self.wide = (size / max(shape) for size in shape)
        self.across, self.count = across, 0
        self.step = self.wide + gap, self.high + gap + text
        width, height = across * self.step[0], -(-count // across) * self.step[1]
        inches = (WIDTH - aside) / width
        self.figure = Figure((WIDTH, max(height * inches, 1.5 if aside else 0) + TITLE))
        above = 1 - 0.12 / self.figure.get_figheight()
        # At the left: a narrow window still shows it.
        self.figure.suptitle(title, x=0.006, y=above, ha="left", va="top")
        tall = self.figure.get_figheight()
        part = height * inches / tall
        self.axes = self.figure.add_axes((0, 1 - TITLE / tall - part, 1 - aside / WIDTH, part))
        self.axes.set(xlim=(-gap / 2, width - gap / 2), ylim=(height, 0))
        self.axes.axis("off")

    def add(self, pixels: Array, colours: str | LinearSegmentedColormap, low: float, high: float):
        """Draw the next image, values from `low` to `high`; return it for a colour bar."""
        x, y = self._next()
        return self.axes.imshow(
            pixels,
            colours,
            vmin=low,
            vmax=high,
            interpolation="nearest",
            aspect="auto",
            extent=(x, x + self.wide, y + self.high, y),
        )

    def name(self, line: str) -> None:
        """Write a line in the place of the next image."""
        self._next()
        self.write(line, -self.high / 2, GREY)

    def _next(self) -> tuple[float, float]:
        x, y = self.count % self.across * self.step[0], self.count // self.across * self.step[1]
        self.count += 1
        self.place = x, y
        return x, y

    def write(self, line: str, below: float, colour: str) -> None:
        """Write a line below the last image."""
        x, y = self.place[0] + self.wide / 2, self.place[1] + self.high + below
        self.axes.text(x, y, line, color=colour, fontsize=9, **CENTRED)

    def beside(self) -> Axes:
        """Return axes for a colour bar at the right."""
        tall = self.figure.get_figheight()
        height = min(4.0, tall - TITLE - 0.3)
        bottom = 1 - (TITLE + 0.1 + height) / tall
        return self.figure.add_axes((1 - 1.05 / WIDTH, bottom, 0.18 / WIDTH, height / tall))


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    return file.getvalue()
