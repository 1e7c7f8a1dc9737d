"""data/: the IDX reader, the embedded MNIST, and folders of IDX files under every usual name."""

import gzip
import hashlib
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from jitprop.data import DataError, Dataset, load_dataset, read_idx
from jitprop.data.dataset import EMBEDDED

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
# Published with the data set; the same sums stand in data/mnist/README.md.
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
reproducible = settings(derandomize=True, database=None, deadline=None, max_examples=100)


def header(code: int, *shape: int) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape)


def encode(array: np.ndarray) -> bytes:
    """The IDX file of `array`, written from the format's description."""
    code = CODES[array.dtype.str[1:]]
    return header(code, *array.shape) + array.astype(array.dtype.newbyteorder(">")).tobytes()


def zipped(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


IMAGES = np.arange(5 * 3 * 4, dtype=np.uint8).reshape(5, 3, 4)
LABELS = np.array([0, 3, 1, 2, 3], np.uint8)
SMALL = encode(IMAGES)


def write(folder: Path, **changes: np.ndarray | bytes | None) -> Path:
    """A folder with a small valid set, but for `changes`, by train_images and so on."""
    files = {
        "train_images": ("train-images-idx3-ubyte", IMAGES),
        "train_labels": ("train-labels-idx1-ubyte", LABELS),
        "test_images": ("t10k-images-idx3-ubyte", IMAGES[:2]),
        "test_labels": ("t10k-labels-idx1-ubyte", LABELS[:2]),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for role, (name, original) in files.items():
        content = changes.get(role, original)
        if content is not None:
            data = content if isinstance(content, bytes) else encode(content)
            (folder / name).write_bytes(data)
    return folder


def assert_small_set(dataset: Dataset, name: str) -> None:
    np.testing.assert_array_equal(dataset.train_images, IMAGES, strict=True)
    np.testing.assert_array_equal(dataset.train_labels, LABELS, strict=True)
    np.testing.assert_array_equal(dataset.test_images, IMAGES[:2], strict=True)
    np.testing.assert_array_equal(dataset.test_labels, LABELS[:2], strict=True)
    assert (dataset.classes, dataset.name) == (4, name)


def error_of(call, argument: Path) -> str:
    """The message with which `call` refuses, which must be one line that names the path."""
    with pytest.raises(DataError) as caught:
        call(argument)
    message = str(caught.value)
    assert message.startswith(str(argument))
    assert "\n" not in message
    return message


# --- read_idx ---


@pytest.mark.parametrize("pack", [bytes, zipped])
@pytest.mark.parametrize("dtype", CODES)
def test_reads_every_type(tmp_path, dtype, pack):
    array = np.array([[-2, -1, 0], [1, 100, 127]]).astype(dtype)
    path = tmp_path / "file"
    path.write_bytes(pack(encode(array)))
    result = read_idx(str(path))
    np.testing.assert_array_equal(result, array, strict=True)
    assert result.flags.c_contiguous
    assert result.flags.writeable
    assert result.dtype.isnative


def test_reads_more_than_one_chunk(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (3, 1000, 999), np.uint8)
    for pack in (bytes, zipped):
        (tmp_path / "file").write_bytes(pack(encode(array)))
        np.testing.assert_array_equal(read_idx(tmp_path / "file"), array)


def test_reads_gzip_of_several_members(tmp_path):
    (tmp_path / "file").write_bytes(zipped(SMALL[:20]) + zipped(SMALL[20:]))
    np.testing.assert_array_equal(read_idx(tmp_path / "file"), IMAGES)


@pytest.mark.parametrize("pack", [bytes, zipped])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\0\0\x08", "starts with 00 00 08"),
        (b"\x89PNG\r\n\x1a\n", "starts with 89 50 4e 47"),
        (b"\0\0\x0a\x01\0\0\0\x01\0", "not an IDX file"),
        (header(0x08), "declares 0 dimensions"),
        (header(0x08, *[1] * 33) + b"\0", "declares 33 dimensions"),
        (header(0x08, 5, 3, 4)[:-1], "truncated within its header of 16 bytes"),
        (header(0x08, 0, 28, 28), "declares 0x28x28 values of type uint8"),
        (SMALL[:-1], "declares 5x3x4 values of type uint8, 60 bytes, but holds only 59"),
        (SMALL[:16], "holds only 0"),
        (SMALL + b"\0", "60 bytes, but holds more"),
        (header(0x0E, 2) + bytes(15), "declares 2 values of type float64, 16 bytes"),
    ],
)
def test_refuses_wrong_content(tmp_path, content, problem, pack):
    path = tmp_path / "file"
    path.write_bytes(pack(content))
    assert problem in error_of(read_idx, path)


