"""`jitprop train --evaluate FILE`: for each class, what a network takes its images for."""

import contextlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jitprop.cli.request import Request
from jitprop.cli.sets import lies_otherwise, read_dataset

if TYPE_CHECKING:
    import numpy as np

    from jitprop.data import Dataset
    from jitprop.layers import Module

MOST_COLUMNS = 20  # of a table that a terminal shows; --metrics always has all counts


def evaluate(request: Request) -> int:
    """Report what the networks of checkpoints take the test images for; return the exit code."""
    from jitprop import training
    from jitprop.training.progress import Progress

    args, parser = request.args, request.parser
    dataset = read_dataset(parser, args)
    nets = networks(request, dataset)
    inputs = [("--evaluate", path) for path in args.evaluate]
    inputs += [("--data", file) for file in dataset.files]
    parser.check_files(inputs, [("--metrics", args.metrics)])
    check_metrics(request)
    labels = dataset.test_labels
    progress = Progress(args.quiet)
    turned = ", turned upright" if dataset.transposed else ""
    progress.line(f"data      {dataset.name}: {len(labels)} test{turned}")
    for path, net in zip(args.evaluate, nets, strict=True):
        progress.line(f"network   {path}: {net!r}")
    progress.line("")
    with use_threads(args.threads), progress:
        counts, each, loss = counted(request, nets, dataset)
    images = counts.sum(axis=1)
    found = counts.diagonal()
    recall = [n / of if of else math.nan for n, of in zip(found, images, strict=True)]
    progress.line(table(counts, recall))
    errors = int(len(labels) - found.sum())
    if loss is not None:
        for path, alone in zip(args.evaluate, each, strict=True):
            progress.line(f"alone     {path}: {alone} errors ({alone / len(labels):.2%})")
        progress.line(f"together  loss {loss:.4g}, of the mean of their probabilities")
    progress.always(errors_line(errors, len(labels)))
    if args.metrics:
        digests = [training.weights_sha256(net) for net in nets]
        record = {
            "evaluated": args.evaluate[0],
            "data": dataset.name,
            "transposed": dataset.transposed,
            "test_errors": errors,
            "test_images": len(labels),
            "confusion": counts.tolist(),
            "recall": [None if math.isnan(share) else share for share in recall],
            "weights_sha256": digests[0],
            "versions": training.versions(),
        }
        if loss is not None:
            record |= {"evaluated": args.evaluate, "weights_sha256": digests}
            record |= {"test_errors_of_each": each, "test_loss": loss}
        write_metrics(request, record)
    if progress.lost:
        raise progress.lost
    return 0


def networks(request: Request, dataset: "Dataset") -> "list[Module]":
    """Return the networks of all files; end where one was trained on other images."""
    from jitprop import training

    args, parser, first = request.args, request.parser, request.checkpoint
    assert first is not None
    nets: list[Module] = []
    for path in args.evaluate:
        try:
            checkpoint = training.read(path) if nets else first
            nets.append(checkpoint.net())
        except training.CheckpointError as error:
            parser.error(str(error))
        # Only for EMNIST: the images of other sets are not turned by default.
        if (
            dataset.transposed
            and not args.transpose
            and (why := lies_otherwise(checkpoint, dataset))
        ):
            parser.error(why)
        there, here = (one.about.get("data_sha256") for one in (checkpoint, first))
        if None not in (there, here) and there != here:
            parser.warn(f"{path}: trained on other data than {first.path}")
    return nets


def counted(
    request: Request, nets: "list[Module]", dataset: "Dataset"
) -> "tuple[np.ndarray, list[int], float | None]":
    """Return counts of true and found classes, the errors of each network, the loss of several.

    If a network does not fit, the process ends with the name of its file.
    """
    from jitprop.training.asking import as_probabilities
    from jitprop.training.ensemble import mean
    from jitprop.training.evaluation import (
        NotFiniteError,
        confusion_of,
        evaluate_probabilities,
        outputs,
    )

    parser, paths, labels = request.parser, request.args.evaluate, dataset.test_labels
    tables, answers = [], []
    for path, net in zip(paths, nets, strict=True):
        try:
            z = outputs(net, dataset.test_images)
            tables.append(confusion_of(net, z, labels))
        except NotFiniteError as error:
            parser.fail(
                f"{path}: its output for {error.lost} of {len(labels)} images is not finite"
            )
        except (TypeError, ValueError) as error:
            parser.error(f"{path}: does not take {dataset.name}: {error}")
        if z.shape[1] != tables[0].shape[1]:
            parser.error(f"{path}: has {z.shape[1]} outputs, {paths[0]} {tables[0].shape[1]}")
        answers.append(as_probabilities(net, z) if nets[1:] else z)
    each = [int(len(labels) - counts.trace()) for counts in tables]
    if not nets[1:]:
        return tables[0], each, None
    p = mean(answers)
    return confusion_of(nets, p, labels), each, evaluate_probabilities(p, labels).loss


@contextlib.contextmanager
def use_threads(threads: int | None) -> Iterator[None]:
    """Let kernels use so many threads, if a number is given; afterwards as many as before."""
    from jitprop import kernels

    before = kernels.get_num_threads()
    if threads:
        kernels.set_num_threads(threads)
    try:
        yield
    finally:
        kernels.set_num_threads(before)


def table(counts: "np.ndarray", recall: list[float]) -> str:
    """Return the lines of a table: a row for each class, a column for each answer."""
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
    """Return a line for each class that has images, with its three most frequent wrong answers."""
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
    """Return a share as text; "-" if there are no images."""
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
