"""The lines that a run prints before it trains."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from jitprop.cli.request import Request
from jitprop.cli.sets import titled

if TYPE_CHECKING:
    from jitprop.cli.sets import Sets
    from jitprop.data import Dataset
    from jitprop.training import Checkpoint, Training


def used(session: "Training") -> str:
    """Return how the first layer gets its input."""
    return "dense" if session.density is None else "sparse"


def describe(request: Request, dataset: "Dataset", session: "Training", sets: "Sets") -> str:
    """Return the lines about the network, its data and its training; warn of surprises."""
    from jitprop import kernels, training

    density = session.density
    share = "" if density is None else f", {density:.0%} of the pixels are not zero"
    split = ", ".join(f"{len(labels)} {name}" for name, (_, labels) in sets.items())
    widths = "-".join(map(str, (dataset.train_images[0].size, *request.hidden, dataset.classes)))
    parameters = sum(parameter.value.size for parameter in session.net.parameters())
    activation = f", {request.args.activation}" if request.hidden else ""
    settings, images = request.settings, len(sets["train"][0])
    size = min(settings.batch_size or images, images)
    lines = [
        titled(dataset, split),
        f"network   {widths}{activation}, {parameters} parameters",
        f"training  {', '.join(summary(request, size))}",
        f"input     {used(session)}{share}",
        f"machine   {training.cpu_model()}, threads {kernels.get_num_threads()}",
    ]
    if request.checkpoint:
        lines.append(_going_on(request, request.checkpoint, session))
    return "\n".join(lines)


def _going_on(request: Request, checkpoint: "Checkpoint", session: "Training") -> str:
    """Return the line that says where the training stands; warn of surprises."""
    args, settings, parser = request.args, request.settings, request.parser
    if session.done:
        line = f"{len(session.history)} of {settings.epochs} epochs are done"
        more = "" if settings.early_stopping else "; --epochs N goes on"
        return f"nothing left to do: {line}{more}"
    if not args.save:
        parser.warn(f"nothing will be kept; --save {args.resume} goes on in that file")
    before = (checkpoint.settings or {}).get("epochs")
    if before != settings.epochs and settings.schedule in ("linear", "cosine"):
        parser.warn(
            f"the {settings.schedule} schedule was made for {before} epochs; "
            f"the rate goes on as if there had been {settings.epochs} from the beginning"
        )
    return f"goes on   {args.resume}: epoch {session.epoch}, after batch {session.batch}"


def summary(request: Request, size: int) -> list[str]:
    """Return the settings of the training, except those that are off."""
    args, words = request.args, request.settings.in_words(size)
    for name, value in (
        ("input noise", args.input_noise),
        ("input dropout", args.input_dropout),
        ("dropout", args.dropout),
        ("label smoothing", args.label_smoothing),
    ):
        words += [f"{name} {value:g}"] if value else []
    if request.distortion:
        moves = asdict(request.distortion)
        words += [f"{name} {value:g}" for name, value in moves.items() if value]
    return [*words, f"seed {args.seed}"]
