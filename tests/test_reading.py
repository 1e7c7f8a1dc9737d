"""Numbers on paper of all kinds: what is found, in which order, and what is said of it."""

import io
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import jitprop
from jitprop.data import load_dataset
from jitprop.layers import Module

pytest.importorskip("PIL")
pytest.importorskip("scipy")

from PIL import Image, ImageDraw

from jitprop.data import ink as ink_source
from jitprop.data import pieces as pieces_source
from jitprop.data.image import ImageError, picture_of
from jitprop.data.pieces import BORDER, halves, shapes_of

ROWS, COLUMNS = 420, 520

# Strokes of digits in a box of 1 x 1, as (x, y).
STROKES = {
    1: [[(0.5, 0), (0.5, 1)]],
    2: [[(0, 0.1), (0.5, 0), (0.9, 0.25), (0.1, 1), (1, 1)]],
    4: [[(0.6, 0), (0, 0.65), (1, 0.65)], [(0.7, 0.3), (0.7, 1)]],
    5: [
        [(0.1, 0.12), (0.1, 0.5), (0.6, 0.4), (0.95, 0.7), (0.5, 1), (0, 0.9)],
        [(0.1, 0), (0.9, 0)],
    ],
    7: [[(0, 0), (1, 0), (0.35, 1)]],
}


def written(digits, size=(COLUMNS, ROWS), height=160, pen=14, at=None):
    """Return ink, 0 to 1, of digits side by side."""
    image = Image.new("L", size)
    draw = ImageDraw.Draw(image)
    width = 0.55 * height
    x, y = at or ((size[0] - len(digits) * 1.5 * width) / 2, (size[1] - height) / 2)
    for digit in digits:
        for stroke in STROKES[digit]:
            draw.line([(x + width * a, y + height * b) for a, b in stroke], 255, pen, "curve")
        x += 1.5 * width
    return np.asarray(image, np.float32) / 255


def photo(ink, lines=(), light=1.0, noise=2.0, dark=0.85, printed=0.3, angle=0.0):
    """Return grey levels of a photograph of ink on paper."""
    paper = np.ones_like(ink)
    y, x = np.mgrid[: ink.shape[0], : ink.shape[1]]
    slope = np.tan(np.radians(angle))
    if "ruled" in lines:
        paper[(y + slope * x) % 60 < 2] -= printed
    if "squared" in lines:
        paper[((y + slope * x) % 47 < 2) | ((x - slope * y) % 47 < 2)] -= printed
    grey = 225 * paper * (1 - dark * ink) * light
    return (grey + np.random.default_rng(0).normal(0, noise, ink.shape)).clip(0, 255)


def shadow(wide):
    """Return light with a shadow of a hand, whose edge is as wide."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    edge = np.minimum(x - 0.4 * y - 120, 0.5 * x + y - 330)
    return 1 - 0.5 / (1 + np.exp(-np.clip(edge / wide, -50, 50)))


PAPER = {
    "plain": {},
    "ruled": {"lines": "ruled"},
    "squared": {"lines": "squared"},
    "turned": {"lines": "squared", "angle": 9},
    "dark lines": {"lines": "squared", "printed": 0.45},
    "noise": {"noise": 18},
    "soft shadow": {"light": shadow(50)},
    "hard shadow": {"light": shadow(2)},
    "hard shadow, ruled": {"light": shadow(2), "lines": "ruled"},
    "pencil, squared": {"dark": 0.45, "lines": "squared"},
}


def found(grey):
    return shapes_of(np.asarray(grey, np.float32))


def as_jpeg(grey):
    file = io.BytesIO()
    Image.fromarray(np.asarray(grey).astype(np.uint8)).save(file, "JPEG", quality=20)
    return picture_of(io.BytesIO(file.getvalue())).grey


@pytest.mark.parametrize("kind", PAPER)
def test_the_box_is_that_of_the_ink(kind):
    """Also inverted, and after JPEG's worst; boxes within a few pixels of blur and line."""
    ink = written([5])
    rows, columns = (np.flatnonzero((ink > 0.5).any(axis=axis)) for axis in (1, 0))
    expected = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    grey = photo(ink, **PAPER[kind])
    for picture in (grey, 255 - grey, as_jpeg(grey)):
        (shape,) = found(picture)
        assert np.abs(np.subtract(shape.box, expected)).max() <= 6
        clean = found(photo(ink))[0].pixels.astype(int)
        assert np.abs(shape.pixels - clean).sum() / clean.sum() < 0.3


