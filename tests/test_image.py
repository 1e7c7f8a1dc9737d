"""Images of a person's own: read whatever they are, and made into what MNIST would have."""

import io
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitprop.data import load_dataset

pytest.importorskip("PIL")

from PIL import Image, ImageDraw

from jitprop.data import image as source
from jitprop.data.image import ImageError, picture_of, read_image
from jitprop.data.pieces import normalise, shapes_of
from jitprop.layers import SoftmaxCrossEntropy
from jitprop.training import fit, mlp

RESAMPLING = (
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
)


@pytest.fixture(scope="module")
def mnist():
    return load_dataset()


@pytest.fixture(scope="module")
def net(mnist):
    net = mlp(784, [50], 10, rng=0)
    loss = SoftmaxCrossEntropy()
    images, labels = mnist.train_images, mnist.train_labels
    fit(net, loss, images, labels, epochs=2, batch_size=100, rate=0.1, momentum=0.9, rng=0)
    return net


@pytest.fixture
def write(tmp_path):
    """Write an array or an image to a file and return its path."""

    def write(image, name="digit.png", **options):
        if isinstance(image, np.ndarray):
            image = Image.fromarray(image)
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return write


def errors(net, images, labels):
    x = np.stack(images).reshape(-1, 784).astype(np.float32) / np.float32(255)
    return int((net.fprop(x).argmax(axis=1) != labels).sum())


def enlarged(image, factor=8, resampling=Image.Resampling.BICUBIC):
    side = round(28 * factor)
    return np.asarray(Image.fromarray(image).resize((side, side), resampling))


def drawn(width=20, size=(400, 400), ink=0, paper=255, mode="L"):
    """A seven."""
    image = Image.new(mode, size, paper)
    x, y = size[0] / 400, size[1] / 400
    line = [(100 * x, 80 * y), (300 * x, 80 * y), (180 * x, 330 * y)]
    ImageDraw.Draw(image).line(line, ink, width, joint="curve")
    return image


def seen(path):
    return normalise(read_image(path)).astype(int)


def distance(a, b):
    """Mean difference of grey levels, as a share of the ink in `b`."""
    return np.abs(a.astype(int) - b).sum() / b.sum()


@pytest.mark.slow
def test_an_image_of_mnist_stays_as_it_is(mnist, write):
    """Full ink is the 90th percentile of inked pixels, so that levels move by a few of 255."""
    worst = []
    for image in mnist.test_images[:500]:
        digit = seen(write(image))
        assert digit.shape == (28, 28)
        worst.append(np.abs(digit - image).max())
    # Some have dust, which is left out, or a longer side of 19.
    assert np.mean(np.array(worst) <= 5) >= 0.98


