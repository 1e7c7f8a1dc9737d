"""Digits as people photograph them, drawn from a seed, and how many are read: one table.

    python -m perf.photographs                     # the table: test images, and the other fonts
    python -m perf.photographs --settings          # on what settings are chosen
    python -m perf.photographs --sheet failures.png
    python -m perf.photographs --samples tests/pictures

Ink is MNIST's test images, enlarged, and handwriting fonts that Debian packages. Paper is plain,
ruled or squared; light falls evenly, or with a soft or a hard shadow; pens are thin, thick, blue,
or pencils. UCI's digits come with scikit-learn. `--settings` takes other ink: the last 10,000
training images, and the fonts of `CHOOSING`.
"""

import argparse
import csv
import io
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from perf.handwriting import Ink, cut_out, draw, enlarged, laid_out, scaled_to

Array = npt.NDArray[Any]
Rng = np.random.Generator

RESULTS = Path(__file__).parent / "results" / "photographs.csv"
APART = 10**6  # between the seeds of what settings are chosen on, and of what is reported

# What is special about each kind of picture; `draw` knows the words.
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "ruled": {"lines": "ruled"},
    "squared": {"lines": "squared"},
    "soft shadow": {"shadow": "soft"},
    "hard shadow": {"shadow": "hard"},
    "noise": {"noise": (8, 20)},
    "thin pen": {"pen": "thin"},
    "thick pen": {"pen": "thick"},
    "blue ink": {"colour": "blue"},
    "pencil": {"colour": "pencil"},
    "JPEG 20": {"quality": 20},
    "rotated": {"rotated": 15},
    "border": {"border": True},
    "light on dark": {"inverted": True},
    "rotated, ruled": {"rotated": 15, "lines": "ruled"},
    "pencil, squared": {"colour": "pencil", "lines": "squared"},
    "ruled, shadow, JPEG 20": {"lines": "ruled", "shadow": "hard", "quality": 20},
}
NUMBERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "ruled": {"lines": "ruled"},
    "squared": {"lines": "squared"},
    "touching": {"gap": (-0.1, 0.0)},
}
BLANK = (
    *("plain", "ruled", "squared", "soft shadow", "hard shadow", "noise", "JPEG 20", "rotated"),
    *("light on dark", "rotated, ruled", "ruled, shadow, JPEG 20"),
)


@dataclass
class Picture:
    """A picture, and what is written on it."""

    kind: str
    source: str
    digits: list[int]
    content: bytes
    found: list[Any] = field(default_factory=list)  # what was read


