"""Labelled images, a training and a test set, from the embedded MNIST or a folder of IDX files."""

import hashlib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jitprop.data.idx import DataError, read_idx

EMBEDDED = Path(__file__).parent / "mnist"
LEVELS = ("*", "raw/*", "*/raw/*")  # torchvision keeps its files in MNIST/raw
# A name is [set-]split-kind-idxN-type[.gz]: train-images-idx3-ubyte, t10k-labels.idx1-ubyte.gz,
# emnist-letters-test-images-idx3-ubyte.gz, qmnist-train-labels-idx2-int.gz.
NAME = re.compile(
    r"(?P<set>.*-)?(?P<split>train|t10k|test)-(?P<kind>images|labels)[-.]idx\d-(ubyte|int)(\.gz)?",
    re.IGNORECASE,
)
EMNIST = re.compile(r"(^|[^a-z])emnist", re.IGNORECASE)  # its files hold transposed images
WANTED = {
    "train images": "train-images-idx3-ubyte",
    "train labels": "train-labels-idx1-ubyte",
    "test images": "t10k-images-idx3-ubyte or test-images-idx3-ubyte",
    "test labels": "t10k-labels-idx1-ubyte or test-labels-idx1-ubyte",
}
QMNIST_COLUMNS = 8  # its labels: class, NIST series, writer, digit, NIST class, index, 2 unused
MAX_CLASSES = 2**16  # a larger label in an int32 file is damage; it would size the last layer


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images for training and for the test.

    Attributes
    ----------
    train_images, test_images : (n, rows, cols) uint8
        C-contiguous; in MNIST 0 is background and 255 is ink. rows and cols agree between the two.
    train_labels, test_labels : (n,) uint8 (QMNIST: int32)
        Class indices below `classes`, as in the files.
    classes : int
        The largest label plus one, so that class k is label k. EMNIST's letters have labels 1 to
        26: that makes 27 classes, and class 0 has no image.
    name : str
        For people to read.
    files : tuple of Path
        The files that hold all this.
    transposed : bool
        Whether the images are the transposes of those in the files.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: int
    name: str
    files: tuple[Path, ...] = ()
    transposed: bool = False

    def transpose(self) -> "Dataset":
        """Return the same set with rows and columns of each image swapped."""
        train, test = (
            np.ascontiguousarray(images.transpose(0, 2, 1))
            for images in (self.train_images, self.test_images)
        )
        return replace(self, train_images=train, test_images=test, transposed=not self.transposed)

    def sha256(self) -> str:
        """Return the SHA-256, in hexadecimal, over all images and labels."""
        digest = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def load_dataset(
    folder: str | os.PathLike[str] | None = None, transpose: bool | None = None
) -> Dataset:
    """Load the embedded MNIST, or the one set whose IDX files lie in `folder`.

    The folder (or `raw` or `*/raw` in it) holds four files with names as in MNIST, Fashion-MNIST,
    KMNIST, EMNIST or QMNIST, raw or gzip-compressed. If a file is there in both forms, the raw one
    is read. If several sets lie in a folder, as in EMNIST's archive, add the name of one to the
    path: `folder/emnist-letters`. QMNIST's extended labels are reduced to the class.

    Parameters
    ----------
    folder : path or None
        None for the embedded MNIST.
    transpose : bool or None
        Whether to swap rows and columns of each image. None does so for files whose names say
        EMNIST: in that set the characters lie on their side, mirrored.

    Returns
    -------
    Dataset
        All images and labels.

    Raises
    ------
    DataError
        A file is missing or wrong, or the files do not fit together; one line says which.
    TypeError
        `transpose` is neither a bool nor None.
    """
    if transpose not in (None, False, True):
        raise TypeError(f"transpose is {transpose!r}, expected True, False or None")
    root, prefix, files = _find_files(EMBEDDED if folder is None else Path(folder))
    train_images, train_labels = _read_split(files["train images"], files["train labels"])
    test_images, test_labels = _read_split(files["test images"], files["test labels"])
    if train_images.shape[1:] != test_images.shape[1:]:
        raise DataError(
            f"{files['test images']}: images of {_size(test_images)} pixels, "
            f"but those of {files['train images'].name} have {_size(train_images)}"
        )
    classes = 1 + max(int(train_labels.max()), int(test_labels.max()))
    root = root.resolve()
    name = prefix or (root.parent.name if root.name == "raw" else root.name)
    name = "MNIST" if folder is None else name
    read = tuple(files.values())
    found = Dataset(train_images, train_labels, test_images, test_labels, classes, name, read)
    lying = EMNIST.search(prefix) is not None
    return found.transpose() if (lying if transpose is None else transpose) else found