@pytest.mark.slow
def test_changed_images_are_recognised(mnist, net, write):
    """400 test images, enlarged, shifted, padded, inverted, on coloured paper.

    At most 1.5 times the errors of the originals.
    """
    rng = np.random.default_rng(5)
    images, labels = mnist.test_images[:400], mnist.test_labels[:400]
    digits = []
    for image in images:
        ink = enlarged(image, rng.uniform(3, 7), RESAMPLING[rng.integers(3)])
        ink = np.pad(ink, rng.integers(0, len(ink) // 2, (2, 2)))[..., None] / np.float32(255)
        dark, light = (rng.integers(*ends, 3).astype(np.float32) for ends in ((0, 90), (165, 256)))
        picture = dark + (light - dark) * (ink if rng.random() < 0.5 else 1 - ink)
        digits.append(seen(write(np.rint(picture).astype(np.uint8), "digit.bmp")))  # soon written
    original = errors(net, images, labels)
    assert 8 < original < 30  # a network that learned, and errors enough to compare
    assert errors(net, digits, labels) <= 1.5 * original


def test_shifts_and_padding_change_nothing(mnist):
    """Paper is fitted over another area, and grey levels are rounded anew: one level of 255."""
    image = 255 - enlarged(mnist.test_images[0])
    expected = normalise(image).astype(int)
    for padding in (((300, 5), (0, 90)), ((7, 200), (500, 111))):
        moved = normalise(np.pad(image, padding, constant_values=255))
        assert np.abs(moved - expected).max() <= 2


def test_the_box_and_the_centre_of_mass():
    digit = normalise(np.asarray(drawn())).astype(float)
    rows, columns = np.flatnonzero(digit.any(axis=1)), np.flatnonzero(digit.any(axis=0))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert max(height, width) == 20
    assert abs(width - 20 * 210 / 265) <= 1  # of the lines' ends and half widths
    place = np.arange(28)
    for axis in (0, 1):
        assert abs((digit.sum(axis=axis) @ place) / digit.sum() - 14) <= 0.5
    assert digit.max() == 255
    assert len(np.unique(digit)) > 10  # grey levels from averaging


def test_what_does_not_fit_centred_is_not_cut():
    image = np.full((400, 400), 255)
    image[100:300, 100:130] = 0
    image[100:110, 100:300] = 0
    digit = normalise(image)
    assert np.ptp(np.flatnonzero(digit.any(axis=0))) == 19


def test_uneven_light_and_noise():
    rng = np.random.default_rng(3)
    y, x = np.mgrid[-1:1:400j, -1:1:400j]
    paper = 180 - 60 * x - 30 * y - 25 * x * x
    ink = 1 - np.asarray(drawn()) / 255
    photo = paper * (1 - 0.7 * ink) + rng.normal(0, 5, paper.shape)
    expected = normalise(np.asarray(drawn())).astype(int)
    assert distance(normalise(photo.clip(0, 255)), expected) < 0.1  # noise moves the box's edges
    # It is the fitted surface that does it: with even light in mind, the dark corner is ink.
    level = np.median(photo)
    assert np.mean(photo < level - 0.5 * np.ptp(paper)) > np.mean(ink > 0.5)


def test_dust_is_left_out_and_dots_of_ink_are_not():
    clean = normalise(np.asarray(drawn())).astype(int)
    dusty = drawn()
    draw = ImageDraw.Draw(dusty)
    for x, y in ((5, 9), (380, 390), (20, 370)):
        draw.ellipse((x, y, x + 6, y + 6), 0)
    assert np.abs(normalise(np.asarray(dusty)) - clean).max() <= 2
    assert len(shapes_of(np.asarray(dusty, np.float32))) == 1
    draw.rectangle((20, 300, 80, 360), 0)  # a sixth of the ink, or more
    assert len(shapes_of(np.asarray(dusty, np.float32))) == 2


@pytest.mark.parametrize("width", [1, 3, 50])
def test_thin_and_thick_pens_reach_full_ink(width):
    assert normalise(np.asarray(drawn(width))).max() == 255


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.png", {}), ("a.jpg", {"quality": 90}), ("a.bmp", {}), ("a.tif", {}), ("a.webp", {})],
)
def test_formats(name, options, write):
    expected = normalise(np.asarray(drawn())).astype(int)
    assert distance(seen(write(drawn(), name, **options)), expected) < 0.03  # JPEG's own loss


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "LA"])
def test_modes(mode, write):
    image = drawn()
    if mode in ("I;16", "I", "F"):
        levels = np.asarray(image, np.float64) * 12 + 300  # a camera's 12 bits
        image = Image.fromarray(levels.astype({"I;16": "u2", "I": "i4", "F": "f4"}[mode]))
    else:
        image = image.convert(mode)
    path = write(image, "a.tif")
    with Image.open(path) as opened:
        assert opened.mode == mode
    assert distance(seen(path), normalise(np.asarray(drawn())).astype(int)) < 0.01


def test_an_image_of_floats_that_are_none(write):
    levels = np.asarray(drawn(), np.float32)
    levels[0, :2] = np.nan, np.inf
    levels[0, 2] = -3e38
    with pytest.raises(ImageError):  # one level is all that can be told apart
        seen(write(np.full((50, 50), np.nan, np.float32), "a.tif"))
    with pytest.raises(ImageError):
        seen(write(levels, "a.tif"))


@pytest.mark.parametrize("level", [0, 255])
def test_ink_on_transparency(level, write):
    """Whatever colour is behind nothing."""
    alpha = Image.eval(drawn(), lambda v: 255 - v)
    for behind in (0, 255):
        image = Image.composite(
            Image.new("L", alpha.size, level), Image.new("L", alpha.size, behind), alpha
        ).convert("RGB")
        image.putalpha(alpha)
        assert distance(seen(write(image)), normalise(np.asarray(drawn())).astype(int)) < 0.01


@pytest.mark.parametrize(("ink", "paper"), [(0, 230), (230, 20)])
def test_transparent_corners_of_a_card(ink, paper, write):
    image = drawn(ink=ink, paper=paper).convert("RGB")
    alpha = Image.new("L", image.size, 0)
    ImageDraw.Draw(alpha).rounded_rectangle((0, 0, 399, 399), 60, 255)
    image.putalpha(alpha)
    assert distance(seen(write(image)), normalise(np.asarray(drawn())).astype(int)) < 0.01


def test_a_transparent_colour_of_a_palette(write):
    image = drawn().convert("P")
    path = write(image, "a.png", transparency=image.getpixel((0, 0)))
    assert distance(seen(path), normalise(np.asarray(drawn())).astype(int)) < 0.01


@pytest.mark.parametrize(("mode", "paper"), [("L", 10), ("RGB", (10, 10, 10))])
def test_one_colour_is_transparent(mode, paper, write):
    """And that colour would be too near to the ink's to see anything."""
    ink = (0,) * len(paper) if mode == "RGB" else 0
    path = write(drawn(ink=ink, paper=paper, mode=mode), transparency=paper)
    assert distance(seen(path), normalise(np.asarray(drawn())).astype(int)) < 0.01


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_the_first_frame_of_several(name, write):
    others = [Image.new("L", (400, 400), 255)] * 2
    options = {"lossless": True} if name == "a.webp" else {}
    path = write(drawn(), name, save_all=True, append_images=others, **options)
    with Image.open(path) as opened:
        assert opened.n_frames > 1
    assert distance(seen(path), normalise(np.asarray(drawn())).astype(int)) < 0.01