@pytest.mark.parametrize("kind", PAPER)
def test_blank_paper_shows_nothing(kind):
    grey = photo(np.zeros((ROWS, COLUMNS), np.float32), **PAPER[kind])
    for picture in (grey, 255 - grey, as_jpeg(grey)):
        assert found(picture) == []


@pytest.mark.parametrize("kind", ["plain", "ruled", "squared"])
def test_numbers_are_in_reading_order(kind):
    """A row that falls, and one below it."""
    digits = [2, 1, 4, 5]
    ink = np.zeros((500, 900), np.float32)
    for i, digit in enumerate(digits):
        for top in (40 + 30 * i, 270 + 30 * i):
            place = (40 + 200 * i, top)
            ink = np.maximum(ink, written([digit], (900, 500), 110, 10, place))
    shapes = found(photo(ink, **PAPER[kind]))
    assert len(shapes) == 8
    lefts, tops = [shape.box[0] for shape in shapes], [shape.box[1] for shape in shapes]
    assert lefts[:4] == sorted(lefts[:4])
    assert lefts[4:] == sorted(lefts[4:])
    assert max(tops[i] - 30 * i for i in range(4)) < min(tops[4 + i] - 30 * i for i in range(4))


def test_a_broken_digit_is_one_and_says_so():
    whole, broken = found(photo(written([7]))), found(photo(written([5], height=200, pen=10)))
    assert len(whole) == len(broken) == 1
    assert broken[0].signs == ("several pieces",)
    assert whole[0].signs == ()


def test_dust_is_no_digit():
    ink = written([2, 4])
    for x, y in ((30, 40), (480, 380), (260, 30)):
        ink[y : y + 5, x : x + 5] = 1
    assert len(found(photo(ink))) == 2


@pytest.mark.parametrize("pen", [1, 2, 4])
def test_thin_strokes_become_as_wide_as_others(pen):
    (thin,) = found(photo(written([2], (800, 800), 500, pen)))
    (usual,) = found(photo(written([2], (800, 800), 500, 50)))
    assert "strokes thin" in thin.signs
    assert "strokes thin" not in usual.signs
    assert thin.pixels.sum() > 0.6 * usual.pixels.sum()


def test_ink_at_the_border_is_seen_and_said():
    ink = written([7], at=(0, 100))
    for turns in range(4):
        (shape,) = found(np.rot90(photo(ink), turns))
        assert BORDER in shape.signs


def test_a_picture_that_ink_fills():
    ink = written([4])
    rows, columns = (np.flatnonzero((ink > 0.5).any(axis=axis)) for axis in (1, 0))
    tight = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    small = np.asarray(Image.fromarray(255 - 255 * tight).resize((8, 12), Image.Resampling.BOX))
    (shape,) = found(small)
    assert BORDER in shape.signs
    assert shape.box == (0, 0, 8, 12)


def test_digits_that_touch_can_be_cut():
    ink = written([2, 2], at=(60, 130))
    ink[286:294, 140:200] = 1
    (shape,) = found(photo(ink))
    assert shape.signs == ("as wide as several digits",)
    for left, right in halves(shape):
        assert left.signs == right.signs == ("cut from a wide shape",)
        assert shape.box[0] <= left.box[0] < left.box[2] <= right.box[0] < right.box[2]
        assert right.box[2] <= shape.box[2]
    cuts = [left.box[2] for left, _ in halves(shape)]
    assert any(140 <= cut <= 200 for cut in cuts)
    assert halves(found(photo(written([2])))[0]) == []


class First(Module):
    """A network that takes all for a 3, more surely the more ink there is."""

    def fprop(self, x):
        logits = np.zeros((len(x), 10), np.float32)
        logits[:, 3] = x.sum(axis=1) / 20
        return logits

    def bprop(self, dy, need_dx=True):
        raise NotImplementedError


def test_read_digits_takes_files_and_arrays(tmp_path):
    grey = photo(written([1, 2, 5])).astype(np.uint8)
    path = tmp_path / "number.png"
    Image.fromarray(grey).save(path)
    net = First()
    answers = jitprop.read_digits(grey, net)
    assert len(answers) == 3
    for one in answers:
        assert type(one.digit) is int
        assert type(one.probability) is float
        assert one.digit == 3
        assert one.probability == one.probabilities[3] == max(one.probabilities)
        assert len(one.probabilities) == 10
        assert one.doubt is None or one.doubt.startswith("unsure")
    assert answers == jitprop.read_digits(path, net) == jitprop.read_digits(str(path), [net])
    with path.open("rb") as file:
        assert jitprop.read_digits(file, net) == answers
    assert jitprop.read_digits(np.full((300, 300), 200), net) == []
    with pytest.raises(AttributeError):
        answers[0].digit = 4


