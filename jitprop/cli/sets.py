"""The images of a run: to train on, held out to validate on, to test on."""

from typing import TYPE_CHECKING

from jitprop.cli.request import Request

if TYPE_CHECKING:
    import numpy as np

    from jitprop.data import Dataset

    Sets = dict[str, tuple[np.ndarray, np.ndarray]]


def read_sets(request: Request) -> "tuple[Dataset, Sets]":
    """Read the images and hold some out; return all, and those of "train", "test" and so on."""
    from jitprop.data import DataError, load_dataset

    args, parser = request.args, request.parser
    try:
        dataset = load_dataset(args.data)
    except DataError as error:
        parser.error(str(error))
    if args.dropout and not request.hidden:
        parser.error("argument --dropout: there is no hidden layer to drop from")
    images, labels = dataset.train_images, dataset.train_labels
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