def test_a_camera_held_sideways(write):
    exif = Image.Exif()
    exif[source.ORIENTATION] = 6  # to be turned by 90 degrees clockwise
    path = write(drawn().rotate(90, expand=True), "a.jpg", exif=exif, quality=95)
    assert distance(seen(path), normalise(np.asarray(drawn())).astype(int)) < 0.03


@pytest.mark.slow
def test_a_large_image_is_averaged(write):
    path = write(drawn(200, (20000, 1500)), compress_level=1)
    grey = read_image(path)
    assert grey.shape == (75, 1000)
    assert len(np.unique(grey)) > 10
    wide = normalise(grey)
    assert np.ptp(np.flatnonzero(wide.any(axis=1))) < 4
    assert np.ptp(np.flatnonzero(wide.any(axis=0))) == 19


def test_a_large_photo_is_decoded_smaller(write, monkeypatch):
    path = write(drawn(200, (4096, 4096)), "a.jpg", quality=90)
    monkeypatch.setattr(source, "MAX_PIXELS", 1024 * 1024)
    assert read_image(path).shape == (1024, 1024)


@pytest.mark.slow
def test_bands_are_seamless(write, monkeypatch):
    image = np.asarray(drawn(8, (3001, 2999)).convert("RGBA"))
    path = write(image, compress_level=1)
    grey = read_image(path)
    monkeypatch.setattr(source, "BAND", 1)
    assert read_image(path).tobytes() == grey.tobytes()


def test_memory_is_bounded(write, monkeypatch):
    monkeypatch.setattr(source, "MAX_PIXELS", 160_000)
    read_image(write(drawn()))
    path = write(drawn(size=(401, 400)))
    with pytest.raises(ImageError, match=r"digit.png: 401 x 400 pixels, more than 160000"):
        read_image(path)
    monkeypatch.setattr(source, "MAX_BYTES", 100)
    with pytest.raises(ImageError, match=r"digit.png: more than 100 bytes"):
        read_image(path)


def test_a_header_that_promises_too_much_allocates_nothing():
    """Declared 60,000 x 60,000, above what Pillow opens, and 20,000 x 5,000, above our own."""
    for width, height in ((60000, 60000), (20000, 5000)):
        header = b"P5 %d %d 255\n" % (width, height)
        tracemalloc.start()
        with pytest.raises(ImageError, match="more than 67108864"):
            read_image(io.BytesIO(header + bytes(100)), "-")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2**22


@pytest.mark.parametrize(
    "content", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff", bytes(10000)]
)
def test_what_is_no_image(content):
    with pytest.raises(ImageError, match=r"\Amine\.png: [^\n]+\Z"):
        read_image(io.BytesIO(content), "mine.png")


def test_what_cannot_be_opened(tmp_path):
    for path in (tmp_path, tmp_path / "none.png", tmp_path / ("x" * 300)):
        with pytest.raises(ImageError, match=r"\A[^\n]+\Z") as caught:
            read_image(path)
        assert str(path) in str(caught.value)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data())
def test_damage_is_one_line_or_an_image(data):
    name = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM"]))
    file = io.BytesIO()
    drawn(6, (40, 40)).save(file, name)
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    try:
        digit = normalise(read_image(io.BytesIO(content[:cut] if cut % 2 else content), "it"))
        said = "it: "
    except ImageError as error:
        digit, said = np.zeros((28, 28)), str(error)
    assert digit.shape == (28, 28)
    assert said.startswith("it: ")
    assert "\n" not in said


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    kind=st.sampled_from(["noise", "bits", "dot", "half"]),
    seed=st.integers(0, 99),
)
def test_any_picture_has_a_digit_or_nothing(size, kind, seed):
    rng = np.random.default_rng(seed)
    grey = np.full(size, 255.0)
    if kind == "noise":
        grey = rng.uniform(0, 255, size)
    elif kind == "bits":
        grey = rng.choice([0.0, 255.0], size)
    elif kind == "dot":
        grey[rng.integers(size[0]), rng.integers(size[1])] = 0
    else:
        grey[size[0] // 2 :] = 0
    try:
        digit = normalise(grey)
    except ImageError:
        return
    assert digit.max() == 255
    assert digit.dtype == np.uint8
    assert max(np.ptp(np.flatnonzero(digit.any(axis=k))) for k in (0, 1)) <= 19


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (300, 300)])
def test_blank(size):
    for grey in (np.zeros(size), np.full(size, 255.0)):
        assert shapes_of(grey.astype(np.float32)) == []


def test_a_blank_page_with_noise():
    rng = np.random.default_rng(0)
    for deviation in (2, 20):
        page = rng.normal(200, deviation, (300, 300)).clip(0, 255).astype(np.float32)
        assert shapes_of(page) == []


@pytest.mark.parametrize("shape", [(), (3,), (0, 4), (4, 0), (5, 5, 3)])
def test_refuses_what_is_not_grey_levels(shape):
    with pytest.raises(ValueError, match="expected \\(rows, columns\\)"):
        picture_of(np.zeros(shape))


def test_importing_the_data_needs_no_pillow():
    code = "import sys, jitprop.data; assert 'PIL' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=3000)
