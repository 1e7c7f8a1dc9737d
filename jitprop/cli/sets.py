"""The images of a run: for training, held out for validation, for the test."""

from argparse import Namespace
from typing import TYPE_CHECKING

from jitprop.cli.parser import Parser
from jitprop.cli.request import Request

if TYPE_CHECKING:
    import numpy as np

    from jitprop.data import Dataset
    from jitprop.training import Checkpoint

    Sets = dict[str, tuple[np.ndarray, np.ndarray]]


def read_dataset(parser: Parser, args: Namespace) -> "Dataset":
    """Read all images, upright."""
    from jitprop.data import DataError, load_dataset

    transpose = {"yes": True, "no": False, None: None}[args.transpose]
    try:
        return load_dataset(args.data, transpose)
    except DataError as error:
        parser.error(str(error))


def titled(dataset: "Dataset", counts: str) -> str:
    """Return the line that says which images there are, and how many."""
    image = dataset.train_images[0]
    lowest = int(min(dataset.train_labels.min(), dataset.test_labels.min()))
    words = [f"{'x'.join(map(str, image.shape))} pixels", f"{dataset.classes - lowest} classes"]
    if lowest:  # class k is label k, so that people can look answers up
        unused = "output 0 is" if lowest == 1 else f"outputs 0 to {lowest - 1} are"
        words.append(f"labels {lowest} to {dataset.classes - 1} ({unused} unused)")
    if dataset.transposed:
        words.append("turned upright")
    return f"data      {dataset.name}: {counts}, {', '.join(words)}"


def lies_otherwise(checkpoint: "Checkpoint", dataset: "Dataset") -> str | None:
    """Return the message for a checkpoint trained on the transposes of these images, or None."""
    if checkpoint.about.get("data_sha256") != dataset.transpose().sha256():
        return None
    how, flag = ("as they lie in the files", "no") if dataset.transposed else ("transposed", "yes")
    return (
        f"{checkpoint.path}: trained on the images of {dataset.name} {how}; "
        f"--transpose {flag} reads them so"
    )


def read_sets(request: Request) -> "tuple[Dataset, Sets]":
    """Read the images and hold some out; return the data set, and its parts by name."""
    args, parser = request.args, request.parser
    dataset = read_dataset(parser, args)
    images, labels = dataset.train_images, dataset.train_labels
    if request.distortion:
        from jitprop.training.distorting import width_of

        try:
            width_of(images.shape)
        except ValueError as error:
            parser.error(str(error))
    if request.settings.early_stopping and not args.validation:
        parser.error("early stopping needs images to validate on: --validation N")
    kept = len(images) - args.validation
    if kept < 1:
        parser.error(f"argument --validation: {args.validation} of {len(images)} images")
    sets = {"train": (images[:kept], labels[:kept])}
    if args.validation:
        sets["validation"] = images[kept:], labels[kept:]
    sets["test"] = dataset.test_images, dataset.test_labels
    return dataset, sets