def photographs(ink: Ink, count: int, seed: int) -> Iterator[Picture]:
    """Yield all pictures, `count` of each kind and source; of each its own random numbers."""
    for number, (kind, special) in enumerate(KINDS.items()):
        for source in ("fonts", "mnist"):
            for i in range(count):
                rng = np.random.default_rng([seed, 0, number, source == "mnist", i])
                yield _picture(ink, kind, source, 1, special, rng)
    for number, (kind, special) in enumerate(NUMBERS.items()):
        for source in ("fonts", "mnist"):
            for i in range(count // 2):
                rng = np.random.default_rng([seed, 1, number, source == "mnist", i])
                yield _picture(ink, f"numbers, {kind}", source, 2 + i % 5, special, rng)
    for number, kind in enumerate(BLANK):
        for i in range(count // 4):
            rng = np.random.default_rng([seed, 2, number, i])
            sides = tuple(int(side) for side in rng.integers(300, 1000, 2))
            page = np.zeros(sides, np.float32)
            height = int(rng.integers(80, 400))
            content = draw(page, height, rng, **KINDS[kind])
            yield Picture(f"blank, {kind}", "", [], content)
    yield from _uci(count, seed)


def _picture(
    ink: Ink, kind: str, source: str, digits: int, special: dict[str, Any], rng: Rng
) -> Picture:
    labels, shapes = ink.some(source, digits, rng)
    height = int(rng.integers(150, 450) if digits == 1 else rng.integers(80, 170))
    pen = special.get("pen", "")
    scaled = [scaled_to(shape, round(height * rng.uniform(0.9, 1)), pen, rng) for shape in shapes]
    gaps = special.get("gap", (0.12, 0.45))
    page = laid_out(scaled, height, rng, special.get("border", False), gaps)
    return Picture(kind, source, labels, draw(page, height, rng, **special))


def _uci(count: int, seed: int) -> Iterator[Picture]:
    """Yield pictures of 8 x 8 pixels, dark on light, as they are and with a margin."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    index = np.random.default_rng([seed, 3]).permutation(len(images))[: 4 * count]
    for kind, margin in (("UCI, margin", 4), ("UCI, no margin", 0)):
        for i in index:
            grey = np.pad(255 - images[i].reshape(8, 8) * 15, margin, constant_values=255)
            file = io.BytesIO()
            Image.fromarray(grey.astype(np.uint8)).save(file, "PNG")
            yield Picture(kind, "uci", [int(labels[i])], file.getvalue())


SAMPLES: dict[str, tuple[str, int, dict[str, Any]]] = {  # digits, a seed, what is special
    "number.jpg": ("2026", 3, {"lines": "squared", "colour": "blue"}),
    "ruled.jpg": ("7", 4, {"lines": "ruled", "rotated": 8}),
    "shadow.jpg": ("195", 5, {"shadow": "hard"}),
    "torn.jpg": ("4", 6, {"border": True, "shadow": "soft"}),
}


def samples(folder: Path) -> None:
    """Write a few small pictures of test images."""
    from jitprop.data import load_dataset

    mnist = load_dataset()
    for name, (digits, seed, special) in SAMPLES.items():
        rng = np.random.default_rng(seed)
        index = [rng.choice(np.flatnonzero(mnist.test_labels == int(d))) for d in digits]
        shapes = [scaled_to(cut_out(enlarged(mnist.test_images[i])), 110, "", rng) for i in index]
        page = laid_out(shapes, 110, rng, bool(special.get("border")), (0.12, 0.45))
        (folder / name).write_bytes(draw(page, 110, rng, **{"quality": 75} | special))


def read(pictures: Iterator[Picture], models: list[str] | None) -> list[Picture]:
    """Read all pictures; what is read stands in them."""
    from jitprop import load, read_digits

    nets = [load(model) for model in models] if models else None
    done = []
    for picture in pictures:
        picture.found = read_digits(io.BytesIO(picture.content), nets)
        done.append(picture)
        if len(done) % 100 == 0 and sys.stderr.isatty():
            print(f"\r{len(done)}", end="", file=sys.stderr)
    return done


def right(picture: Picture) -> bool:
    """Whether all its digits were read, and nothing else."""
    return [one.digit for one in picture.found] == picture.digits


def rows(pictures: list[Picture]) -> list[dict[str, Any]]:
    """Return the table: of each kind and source the pictures, those read whole, and doubt."""
    found = []
    for kind, source in dict.fromkeys((p.kind, p.source) for p in pictures):
        some = [p for p in pictures if (p.kind, p.source) == (kind, source)]
        sure = [p for p in some if p.found and not any(one.doubt for one in p.found)]
        found.append(
            {
                "kind": kind,
                "source": source,
                "pictures": len(some),
                "right": sum(map(right, some)),
                "no doubt": len(sure),
                "wrong without doubt": sum(not right(p) for p in sure),
            }
        )
    return found


def table(found: list[dict[str, Any]], before: dict[tuple[str, str], float]) -> Iterator[str]:
    """Yield the lines of the table, and of its sums."""
    heads = (("pictures", 9), ("before", 8), ("right", 8), ("no doubt", 10), ("wrong", 7))
    yield f"{'kind':24}{'source':8}" + "".join(f"{head:>{width}}" for head, width in heads)
    for row in found:
        was = before.get((row["kind"], row["source"]))
        shown = f"{was:8.1%}" if was is not None else f"{'':8}"
        yield (
            f"{row['kind']:24}{row['source']:8}{row['pictures']:9}{shown}"
            f"{row['right'] / row['pictures']:8.1%}{row['no doubt']:10}"
            f"{row['wrong without doubt']:7}"
        )
    sure = sum(row["no doubt"] for row in found)
    wrong = sum(row["wrong without doubt"] for row in found)
    yield f"no doubt: {sure}, of them wrong: {wrong} ({wrong / max(1, sure):.2%})"


def sheet(pictures: list[Picture], path: str, most: int = 120) -> None:
    """Draw the first failures of each kind: the picture, what it is, and what was read."""
    wrong = [p for p in pictures if not right(p)]
    kinds = list(dict.fromkeys(p.kind for p in wrong))
    each = max(1, most // max(1, len(kinds)))
    chosen = [p for kind in kinds for p in [q for q in wrong if q.kind == kind][:each]]
    side, columns = 150, 10
    page = Image.new("RGB", (columns * side, -(-len(chosen) // columns) * (side + 26)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(11)
    for i, picture in enumerate(chosen):
        x, y = side * (i % columns), (side + 26) * (i // columns)
        image = Image.open(io.BytesIO(picture.content)).convert("RGB")
        marks = ImageDraw.Draw(image)
        for one in picture.found:
            marks.rectangle(one.box, None, "red", max(1, max(image.size) // 150))
        image.thumbnail((side - 6, side - 6))
        page.paste(image, (x, y + 26))
        said = " ".join(f"{one.digit}{'?' * bool(one.doubt)}" for one in picture.found) or "nothing"
        pen.text((x, y), picture.kind, "black", font)
        pen.text(
            (x, y + 12), f"{''.join(map(str, picture.digits)) or 'blank'}: {said}", "red", font
        )
    page.save(path)


def main() -> int:
    """Draw, read, print; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m perf.photographs")
    parser.add_argument("--count", type=int, default=160, help="pictures of a kind and source")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", action="append", help="a network, as for jitprop predict")
    parser.add_argument("--settings", action="store_true", help="other ink, to choose settings on")
    parser.add_argument("--only", help="kinds whose name holds this text")
    parser.add_argument("--out", help="a CSV of the table")
    parser.add_argument("--before", default=RESULTS, help="the CSV whose column `before` is shown")
    parser.add_argument("--sheet", metavar="FILE", help="a PNG of failures")
    parser.add_argument("--samples", metavar="FOLDER", help="write a few pictures there, no more")
    args = parser.parse_args()
    if args.samples:
        samples(Path(args.samples))
        return 0
    start = time.perf_counter()
    drawn = photographs(Ink(args.settings), args.count, args.seed + args.settings * APART)
    pictures = read((p for p in drawn if not args.only or args.only in p.kind), args.model)
    found = rows(pictures)
    before = {}
    if Path(args.before).is_file():
        with open(args.before, newline="") as file:
            before = {
                (row["kind"], row["source"]): float(row["before"]) for row in csv.DictReader(file)
            }
    print("\n".join(table(found, before)))
    print(f"{time.perf_counter() - start:.0f} s", file=sys.stderr)
    if args.out:
        with open(args.out, "w", newline="") as file:
            writer = csv.DictWriter(file, [*found[0], "before"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(
                row | {"before": before.get((row["kind"], row["source"]), "")} for row in found
            )
    if args.sheet:
        sheet(pictures, args.sheet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
