"""Digits as people photograph them, drawn from a seed, and how many are read: one table.

    python -m perf.photographs                     # the table: test images, and the other fonts
    python -m perf.photographs --settings          # on what settings are chosen
    python -m perf.photographs --sheet failures.png

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
from scipy import ndimage

Array = npt.NDArray[Any]
Rng = np.random.Generator

RESULTS = Path(__file__).parent / "results" / "photographs.csv"
FOLDER = Path("/usr/share/fonts")
# One face of each hand, with the package that has it; no other was tried and left out.
FONTS = {
    "dkg.ttf": "fonts-dkg-handwriting",
    "Breip.ttf": "fonts-breip",
    "BecauseWeBuild-Regular.otf": "fonts-bwht",
    "BecauseWeConnect-Regular.otf": "fonts-bwht",
    "BecauseWeOrganize-Regular.otf": "fonts-bwht",
    "Humor-Sans.ttf": "fonts-humor-sans",
    "KleeOne-Regular.ttf": "fonts-klee",
    "Rufscript010.ttf": "fonts-rufscript",
    "setofont.ttf": "fonts-seto",
    "YuseiMagic-Regular.ttf": "fonts-yusei-magic",
    "SteveHand.ttf": "fonts-sjfonts",
    "Kristi.ttf": "fonts-kristi",
    "DancingScript-Regular.otf": "fonts-dancingscript",
    "kiloji.ttf": "fonts-kiloji",
    "Purisa.ttf": "fonts-tlwg-purisa-ttf",
    "aoyagi-soseki.ttf": "fonts-aoyagi-soseki",
}
CHOOSING = {
    "BecauseWeCreate-Regular.otf": "fonts-bwht",
    "BecauseWeMentor-Regular.otf": "fonts-bwht",
    "Delphine.ttf": "fonts-sjfonts",
    "Havana-Regular.otf": "fonts-havana",
    "KaushanScript-Regular.otf": "fonts-kaushanscript",
    "TomsonTalks.ttf": "fonts-tomsontalks",
    "YOzRSF.ttf": "fonts-yozvox-yozfont-standard-kana",
}
HELD_OUT = 10_000  # the last training images
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


class Ink:
    """Shapes of digits: coverage of 0 to 1, cut out, some 100 pixels tall."""

    def __init__(self, choosing: bool) -> None:
        from jitprop.data import load_dataset

        mnist = load_dataset()
        if choosing:
            self.images = mnist.train_images[-HELD_OUT:]
            self.labels = mnist.train_labels[-HELD_OUT:]
        else:
            self.images, self.labels = mnist.test_images, mnist.test_labels
        wanted = CHOOSING if choosing else FONTS
        paths = {path.name: path for path in FOLDER.rglob("*") if path.name in wanted}
        missing = sorted({wanted[name] for name in wanted if name not in paths})
        if missing:
            sys.exit(f"fonts are missing: apt-get install {' '.join(missing)}")
        self.fonts = [ImageFont.truetype(str(paths[name]), 160) for name in sorted(wanted)]

    def some(self, source: str, count: int, rng: Rng) -> tuple[list[int], list[Array]]:
        """Return digits and their shapes, of one hand if they are of a font."""
        if source == "mnist":
            index = rng.integers(len(self.images), size=count)
            found = [_cut(_enlarged(self.images[i])) for i in index]
            return [int(self.labels[i]) for i in index], found
        font = self.fonts[rng.integers(len(self.fonts))]
        digits = [int(digit) for digit in rng.integers(10, size=count)]
        return digits, [_cut(_written(font, digit)) for digit in digits]


def _enlarged(image: Array) -> Array:
    large = Image.fromarray(image).resize((168, 168), Image.Resampling.BICUBIC)
    return np.asarray(large, np.float32) / 255


def _written(font: Any, digit: int) -> Array:
    page = Image.new("L", (480, 480))
    ImageDraw.Draw(page).text((160, 120), str(digit), 255, font)
    return np.asarray(page, np.float32) / 255


def _cut(shape: Array) -> Array:
    rows, columns = (np.flatnonzero((shape > 0.1).any(axis=axis)) for axis in (1, 0))
    return shape[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _thinned(mask: Array) -> Array:
    """Return the skeleton of a shape: T. Zhang and C. Suen, CACM 27(3), 1984."""
    mask = np.pad(mask, 1)
    while True:
        before = mask.sum()
        for first in (True, False):
            around = [
                np.roll(mask, shift, (0, 1))
                for shift in ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))
            ]
            count = np.sum(around, axis=0)
            changes = np.sum(
                [~a & b for a, b in zip(around, [*around[1:], around[0]], strict=True)], axis=0
            )
            north, east, south, west = around[::2]
            open_ = (
                ~(north & east & south) & ~(east & south & west)
                if first
                else ~(north & east & west) & ~(north & south & west)
            )
            mask = mask & ~((count >= 2) & (count <= 6) & (changes == 1) & open_)
        if mask.sum() == before:
            return mask[1:-1, 1:-1]


def _redrawn(shape: Array, height: int, width: float) -> Array:
    """Return a shape drawn anew, as tall as `height`, with a pen as wide as `width`."""
    small = 72
    scale = small / max(shape.shape)
    sides = [max(3, round(scale * side)) for side in shape.shape[::-1]]
    mask = np.asarray(Image.fromarray(shape).resize(sides, Image.Resampling.BOX)) > 0.4
    points = np.argwhere(_thinned(np.pad(mask, 2)))
    near = [points[np.abs(points - point).max(axis=1) <= 2].mean(axis=0) for point in points]
    factor = height * 4 / max(1.0, np.ptp(points[:, 0]) if len(points) > 1 else 1.0)
    factor = min(factor, height * 4 / small * 1.3)
    places = (np.array(near) - points.min(axis=0)) * factor + 3 * width * 4
    sides = np.ceil(places.max(axis=0) + 3 * width * 4).astype(int)
    page = Image.new("L", (int(sides[1]), int(sides[0])))
    pen, radius = ImageDraw.Draw(page), 2 * width
    for i, (y, x) in enumerate(places):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), 255)
        for j in np.flatnonzero(np.abs(points - points[i]).max(axis=1) == 1):
            pen.line((x, y, places[j][1], places[j][0]), 255, max(1, round(4 * width)))
    return _cut(np.asarray(page.reduce(4), np.float32) / 255)


def _scaled(shape: Array, height: int, pen: str, rng: Rng) -> Array:
    if pen == "thin":
        return _redrawn(shape, height, rng.uniform(1, 3))
    scale = height / max(shape.shape[0], 0.6 * shape.shape[1])
    sides = [max(2, round(scale * side)) for side in shape.shape[::-1]]
    large = np.asarray(Image.fromarray(shape).resize(sides, Image.Resampling.BICUBIC))
    large = large.clip(0, 1)
    if pen == "thick":
        radius = max(1, round(height * rng.uniform(0.02, 0.05)))
        large = np.pad(large, radius)
        y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        large = ndimage.grey_dilation(large, footprint=x * x + y * y <= radius * radius)
    return large


def _laid_out(
    shapes: list[Array], height: int, rng: Rng, border: bool, gaps: tuple[float, float]
) -> Array:
    """Return a page of ink, (rows, columns), with the shapes side by side."""
    gap = [round(height * rng.uniform(*gaps)) for _ in shapes]
    rise = [round(height * rng.uniform(-0.06, 0.06)) for _ in shapes]
    width = sum(shape.shape[1] for shape in shapes) + sum(gap[1:])
    tallest = max(shape.shape[0] for shape in shapes) + round(0.14 * height)
    top, bottom, left, right = (round(height * rng.uniform(0.2, 1.2)) for _ in range(4))
    ink = np.zeros((top + tallest + bottom, left + width + right), np.float32)
    x = left
    for i, shape in enumerate(shapes):
        x += gap[i] if i else 0
        y = top + round(0.07 * height) + rise[i] + (tallest - shape.shape[0]) // 2
        y = max(0, min(y, len(ink) - shape.shape[0]))
        place = ink[y : y + shape.shape[0], x : x + shape.shape[1]]
        np.maximum(place, shape[:, : place.shape[1]], out=place)
        x += shape.shape[1]
    if border:  # cut the paper where ink begins, on one side
        rows, columns = (np.flatnonzero((ink > 0.5).any(axis=axis)) for axis in (1, 0))
        side = rng.integers(4)
        ink = (
            ink[rows[0] :],
            ink[: rows[-1] + 1],
            ink[:, columns[0] :],
            ink[:, : columns[-1] + 1],
        )[side]
    return ink


def _lines(shape: tuple[int, int], kind: str, height: int, rng: Rng) -> Array:
    """Return how much light printed lines take away."""
    spacing = height * (rng.uniform(0.7, 1.5) if kind == "ruled" else rng.uniform(0.35, 0.9))
    width, dark = rng.uniform(1, 3.5), rng.uniform(0.12, 0.4)
    lines = np.zeros(shape, np.float32)
    for axis in (0, 1) if kind == "squared" else (0,):
        place = np.arange(shape[axis]) + rng.uniform(0, spacing)
        away = np.abs((place + spacing / 2) % spacing - spacing / 2)
        profile = np.clip(width / 2 + 0.5 - away, 0, 1)
        lines = np.maximum(lines, profile[:, None] if axis == 0 else profile[None])
    return dark * lines


def _light(shape: tuple[int, int], kind: str | None, rng: Rng) -> Array:
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j].astype(np.float32)
    a = rng.uniform(0, 2 * np.pi)
    along = np.cos(a) * x + np.sin(a) * y
    light = 1 - 0.06 * rng.random() * along
    if kind is None:
        return light
    edge = along - rng.uniform(-0.5, 0.5)
    if rng.random() < 0.4:  # of a hand or a phone, with a corner
        edge = np.minimum(edge, np.sin(a) * x - np.cos(a) * y - rng.uniform(-0.6, 0.2))
    wide = rng.uniform(0.4, 1.2) if kind == "soft" else rng.uniform(0.005, 0.05)
    return light * (1 - rng.uniform(0.3, 0.6) / (1 + np.exp(np.clip(-edge / (wide / 4), -50, 50))))


def draw(ink: Array, height: int, rng: Rng, **special: Any) -> bytes:
    """Return a photograph of ink on paper, as a PNG or JPEG."""
    lines = np.zeros_like(ink)
    angle = rng.uniform(-1, 1) * special.get("rotated", 0)
    if angle:
        size = int(np.ceil(np.hypot(*ink.shape))) + 2
        rows, columns = size - ink.shape[0], size - ink.shape[1]
        before = rows // 2, columns // 2
        pads = ((before[0], rows - before[0]), (before[1], columns - before[1]))
        ink, cut = np.pad(ink, pads), ink.shape
        lines = np.zeros_like(ink)
    if "lines" in special:
        lines = _lines(ink.shape, special["lines"], height, rng)
    if angle:
        turned = [
            np.asarray(Image.fromarray(x).rotate(angle, Image.Resampling.BICUBIC))
            for x in (ink, lines)
        ]
        ink, lines = (
            x[before[0] : before[0] + cut[0], before[1] : before[1] + cut[1]] for x in turned
        )
    paper = np.array([1, rng.uniform(0.96, 1), rng.uniform(0.88, 1)]) * rng.uniform(190, 250)
    takes = np.array([1, 1, 1]) * rng.uniform(0.75, 0.95)
    if special.get("colour") == "blue":
        takes = np.array([0.85, 0.7, 0.3]) * rng.uniform(0.85, 1)
    if special.get("colour") == "pencil":
        grain = ndimage.gaussian_filter(rng.standard_normal(ink.shape).astype(np.float32), 1)
        ink = ink * np.clip(1 + 1.5 * grain, 0.4, 1)
        takes = np.array([1, 1, 1]) * rng.uniform(0.4, 0.55)
    through = (1 - np.clip(ink, 0, 1)[..., None] * takes) * (
        1 - np.clip(lines, 0, 1)[..., None] * np.array([1, 0.8, 0.4])
    )
    picture = paper * through * _light(ink.shape, special.get("shadow"), rng)[..., None]
    if special.get("inverted"):
        picture = 255 - picture
    picture = ndimage.gaussian_filter(picture, (rng.uniform(0, 1), rng.uniform(0, 1), 0))
    noise = rng.uniform(*special.get("noise", (0.5, 3)))
    picture += rng.normal(0, noise, ink.shape)[..., None]
    image, file = Image.fromarray(np.rint(picture).clip(0, 255).astype(np.uint8)), io.BytesIO()
    quality = special.get("quality") or (None, 75, 90)[rng.integers(3)]
    if quality:
        image.save(file, "JPEG", quality=quality)
    else:
        image.save(file, "PNG", compress_level=1)
    return file.getvalue()


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
    scaled = [_scaled(shape, round(height * rng.uniform(0.9, 1)), pen, rng) for shape in shapes]
    gaps = special.get("gap", (0.12, 0.45))
    page = _laid_out(scaled, height, rng, special.get("border", False), gaps)
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
    args = parser.parse_args()
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