@pytest.mark.parametrize(
    "content",
    [
        zipped(SMALL)[:15],
        zipped(SMALL)[:-1],
        zipped(SMALL)[:-8] + b"\xff" * 8,
        zipped(SMALL)[:10] + b"\xff" * 20,
        zipped(SMALL) + b"tail",
        b"\x1f\x8b\x07",
    ],
    ids=["cut early", "cut late", "checksum", "deflate", "tail", "method"],
)
def test_refuses_damaged_gzip(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert "gzip" in error_of(read_idx, path)


def test_refuses_what_cannot_be_opened(tmp_path):
    assert "No such file" in error_of(read_idx, tmp_path / "absent")
    assert "directory" in error_of(read_idx, tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (header(0x08, 10, 10**9) + b"\0", "holds only 1"),
        (header(0x0E, *[2**32 - 1] * 8) + b"\0", "holds only 1"),
        (zipped(header(0x08, 10, 10**9) + b"\0"), "decompress the file first"),
        (zipped(header(0x08, 2**30) + b"\0"), "holds only 1"),
        (zipped(header(0x08, 10) + bytes(10**8)), "holds more"),
    ],
    ids=["10 GB", "2**259", "10 GB in gzip", "1 GiB in gzip", "gzip bomb"],
)
def test_memory_is_bounded(tmp_path, content, problem):
    path = tmp_path / "file"
    path.write_bytes(content)
    del content
    tracemalloc.start()
    try:
        message = error_of(read_idx, path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert problem in message
    assert peak < 8 * 2**20  # a few chunks of 1 MiB, where the files speak of 0.1 to 10 GB


arrays = st.sampled_from([np.dtype(code) for code in CODES]).flatmap(
    lambda dtype: npst.arrays(dtype, npst.array_shapes(max_dims=5, max_side=6))
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "file"


@reproducible
@given(array=arrays, compress=st.booleans())
def test_round_trip(scratch, array, compress):
    scratch.write_bytes(zipped(encode(array)) if compress else encode(array))
    np.testing.assert_array_equal(read_idx(scratch), array, strict=True)


@reproducible
@given(array=arrays, compress=st.booleans(), data=st.data())
def test_any_truncation_is_refused(scratch, array, compress, data):
    content = zipped(encode(array)) if compress else encode(array)
    scratch.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    error_of(read_idx, scratch)


@pytest.mark.slow
@settings(reproducible, max_examples=400)
@given(array=arrays, compress=st.booleans(), data=st.data())
def test_any_corruption_is_refused_or_read_for_what_it_is(scratch, array, compress, data):
    content = bytearray(zipped(encode(array)) if compress else encode(array))
    # Header and data alike: half of the positions fall within the first 20 bytes.
    anywhere = st.integers(0, len(content) - 1)
    position = st.one_of(st.integers(0, min(19, len(content) - 1)), anywhere)
    for at, value in data.draw(st.lists(st.tuples(position, st.integers(0, 255)), max_size=4)):
        content[at] = value
    scratch.write_bytes(content)
    try:
        result = read_idx(scratch)
    except DataError:
        return
    # Under gzip the checksum guards the data. A raw file has none: whatever it now declares and
    # holds must come back, so that writing it again gives the same bytes.
    assert encode(result) == (encode(array) if compress else bytes(content))


# --- The embedded MNIST ---


@pytest.mark.parametrize("name", SHA256)
def test_embedded_files_are_the_published_ones(name):
    packed = (EMBEDDED / f"{name}.gz").read_bytes()
    assert hashlib.sha256(gzip.decompress(packed)).hexdigest() == SHA256[name]
    # Neither time nor file name in the gzip header: packing again gives the same file.
    assert packed[3:8] == bytes(5)
    assert SHA256[name] in (EMBEDDED / "README.md").read_text(encoding="utf-8")


def test_embedded_set():
    mnist = load_dataset()
    assert (mnist.classes, mnist.name) == (10, "MNIST")
    for images, labels, n in (
        (mnist.train_images, mnist.train_labels, 60_000),
        (mnist.test_images, mnist.test_labels, 10_000),
    ):
        assert (images.shape, images.dtype) == ((n, 28, 28), np.uint8)
        assert (labels.shape, labels.dtype) == ((n,), np.uint8)
        assert images.flags.c_contiguous
        assert labels.flags.c_contiguous
    np.testing.assert_array_equal(mnist.train_labels[:5], [5, 0, 4, 1, 9])
    np.testing.assert_array_equal(mnist.test_labels[:5], [7, 2, 1, 0, 4])


# --- Folders ---


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("joint", ["-idx", ".idx"])
@pytest.mark.parametrize("test", ["t10k", "test"])
@pytest.mark.parametrize("prefix", ["", "qmnist-", "Fashion-MNIST-", "emnist-letters-"])
def test_every_naming(tmp_path, prefix, test, joint, suffix):
    source = write(tmp_path / "source")
    folder = tmp_path / "digits"
    folder.mkdir()
    for path in source.iterdir():
        name = prefix + path.name.replace("t10k", test).replace("-idx", joint) + suffix
        (folder / name).write_bytes(zipped(path.read_bytes()) if suffix else path.read_bytes())
    (folder / "readme.txt").write_text("ignored")
    (folder / "._train-images-idx3-ubyte").write_text("ignored")
    dataset = load_dataset(str(folder))
    assert dataset.transposed == prefix.startswith("emnist")
    upright = dataset.transpose() if dataset.transposed else dataset
    assert_small_set(upright, prefix.lower().rstrip("-") or "digits")


def rename(folder: Path, prefix: str) -> None:
    for path in sorted(folder.glob("t*")):
        path.rename(folder / f"{prefix}{path.name}")


@pytest.mark.parametrize("prefix", ["emnist-digits-", "EMNIST-Letters-", "my-emnist-", "emnist_a-"])
@pytest.mark.parametrize("transpose", [None, True, False])
def test_emnist_is_turned_upright(tmp_path, prefix, transpose):
    rename(write(tmp_path), prefix)
    dataset = load_dataset(tmp_path, transpose=transpose)
    turned = transpose is not False
    expected = IMAGES.transpose(0, 2, 1) if turned else IMAGES
    np.testing.assert_array_equal(dataset.train_images, expected, strict=True)
    np.testing.assert_array_equal(dataset.test_images, expected[:2], strict=True)
    assert dataset.train_images.flags.c_contiguous
    assert dataset.transposed == turned
    assert dataset.name == prefix.lower().rstrip("-")
    other = load_dataset(tmp_path, transpose=not turned)
    assert dataset.sha256() == other.transpose().sha256() != other.sha256()


@pytest.mark.parametrize("prefix", ["", "kmnist-", "femnist-"])
def test_no_other_set_is_turned_unless_asked(tmp_path, prefix):
    folder = tmp_path / "EMNIST"
    rename(write(folder), prefix)
    assert_small_set(load_dataset(folder), prefix.rstrip("-") or "EMNIST")
    assert load_dataset(folder, transpose=True).train_images.shape == (5, 4, 3)


def test_transpose_is_yes_no_or_none(tmp_path):
    with pytest.raises(TypeError, match="transpose is 'no', expected True, False or None"):
        load_dataset(write(tmp_path), transpose="no")


def test_labels_are_those_of_the_files(tmp_path):
    """Of EMNIST's letters, from 1 on: class k is label k."""
    rename(write(tmp_path, train_labels=LABELS + 23, test_labels=LABELS[:2] + 1), "emnist-letters-")
    letters = load_dataset(tmp_path)
    np.testing.assert_array_equal(letters.train_labels, LABELS + 23)
    assert letters.classes == 27


def test_each_file_may_have_its_own_form(tmp_path):
    folder = write(tmp_path / "mixed", test_images=None, train_labels=None)
    (folder / "test-images.idx3-ubyte.gz").write_bytes(zipped(encode(IMAGES[:2])))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(encode(LABELS))  # not in fact compressed
    assert_small_set(load_dataset(folder), "mixed")


def test_raw_wins_over_gzip(tmp_path):
    folder = write(tmp_path / "both")
    for path in list(folder.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(b"damaged")
    assert_small_set(load_dataset(folder), "both")


def test_folder_of_a_files_name_is_no_file(tmp_path):
    folder = write(tmp_path / "digits", train_images=None)
    (folder / "train-images-idx3-ubyte").mkdir()
    (folder / "train-images.idx3-ubyte").write_bytes(SMALL)
    assert_small_set(load_dataset(folder), "digits")


@pytest.mark.parametrize("given", [".", "FashionMNIST", "FashionMNIST/raw"])
def test_torchvision_layout(tmp_path, given):
    write(tmp_path / "FashionMNIST" / "raw")
    assert_small_set(load_dataset(tmp_path / given), "FashionMNIST")


def test_nearest_files_win(tmp_path):
    write(tmp_path / "outer" / "raw", train_images=b"damaged")
    assert_small_set(load_dataset(write(tmp_path / "outer")), "outer")


def test_current_folder_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(write(tmp_path / "here"))
    assert_small_set(load_dataset("."), "here")


def test_qmnist_labels(tmp_path):
    folder = tmp_path / "qmnist"
    folder.mkdir()
    extended = np.random.default_rng(0).integers(0, 60_000, (5, 8)).astype(np.int32)
    extended[:, 0] = LABELS
    for split in ("train", "test"):
        (folder / f"qmnist-{split}-images-idx3-ubyte.gz").write_bytes(zipped(SMALL))
        (folder / f"qmnist-{split}-labels-idx2-int.gz").write_bytes(zipped(encode(extended)))
    dataset = load_dataset(folder)
    assert dataset.classes == 4
    assert dataset.train_labels.flags.c_contiguous
    np.testing.assert_array_equal(dataset.train_labels, LABELS.astype(np.int32), strict=True)


def test_any_size_and_number_of_classes(tmp_path):
    images = np.zeros((2, 1, 70), np.uint8)
    labels = np.array([0, 300], np.int16)
    changes = {"train_images": images, "test_images": images, "train_labels": labels}
    dataset = load_dataset(write(tmp_path, **changes))
    assert dataset.train_images.shape == (2, 1, 70)
    assert dataset.classes == 301


def test_classes_count_the_test_labels(tmp_path):
    folder = write(tmp_path, test_labels=np.array([9, 0], np.uint8))
    assert load_dataset(folder).classes == 10


def test_dataset_is_frozen(tmp_path):
    dataset = load_dataset(write(tmp_path))
    with pytest.raises(AttributeError):
        dataset.classes = 2  # type: ignore[misc]


def test_refuses_what_is_no_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert error_of(load_dataset, tmp_path / "absent").endswith("No such file or directory")
    assert error_of(load_dataset, tmp_path / "file").endswith("Not a directory")
    assert error_of(load_dataset, tmp_path / ("x" * 300)).endswith("File name too long")


@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("train_images", "train-images-idx3-ubyte"),
        ("train_labels", "train-labels-idx1-ubyte"),
        ("test_images", "t10k-images-idx3-ubyte or test-images-idx3-ubyte"),
        ("test_labels", "t10k-labels-idx1-ubyte or test-labels-idx1-ubyte"),
    ],
)
def test_refuses_missing_file(tmp_path, role, names):
    message = error_of(load_dataset, write(tmp_path, **{role: None}))
    assert f"no {role.replace('_', ' ')}; looked for {names}" in message


def test_refuses_empty_folder(tmp_path):
    assert "no train images; looked for" in error_of(load_dataset, tmp_path)


def test_of_several_sets_one_is_named(tmp_path):
    """As EMNIST's archive has them, side by side."""
    for name in ("emnist-letters", "emnist-digits", ""):
        rename(write(tmp_path), f"{name}-" if name else "")
    message = error_of(load_dataset, tmp_path)
    assert message.endswith(
        f": holds several sets (emnist-digits, emnist-letters, .); name one, as in "
        f"{tmp_path / 'emnist-digits'}, or give each a folder of its own"
    )
    for name in ("emnist-digits", "EMNIST-Letters"):
        one = load_dataset(tmp_path / name)
        assert_small_set(one.transpose(), name.lower())
        assert [path.name.startswith(name.lower()) for path in one.files] == [True] * 4
    missing = error_of(load_dataset, tmp_path / "emnist-balanced")
    assert missing.endswith("No such file or directory")


def test_a_set_is_named_in_the_folder_below(tmp_path):
    raw = tmp_path / "EMNIST" / "raw"
    for name in ("emnist-letters-", "emnist-digits-"):
        rename(write(raw), name)
    assert f"as in {raw / 'emnist-digits'}, or" in error_of(load_dataset, tmp_path)
    assert load_dataset(raw / "emnist-letters").name == "emnist-letters"
    assert load_dataset(raw.parent / "emnist-letters").name == "emnist-letters"


@pytest.mark.parametrize("below", ["MNIST/raw", "KMNIST/raw"])
def test_names_the_folder_of_several(tmp_path, below):
    write(tmp_path / "MNIST" / "raw")
    write(tmp_path / "KMNIST" / "raw")
    assert below in error_of(load_dataset, tmp_path)


@pytest.mark.parametrize(
    ("changes", "blamed", "problem"),
    [
        ({"train_images": b"damaged"}, "train-images-idx3-ubyte", "not an IDX file"),
        ({"test_labels": header(8, 0)}, "t10k-labels-idx1-ubyte", "must be at least 1"),
        (
            {"train_images": IMAGES.reshape(5, 12)},
            "train-images-idx3-ubyte",
            "2-dimensional uint8, expected images, rows and columns of uint8",
        ),
        (
            {"train_images": IMAGES.astype(np.float32)},
            "train-images-idx3-ubyte",
            "3-dimensional float32",
        ),
        (
            {"test_labels": LABELS[:2].astype(np.float32)},
            "t10k-labels-idx1-ubyte",
            "1-dimensional float32, expected one integer label per image",
        ),
        (
            {"train_labels": np.eye(5, dtype=np.uint8)},
            "train-labels-idx1-ubyte",
            "2-dimensional uint8",
        ),
        (
            {"train_labels": LABELS[:4]},
            "train-labels-idx1-ubyte",
            "4 labels for 5 images of train-images-idx3-ubyte",
        ),
        (
            {"test_labels": np.array([2, -1], np.int8)},
            "t10k-labels-idx1-ubyte",
            "labels from -1 to 2, expected within 0 to 65535",
        ),
        (
            {"train_labels": LABELS.astype(np.int32) << 16},
            "train-labels-idx1-ubyte",
            "labels from 0 to 196608",
        ),
        (
            {"test_images": IMAGES[:2, :2]},
            "t10k-images-idx3-ubyte",
            "images of 2x4 pixels, but those of train-images-idx3-ubyte have 3x4",
        ),
    ],
)
def test_refuses_files_that_do_not_fit(tmp_path, changes, blamed, problem):
    write(tmp_path, **changes)
    message = error_of(lambda path: load_dataset(path.parent), tmp_path / blamed)
    assert problem in message
