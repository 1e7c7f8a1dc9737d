"""Pictures of a run: GFLOP/s against size, the roofline, epochs. Needs matplotlib."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from perf.providers import DENSE, OURS
from perf.runner import Row, Timing

# The colours of Okabe and Ito, which colour-blind readers tell apart; each has its own marker, too.
STYLES = {
    OURS: ("#000000", "o"),
    "numpy": ("#0072B2", "s"),
    "numpy-best": ("#56B4E9", "D"),
    "numpy-haswell": ("#CC79A7", "v"),
    "torch": ("#D55E00", "^"),
    "jax": ("#009E73", "P"),
}
BARS = {  # colours as above; each has its own hatch, too
    OURS: (STYLES[OURS][0], "", "jitprop"),
    DENSE: ("#56B4E9", "", "jitprop, all pixels"),
    "jax": (STYLES["jax"][0], "//", "JAX"),
    "torch": (STYLES["torch"][0], "..", "PyTorch"),
    "sklearn": ("#E69F00", "xx", "scikit-learn"),
}
LEFT, RIGHT = 0.003, 2000.0  # FLOP per byte
FORMS = {
    "matmul_nn": "a @ b",
    "matmul_tn": "a.T @ b",
    "matmul_nt": "a @ b.T",
}


def draw(folder: Path, rows: Sequence[Row], dtype: str) -> list[Path]:
    """Write the pictures that these rows suffice for; return the files."""
    written = []
    for name, figure in (("squares", squares(rows, dtype)), ("roofline", roofline(rows, dtype))):
        if figure is not None:
            path = folder / f"{name}-{dtype}.png"
            figure.savefig(path, dpi=120)
            plt.close(figure)
            written.append(path)
    return written


def counted(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def draw_epochs(folder: Path, rows: Sequence[Timing]) -> list[Path]:
    """Write `epoch.png` if there are epochs; return the files."""
    figure = epochs(rows)
    if figure is None:
        return []
    path = folder / "epoch.png"
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return [path]


def epochs(rows: Sequence[Timing]):
    """A group of bars per network and batch: the time over that of the multiply-adds alone."""
    most = max((row.threads for row in rows), default=1)
    rows = [row for row in rows if row.what == "epoch" and row.threads == most]
    if not rows:
        return None
    groups = list(dict.fromkeys((row.net, row.batch) for row in rows))
    names = [name for name in BARS if any(row.provider == name for row in rows)]
    figure, axes = plt.subplots(figsize=(2 + 2.4 * len(groups), 5), layout="constrained")
    width = 0.84 / len(names)
    for place, name in enumerate(names):
        colour, hatch, label = BARS[name]
        of_name = [row for row in rows if row.provider == name]
        at = [
            groups.index((row.net, row.batch)) + (place - (len(names) - 1) / 2) * width
            for row in of_name
        ]
        heights = [row.over_floor for row in of_name]
        axes.bar(
            at, heights, 0.92 * width, color=colour, hatch=hatch, edgecolor="white", linewidth=0,
            label=label, zorder=2,
        )  # fmt: skip
        for x, height in zip(at, heights, strict=True):
            axes.annotate(
                f"{height:{'.2f' if height < 10 else '.3g'}}", (x, height), xytext=(0, 3),
                textcoords="offset points", ha="center", fontsize=9,
                fontweight="bold" if name == OURS else "normal",
            )  # fmt: skip
    heights = [row.over_floor for row in rows]
    axes.axhline(1, color="0.25", linewidth=1.2, zorder=3)
    axes.annotate(
        "floor: 1", (1, 1), xycoords=("axes fraction", "data"), xytext=(4, 0),
        textcoords="offset points", va="center", color="0.25",
    )  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylim(min(0.5, 0.8 * min(heights)), 1.6 * max(heights))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xticks(range(len(groups)), [f"{net}\nbatch {batch}" for net, batch in groups])
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("epoch time / floor")
    axes.set_title(
        "An epoch of MNIST over the time of its multiply-adds alone, "
        f"float32, {counted(most)}: lower is better"
    )
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["right", "top"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(names), frameon=False)
    return figure


def squares(rows: Sequence[Row], dtype: str):
    """GFLOP/s of n x n products: a panel per form and thread count; its top is the peak."""
    rows = [row for row in rows if row.kernel in FORMS and len(set(row.shape)) == 1]
    if not rows:
        return None
    counts = sorted({row.threads for row in rows})
    forms = [form for form in FORMS if any(row.kernel == form for row in rows)]
    size = (1 + 3.8 * len(forms), 1 + 3.2 * len(counts))
    figure, grid = plt.subplots(
        len(counts), len(forms), figsize=size, squeeze=False, sharex=True, layout="constrained"
    )
    for axes_row, threads in zip(grid, counts, strict=True):
        of_count = [row for row in rows if row.threads == threads]
        peak = max(row.peak for row in of_count) / 1e9
        for axes, form in zip(axes_row, forms, strict=True):
            _curves(axes, [row for row in of_count if row.kernel == form])
            axes.set_ylim(0, peak)
            axes.set_title(f"{FORMS[form]}, {counted(threads)}")
        axes_row[0].set_ylabel(f"GFLOP/s (top: peak, {peak:.0f})")
    for axes in grid[-1]:
        axes.set_xlabel("n")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(f"Products of n x n matrices, {dtype}")
    return figure


def _curves(axes, rows: Sequence[Row]) -> None:
    for provider, (colour, marker) in STYLES.items():
        points = sorted((row.shape[0], row) for row in rows if row.provider == provider)
        if points:
            axes.plot(
                [n for n, _ in points],
                [row.flops / row.seconds / 1e9 for _, row in points],
                color=colour,
                marker=marker,
                markersize=5,
                linewidth=2.2 if provider == OURS else 1.2,
                label=provider,
                zorder=3 if provider == OURS else 2,
            )
    ticks = sorted({row.shape[0] for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, map(str, ticks))
    axes.minorticks_off()
    axes.grid(axis="y", color="0.9")
    axes.spines[["right"]].set_visible(False)


def roofline(rows: Sequence[Row], dtype: str):
    """Every kernel of ours at its largest shape outside the squares, on most threads."""
    most = max(row.threads for row in rows)
    ours = [
        row
        for row in rows
        if row.provider == OURS and row.threads == most and not _square(row) and row.flops
    ]
    largest: dict[str, Row] = {}
    for row in sorted(ours, key=lambda row: row.bytes):
        largest[row.kernel] = row
    if not largest:
        return None
    chosen = sorted(largest.values(), key=lambda row: row.flops / row.bytes)
    peak = float(np.median([row.peak for row in ours])) / 1e9
    far = max(ours, key=lambda row: row.bytes)
    near = max(ours, key=lambda row: row.copy)

    figure, axes = plt.subplots(figsize=(11, 6.2), layout="constrained")
    intensity = np.geomspace(LEFT, RIGHT, 200)
    roofs = ((far.copy / 1e9, "from memory", "-"), (near.copy / 1e9, "in cache", "--"))
    for copy, _, dashes in roofs:
        axes.plot(intensity, np.minimum(peak, copy * intensity), dashes, color="0.45", lw=1.3)
    axes.annotate(
        f"peak: {peak:.0f} GFLOP/s", (0.9 * RIGHT, peak), xytext=(0, 5), textcoords="offset points",
        ha="right", color="0.35", fontsize=9,
    )  # fmt: skip
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(LEFT, RIGHT),
        xlabel="arithmetic intensity, FLOP per byte",
        ylabel="GFLOP/s",
        title=f"Every kernel under the machine's roofs, {dtype}, {counted(most)}",
    )
    axes.set_ylim(far.copy / 1e9 * LEFT, peak * 2.2)
    _numbered(figure, axes, chosen)
    for copy, text, _ in roofs:
        _along(axes, 1.2 * LEFT, copy, f"copy {text}: {copy:.0f} GB/s")
    axes.grid(color="0.93")
    axes.set_axisbelow(True)
    axes.spines[["right", "top"]].set_visible(False)
    return figure


def _square(row: Row) -> bool:
    return row.kernel in FORMS and len(set(row.shape)) == 1


def _along(axes, x: float, copy: float, text: str) -> None:
    """Text on the roof of a bandwidth, from `x` on."""
    (x0, y0), (x1, y1) = axes.transData.transform([(x, copy * x), (10 * x, copy * 10 * x)])
    axes.annotate(
        text, (x, copy * x), xytext=(-2, 4), textcoords="offset points", color="0.35", fontsize=9,
        rotation=np.degrees(np.arctan2(y1 - y0, x1 - x0)), rotation_mode="anchor",
    )  # fmt: skip


def _numbered(figure, axes, rows: Sequence[Row]) -> None:
    """A point per row with a number, and the key to the numbers."""
    key = []
    for number, row in enumerate(rows, 1):
        x, y = row.flops / row.bytes, row.flops / row.seconds / 1e9
        axes.plot(x, y, "o", color=STYLES[OURS][0], markersize=4)
        key.append((number, x, y, f"{row.kernel} {'x'.join(map(str, row.shape))}"))
    text = "\n".join(f"{number:2}  {name}" for number, _, _, name in key)
    axes.text(
        1.02, 1, text, transform=axes.transAxes, va="top", family="monospace", fontsize=8.5,
        linespacing=1.5,
    )  # fmt: skip
    figure.draw_without_rendering()  # does the layout: from here on places are final
    _label(axes, [(x, y, str(number)) for number, x, y, _ in key])


def _label(axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Put each number beside its point, at the first place where nothing else is."""
    scale = axes.transData.transform
    taken = [scale((x, y)) for x, y, _ in points]
    places = [
        (radius * np.cos(turn), radius * np.sin(turn))
        for radius in (11, 20, 30)
        for turn in np.pi * np.array([0.25, -0.25, 0.75, -0.75, 0, 1, 0.5, -0.5])
    ]
    for x, y, text in points:
        at = scale((x, y))
        offset = next(
            (p for p in places if all(np.hypot(*(at + p - other)) > 9.5 for other in taken)),
            places[0],
        )
        taken.append(at + offset)
        leader = {"arrowstyle": "-", "lw": 0.5} if np.hypot(*offset) > 15 else None
        axes.annotate(
            text, (x, y), xytext=offset, textcoords="offset pixels", ha="center", va="center",
            fontsize=8.5, arrowprops=leader,
        )  # fmt: skip