def _find_files(folder: Path) -> tuple[Path, str, dict[str, Path]]:
    """The folder of the set, the name of the set in its file names, and each file in WANTED."""
    home = folder
    sets: dict[tuple[Path, str], dict[str, Path]] = {}
    try:
        if not folder.exists() and folder.parent.is_dir():  # then it may end in a set's name
            around = _sets(folder.parent).items()
            sets = {key: files for key, files in around if key[1] == folder.name.lower()}
        if sets:
            home = folder.parent
        else:
            sets = _sets(folder)
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}") from None
    if len(sets) > 1:
        names = [str(root.relative_to(home) / prefix) for root, prefix in sets]
        one = home / next(name for name in names if name != ".")
        raise DataError(
            f"{folder}: holds several sets ({', '.join(names)}); name one, as in {one}, "
            "or give each a folder of its own"
        )
    (root, prefix), files = sets.popitem() if sets else ((folder, ""), {})
    for role, wanted in WANTED.items():
        if role not in files:
            raise DataError(
                f"{root}: no {role}; looked for {wanted} "
                "(also .idx for -idx, with .gz, after NAME-)"
            )
    return root, prefix, files


def _sets(folder: Path) -> dict[tuple[Path, str], dict[str, Path]]:
    """The sets in a folder: the files of each by their role, under its own folder and its name."""
    sets: dict[tuple[Path, str], dict[str, Path]] = {}
    os.listdir(folder)  # unlike glob, it says why a folder cannot be read
    for level in LEVELS:
        # Sorted, so that a raw file comes before its .gz, and wins.
        for path in sorted(folder.glob(level)):
            match = NAME.fullmatch(path.name)
            if match and path.is_file():
                split = "train" if match["split"].lower() == "train" else "test"
                name = (match["set"] or "").lower().rstrip("-")
                files = sets.setdefault((path.parent, name), {})
                files.setdefault(f"{split} {match['kind'].lower()}", path)
        if sets:
            break
    return sets


def _read_split(images_path: Path, labels_path: Path) -> tuple[np.ndarray, np.ndarray]:
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim != 3 or images.dtype != np.uint8:
        raise DataError(
            f"{images_path}: {images.ndim}-dimensional {images.dtype}, "
            "expected images, rows and columns of uint8"
        )
    if labels.ndim == 2 and labels.shape[1] == QMNIST_COLUMNS:
        labels = np.ascontiguousarray(labels[:, 0])
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"{labels_path}: {labels.ndim}-dimensional {labels.dtype}, "
            "expected one integer label per image"
        )
    if len(images) != len(labels):
        raise DataError(
            f"{labels_path}: {len(labels)} labels for {len(images)} images of {images_path.name}"
        )
    if labels.min() < 0 or labels.max() >= MAX_CLASSES:
        raise DataError(
            f"{labels_path}: labels from {labels.min()} to {labels.max()}, "
            f"expected within 0 to {MAX_CLASSES - 1}"
        )
    return images, labels


def _size(images: np.ndarray) -> str:
    return f"{images.shape[1]}x{images.shape[2]}"
