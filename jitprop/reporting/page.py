"""The report of a run for people: one HTML page, its pictures, the history as CSV.

`index.html` holds all its pictures and opens from disk, without a network. The same pictures lie
beside it as files. They need matplotlib, the extra `plots`.
"""

import base64
import csv
import errno
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jitprop.layers import Activation, Linear, Module
from jitprop.layers.at_random import AtRandom
from jitprop.layers.node import what
from jitprop.reporting import words
from jitprop.reporting.diagram import XMLNS, draw_svg
from jitprop.reporting.words import targets
from jitprop.training.asking import probabilities
from jitprop.training.epoch import Epoch
from jitprop.training.examples import Array, labels
from jitprop.training.files import check_writable, write_bytes
from jitprop.training.loop import Examples
from jitprop.training.words import leaves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jitprop.reporting.pictures import Predictions

SETS = ("test", "validation", "train")  # the first that exists shows the mistakes
PICTURES = {  # file: title, explanation
    "learning_curves.png": (
        "Learning curves",
        "Loss and errors on the training set are counted during the epoch, each batch just before "
        "the step that learns from it; those on other sets at the end of the epoch. The numbers "
        "above the curves are those of the last epoch.",
    ),
    "confusion_matrix.png": (
        "Confusion matrix",
        "Numbers count images: grey the recognised ones, coloured the mistakes. Recall is the "
        "share of a class that is recognised.",
    ),
    "mistakes.png": (
        "Mistakes",
        "Below a misclassified image: the guess, the probability that the network gives it, and "
        "the true class.",
    ),
    "distortions.png": (
        "Distorted images",
        "Above, training images as they are; below, as each epoch saw them, no two times in the "
        "same way.",
    ),
    "weights.png": (
        "First layer",
        "An image for each unit: bright pixels raise its value where the weight is orange and "
        "lower it where it is blue; white ones do not count.",
    ),
    "model.svg": (
        "Model",
        "From the input above to the output below. Blue boxes learn; &ldquo;wide&rdquo; is the "
        "number of values that a module gives for an example.",
    ),
}
LEAST = 0.8  # of a picture's width: in a smaller window people scroll, and can still read it
TITLE = b"<title>Training report</title>"
FILES = (*PICTURES, "history.csv", "index.html")  # index.html leads to all others

STYLE = """\
:root { color-scheme: light dark; --ink: #1b1b1b; --page: #ffffff; --soft: #5c5c5c;
  --line: #d8d8d8; --head: #f3f3f3 }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --page: #161616; --soft: #a8a8a8;
  --line: #3a3a3a; --head: #242424 } }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: var(--ink);
  background: var(--page); font: 16px/1.5 system-ui, sans-serif }
h1 { margin-bottom: 0 } h2 { margin: 2.5rem 0 .5rem }
p { max-width: 46rem } .soft { color: var(--soft) }
.card { background: #ffffff; border: 1px solid var(--line); border-radius: 6px; padding: .5rem;
  overflow: auto; max-height: 75rem; text-align: center }
.card img { max-width: 100%; height: auto }
.box { overflow-x: auto }
.rows { overflow: auto; max-height: 26rem; border: 1px solid var(--line); border-radius: 6px }
table { border-collapse: collapse; width: 100% }
th, td { padding: .25rem .75rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere }
thead th { position: sticky; top: 0; background: var(--head) }
.numbers th, .numbers td { padding: .25rem .5rem; text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums }
.numbers th { white-space: normal; overflow-wrap: normal }
.settings th { width: 12rem; font-weight: normal; color: var(--soft) }
code { font-size: 1rem; overflow-wrap: anywhere }
@media (max-width: 40rem) { body { margin: 1rem auto } .settings th { width: 7rem }
  .settings th, .settings td { padding: .25rem .5rem .25rem 0 } }
"""


def check_report(folder: str | os.PathLike[str]) -> None:
    """Make `folder`, and check that `write_report` can write there.

    Raises
    ------
    OSError
        It cannot write there, or would replace files that no report wrote.
    ImportError
        matplotlib is missing.
    """
    need_matplotlib()
    _expect_ours(Path(folder))
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in FILES:
        check_writable(Path(folder) / name)


def need_matplotlib() -> None:
    """Raise ImportError, which says what to install, if matplotlib is missing."""
    try:
        import jitprop.reporting.pictures  # noqa: F401
    except ImportError as error:
        raise ImportError(f"pictures need {error.name}: pip install 'jitprop[plots]'") from None


