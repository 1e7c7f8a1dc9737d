"""Handwriting on paper, drawn: digits of MNIST and of fonts, pens, lines, light, noise."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

Array = npt.NDArray[Any]
Rng = np.random.Generator

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
            found = [cut_out(enlarged(self.images[i])) for i in index]
            return [int(self.labels[i]) for i in index], found
        font = self.fonts[rng.integers(len(self.fonts))]
        digits = [int(digit) for digit in rng.integers(10, size=count)]
        return digits, [cut_out(_written(font, digit)) for digit in digits]


def enlarged(image: Array) -> Array:
    large = Image.fromarray(image).resize((168, 168), Image.Resampling.BICUBIC)
    return np.asarray(large, np.float32) / 255


def _written(font: Any, digit: int) -> Array:
    page = Image.new("L", (480, 480))
    ImageDraw.Draw(page).text((160, 120), str(digit), 255, font)
    return np.asarray(page, np.float32) / 255


def cut_out(shape: Array) -> Array:
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
    return cut_out(np.asarray(page.reduce(4), np.float32) / 255)


def scaled_to(shape: Array, height: int, pen: str, rng: Rng) -> Array:
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


def laid_out(
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