def test_boxes_are_in_pixels_of_the_picture(tmp_path):
    """Of a large one that a camera holds sideways, as it is looked at."""
    small = photo(written([2, 7]))
    large = Image.fromarray(small.astype(np.uint8)).resize((4 * COLUMNS, 4 * ROWS))
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "large.jpg"
    large.rotate(90, expand=True).save(path, quality=90, exif=exif)
    near = jitprop.read_digits(small, First())
    far = jitprop.read_digits(path, First())
    assert len(far) == 2
    for one, other in zip(near, far, strict=True):
        assert np.abs(4 * np.array(one.box) - other.box).max() <= 16


def test_mnist_is_read_with_the_network_of_the_package():
    """Numbers of test images on squared paper, written with a thick pen."""
    mnist = load_dataset()
    wrong = 0
    for i in range(0, 60, 3):
        ink = np.zeros((220, 560), np.float32)
        for k in range(3):
            image = Image.fromarray(mnist.test_images[i + k]).resize((140, 140))
            ink[40:180, 40 + 170 * k : 180 + 170 * k] = np.asarray(image, np.float32) / 255
        answers = jitprop.read_digits(photo(ink, lines="squared"))
        wrong += [one.digit for one in answers] != mnist.test_labels[i : i + 3].tolist()
    assert wrong <= 3  # of 20


def test_doubt_has_reasons():
    class Unsure(First):
        def fprop(self, x):
            return np.zeros((len(x), 10), np.float32)

    (one,) = jitprop.read_digits(photo(written([7])), Unsure())
    assert one.doubt == "unsure"
    (one,) = jitprop.read_digits(photo(written([7], at=(0, 100))), Unsure())
    assert one.doubt == f"unsure: {BORDER}"
    (one,) = jitprop.read_digits(photo(written([7], (800, 800), 500, 2)), Unsure())
    assert one.doubt == "unsure: strokes thin"


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 4, 3)), r"shape \(3, 4, 3\).*expected \(rows, columns\)"),
        (np.zeros((0, 3)), r"expected \(rows, columns\)"),
        (np.array([["a"]]), "dtype <U1"),
        (np.zeros((5, 5), bool), "dtype bool"),
        (np.full((5, 5), 256), "levels of 256 to 256: expected 0 to 255"),
        (np.full((5, 5), -1.0), "levels of -1 to -1"),
        (np.full((5, 5), np.nan), "levels of nan to nan"),
        (np.linspace(0, 1, 25).reshape(5, 5), "not 0 to 1"),
    ],
)
def test_refuses_what_is_no_picture(array, message):
    with pytest.raises(ValueError, match=message):
        jitprop.read_digits(array, First())


def test_refuses_files_in_one_line(tmp_path):
    with pytest.raises(ImageError, match=r"none\.png: No such file"):
        jitprop.read_digits(tmp_path / "none.png", First())
    with pytest.raises(ImageError, match="image: empty"):
        jitprop.read_digits(io.BytesIO(), First())


@pytest.mark.parametrize(("package", "name"), [("PIL", "Pillow"), ("scipy", "SciPy")])
def test_without_what_pictures_need(package, name):
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "import jitprop\n"
        "try: jitprop.read_digits('a.png')\n"
        "except ModuleNotFoundError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == f"reading images needs {name}: pip install 'jitprop[images]'\n"


def test_a_picture_full_of_pieces_ends_soon():
    """Of squares, bits and stripes only so many pieces are looked at."""
    rng = np.random.default_rng(0)
    bits = rng.choice([30.0, 220.0], (600, 800))
    squares = rng.choice([30.0, 220.0], (75, 100), p=[0.2, 0.8]).repeat(8, 0).repeat(8, 1)
    stripes = np.where(np.arange(800) % 16 < 3, 30.0, 220.0) * np.ones((600, 1))
    for grey in (bits, squares, stripes):
        assert len(found(grey)) <= pieces_source.MOST


def test_work_and_memory_do_not_grow_with_the_picture(monkeypatch):
    """12 million pixels are averaged first; then nothing is larger than a few of what is left."""
    small = photo(written([5]))
    grey = np.asarray(Image.fromarray(small.astype(np.float32)).resize((4000, 3000))).clip(0, 255)
    seen = []
    paper = ink_source._paper
    monkeypatch.setattr(ink_source, "_paper", lambda x: seen.append(x.shape) or paper(x))
    picture = picture_of(grey)
    assert max(picture.grey.shape) <= 1024
    tracemalloc.start()
    assert len(shapes_of(picture.grey)) == 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * picture.grey.size
    assert len(seen) == 1
