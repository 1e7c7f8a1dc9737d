"""Data sets of images: the embedded MNIST and any folder of IDX files."""

from data.dataset import Dataset, load_dataset
from data.idx import DataError, read_idx

__all__ = ["DataError", "Dataset", "load_dataset", "read_idx"]
