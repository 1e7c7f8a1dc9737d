"""Data sets of images: the embedded MNIST and any folder of IDX files."""

from jitprop.data.dataset import Dataset, load_dataset
from jitprop.data.idx import DataError, read_idx

__all__ = ["DataError", "Dataset", "load_dataset", "read_idx"]
