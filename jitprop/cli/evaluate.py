"""`jitprop train --evaluate FILE`: what each class is taken for."""

import contextlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jitprop.cli.request import Request
from jitprop.cli.sets import lies_otherwise, read_dataset

if TYPE_CHECKING:
    import numpy as np


MOST_COLUMNS = 20  # of a table that a terminal shows; --metrics has all counts of any


def evaluate(request: Request) -> int:
    """Report what the network of a checkpoint takes the test images for; return the exit code."""
    from jitprop import training
    from jitprop.training.evaluation import NotFiniteError
    from jitprop.training.progress import Progress

    args, parser, checkpoint = request.args, request.parser, request.checkpoint
    assert checkpoint is not None
    dataset = read_dataset(parser, args)
    try:
        net = checkpoint.net()
    except training.CheckpointError as error:
        parser.error(str(error))
    # Of EMNIST alone: others lie as they always did.
    if dataset.transposed and not args.transpose and (why := lies_otherwise(request, dataset)):
        parser.error(why)
    inputs = [("--evaluate", args.evaluate), *(("--data", file) for file in dataset.files)]
    parser.check_files(inputs, [("--metrics", args.metrics)])
    check_metrics(request)
    labels = dataset.test_labels
    progress = Progress(args.quiet)
    turned = ", turned upright" if dataset.transposed else ""
    progress.line(
        f"data      {dataset.name}: {len(labels)} test{turned}\n"
        f"network   {args.evaluate}: {net!r}\n"
    )
    try:
        with use_threads(args.threads), progress:
            counts = training.confusion(net, dataset.test_images, labels)
    except NotFiniteError as error:
        lost = f"{error.lost} of {len(labels)}"
        parser.fail(f"{args.evaluate}: its output for {lost} images is not finite")
    except (TypeError, ValueError) as error:
        parser.error(f"{args.evaluate}: does not take {dataset.name}: {error}")
    images = counts.sum(axis=1)
    found = counts.diagonal()
    recall = [n / of if of else math.nan for n, of in zip(found, images, strict=True)]
    progress.line(table(counts, recall))
    errors = int(len(labels) - found.sum())
    progress.always(errors_line(errors, len(labels)))
    if args.metrics:
        record = {
            "evaluated": args.evaluate,
            "data": dataset.name,
            "transposed": dataset.transposed,
            "test_errors": errors,
            "test_images": len(labels),
            "confusion": counts.tolist(),
            "recall": [None if math.isnan(share) else share for share in recall],
            "weights_sha256": training.weights_sha256(net),
            "versions": training.versions(),
        }
        write_metrics(request, record)
    if progress.lost:
        raise progress.lost
    return 0


@contextlib.contextmanager
def use_threads(threads: int | None) -> Iterator[None]:
    """Let kernels use so many threads, if a number is given, and then as many as before."""
    from jitprop import kernels

    before = kernels.get_num_threads()
    if threads:
        kernels.set_num_threads(threads)
    try:
        yield
    finally:
        kernels.set_num_threads(before)


def table(counts: "np.ndarray", recall: list[float]) -> str:
    """Return the lines of a table of images by their class, a row, and what they are taken for."""
    if counts.shape[1] > MOST_COLUMNS:
        return list_of_classes(counts, recall)
    width = max(6, len(str(counts.max())) + 2)
    head = "".join(f"{label:{width}}" for label in range(counts.shape[1]))
    lines = [
        "images of each class (rows) by what they are taken for (columns)\n",
        f"     {head}    recall",
    ]
    for label, row in enumerate(counts):
        cells = "".join(f"{count:{width}}" for count in row)
        lines.append(f"{label:5}{cells}{percent(recall[label]):>10}")
    return "\n".join([*lines, ""])


def list_of_classes(counts: "np.ndarray", recall: list[float]) -> str:
    """Return a line for each class that has images, with the three it is most often taken for."""
    lines = ["images of each class, and what else they are taken for most often\n"]
    lines.append("class  images    recall  taken for")
    for label, row in enumerate(counts):
        others = [
            int(other) for other in (-row).argsort(kind="stable") if other != label and row[other]
        ]
        words = ", ".join(f"{other} ({row[other]})" for other in others[:3])
        if row.any():
            lines.append(f"{label:5}{row.sum():8}{percent(recall[label]):>10}  {words}".rstrip())
    return "\n".join([*lines, ""])


def percent(share: float) -> str:
    """Return a share as text, that of no images as "-"."""
    return "-" if math.isnan(share) else f"{share:.2%}"


def errors_line(errors: int, images: int) -> str:
    """Return the last line of every run."""
    return f"test errors: {errors} / {images} ({errors / images:.2%})"


def check_metrics(request: Request) -> None:
    """End if the file of --metrics cannot be written."""
    from jitprop.training import check_writable

    args, parser = request.args, request.parser
    if args.metrics:
        try:
            check_writable(args.metrics)
        except OSError as error:
            parser.error(f"argument --metrics: {args.metrics}: {error.strerror}")


def write_metrics(request: Request, record: dict[str, Any]) -> None:
    """Write the file of --metrics, or end."""
    from jitprop import training

    args, parser = request.args, request.parser
    try:
        training.write_json(args.metrics, record)
    except OSError as error:
        parser.fail(f"argument --metrics: {args.metrics}: {error.strerror}")