def _expect_ours(folder: Path) -> None:
    """Raise FileExistsError if it would replace a person's files: files beside no report."""
    page = folder / "index.html"
    if page.is_file() and TITLE in page.read_bytes():
        return
    for name in FILES:
        if (folder / name).is_file():
            what = "is there, and no report wrote it; choose another folder"
            raise FileExistsError(errno.EEXIST, what, str(folder / name))


def _check_sets(sets: Mapping[str, Examples], history: Sequence[Epoch]) -> None:
    for name, examples in sets.items():
        if name not in SETS or not isinstance(examples, tuple | list) or len(examples) != 2:
            wanted = " or ".join(f'"{one}": (x, t)' for one in reversed(SETS))
            raise TypeError(f"sets holds {name!r}: {what(examples)}, expected {wanted}")
        if not np.size(targets(examples[1])):
            raise ValueError(f"{name}: t holds no example")
    told = [n for n in SETS if history and getattr(history[-1], f"{n}_errors") is not None]
    for name in told or ["train"]:
        if name not in sets and (told or not sets):
            raise ValueError(f'sets has no "{name}": (x, t)')


def write_report(
    folder: str | os.PathLike[str],
    net: Module,
    history: Sequence[Epoch],
    settings: Mapping[str, Any],
    sets: Mapping[str, Examples],
    distorted: Array | None = None,
) -> None:
    """Write `index.html`, its pictures and `history.csv` to `folder`.

    They replace those of an earlier report; other files stay. If a file with such a name is not
    from a report, it is an error, and the file stays. The report leaves out what it cannot draw:
    learning curves without an epoch; mistakes if targets are not class labels; images and weights
    if inputs are not images, (n, rows, columns) uint8, or if no Linear comes first.

    Parameters
    ----------
    folder : path
        Made if it does not exist.
    net : Module
        The trained network.
    history : sequence of Epoch
        As `fit` returned it.
    settings : dict
        Names and values for the page to show; None is left out. The head of the page has the name
        of the "data", the "command" (text, or a list of words) and the "date" (now, if there is
        none). With "label_smoothing", the page says so of the losses.
    sets : dict of tuples of arrays
        Inputs and targets, as `fit` takes them: "train" and, if there are any, "validation" and
        "test". The mistakes shown are those on the last of these.
    distorted : (1 + epochs, n, rows, columns) uint8, optional
        Training images above their distorted forms in each epoch, as
        `jitprop.training.distorting.gallery` makes them.

    Raises
    ------
    OSError
        A file cannot be written.
    ImportError
        matplotlib is missing.
    TypeError, ValueError
        A set is not a pair, or is missing although the history has its errors. `distorted` does not
        hold rows of images.
    """
    from jitprop.reporting import pictures

    _check_sets(sets, history)
    if distorted is not None:
        distorted = np.asarray(distorted)
        if distorted.ndim != 4 or distorted.dtype != np.uint8 or not distorted.size:
            given = f"{distorted.dtype} of shape {distorted.shape}"
            raise ValueError(
                f"distorted is {given}, expected uint8 of (1 + epochs, n, rows, columns)"
            )
    name = next(name for name in SETS if name in sets)
    x, t = sets[name]
    images: Array | None = None if isinstance(x, tuple) else np.asarray(x)
    if images is not None and (images.dtype != np.uint8 or images.ndim != 3):
        images = None
    classes = targets(t).ndim == 1 if not history else history[-1].train_errors is not None
    found = predict(net, name, x, t) if classes else None
    figures: dict[str, Figure] = {}
    if history:
        counts = {name: len(targets(t)) for name, (_, t) in sets.items()}
        figures["learning_curves.png"] = pictures.learning_curves(
            history, counts, classes, words.loss_of(settings)
        )
    if found:
        figures["confusion_matrix.png"] = pictures.confusion_matrix(found)
    if found and images is not None:
        figures["mistakes.png"] = pictures.mistakes(found, images)
    if distorted is not None:
        figures["distortions.png"] = pictures.distortions(distorted)
    layers = [part for part in leaves(net) if not isinstance(part, Activation | AtRandom)]
    if images is not None and layers and isinstance(layers[0], Linear):
        to_classes = found is not None and len(layers) == 1
        figures["weights.png"] = pictures.weights(layers[0].w, images.shape[1:], to_classes)
    drawn = {file: pictures.png(figure) for file, figure in figures.items()}
    drawn["model.svg"] = draw_svg(net, len(x) if isinstance(x, tuple) else 1).encode()
    page = _page(drawn, net, found, history, settings, sets)
    written = {
        **drawn,
        "history.csv": _csv(history).encode(),
        "index.html": page.encode("utf-8", "backslashreplace"),
    }
    folder = Path(folder)
    _expect_ours(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        if file in written:
            write_bytes(folder / file, written[file])
        else:
            (folder / file).unlink(missing_ok=True)


def predict(net: Module, name: str, x: Any, t: Any) -> "Predictions":
    """Run `net` in evaluation over a set whose targets, the first of several, are classes.

    Confidence is the probability of the class that the network chooses.
    """
    from jitprop.reporting.pictures import Predictions

    p = probabilities(net, x)
    p = p[0] if isinstance(p, tuple) else p
    truth = labels("t", targets(t), p.shape[1])
    if len(truth) != len(p):
        raise ValueError(f"{name}: t has {len(truth)} rows, x {len(p)}")
    return Predictions(name, truth, p.argmax(axis=1), p.max(axis=1), p.shape[1])


def _csv(history: Sequence[Epoch]) -> str:
    """Return a line of names, then one for each epoch; empty where nothing was measured."""
    file = io.StringIO()
    writer = csv.DictWriter(file, [field.name for field in fields(Epoch)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(epoch) for epoch in history)
    return file.getvalue()


def _page(
    drawn: Mapping[str, bytes],
    net: Module,
    found: "Predictions | None",
    history: Sequence[Epoch],
    settings: Mapping[str, Any],
    sets: Mapping[str, Examples],
) -> str:
    """Return the page with all pictures in it."""
    loss = words.loss_of(settings)
    parts = [
        f"<h1>Training report</h1>\n<p>{_headline(found, history, loss)}</p>",
        words.head(net, settings, sets),
    ]
    for file, (title, caption) in PICTURES.items():
        if file not in drawn:
            continue
        if file.endswith(".svg"):
            picture = drawn[file].decode().replace(XMLNS, "", 1)
        else:
            data = base64.b64encode(drawn[file]).decode()
            width = LEAST * int.from_bytes(drawn[file][16:20], "big")  # PNG: of the header chunk
            picture = (
                f'<img src="data:image/png;base64,{data}" alt="{title}" '
                f'style="min-width: {width:.0f}px">'
            )
        parts.append(
            f'<h2>{title}</h2>\n<div class="card" tabindex="0">{picture}</div>\n'
            f'<p class="soft">{caption}</p>'
        )
    parts.append(f"<h2>Settings</h2>\n{words.shown(settings)}")
    if history:
        parts.append(
            f"<h2>Epochs</h2>\n{_epochs(history, found is not None, sets, loss)}\n"
            '<p class="soft">For programs: <a href="history.csv">history.csv</a></p>'
        )
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{TITLE.decode()}\n<style>\n{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _headline(found: "Predictions | None", history: Sequence[Epoch], loss: str) -> str:
    after = f"After {len(history)} epoch{'s' * (len(history) != 1)}"
    if found:
        errors, n = int(np.sum(found.truth != found.guess)), len(found.truth)
        return (
            f"{after}, <strong>{errors:,} of {n:,}</strong> {found.name} images are misclassified "
            f"({errors / n:.2%})."
        )
    if not history:
        return "No epoch was trained."
    name = next(name for name in SETS if getattr(history[-1], f"{name}_loss") is not None)
    mean = getattr(history[-1], f"{name}_loss")
    return f"{after}, the mean {name} {loss} is <strong>{mean:.4g}</strong>."


def _epochs(history: Sequence[Epoch], labels: bool, sets: Mapping[str, Examples], loss: str) -> str:
    """Return the table of epochs; it has errors only for labels, and where they were counted."""
    names = [name for name in reversed(SETS) if getattr(history[0], f"{name}_loss") is not None]
    counted = [
        name
        for name in names
        if labels and any(getattr(epoch, f"{name}_errors") is not None for epoch in history)
    ]
    heads = ["epoch"]
    for name in names:
        heads += [f"{name} {loss}"] + [f"{name} errors"] * (name in counted)
    lines = []
    for epoch in history:
        cells = [str(epoch.epoch)]
        for name in names:
            cells.append(f"{getattr(epoch, f'{name}_loss'):#.4g}")
            if name in counted:
                errors = getattr(epoch, f"{name}_errors")
                share = "" if errors is None else f" ({errors / len(targets(sets[name][1])):.2%})"
                cells.append("-" if errors is None else f"{errors:,}{share}")
        lines.append((*cells, f"{epoch.train_seconds:.2f}"))
    head = "".join(f"<th>{name}</th>" for name in (*heads, "seconds"))
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>\n" for cells in lines)
    return (
        f'<div class="rows"><table class="numbers"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody></table></div>"
    )
