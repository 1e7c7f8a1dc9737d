"""Train a network on handwritten digits: `python train.py --help`.

This file is also what the installed command `jitprop train` runs.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

if __name__ == "__main__" and sys.flags.safe_path:  # python -P does not look beside this file
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from jitprop import cli

if TYPE_CHECKING:
    from jitprop.cli.request import Request


def main(argv: Sequence[str] | None = None, prog: str = "train.py") -> int:
    """Run the command `prog`; return 0, 1 if training failed, or 130 after Ctrl-C."""
    cli.interrupted = f"{prog}: interrupted before training"
    from jitprop.cli.evaluate import evaluate  # late: Ctrl-C is answered while this loads
    from jitprop.cli.gradients import only_check
    from jitprop.cli.request import Request

    request = Request(argv, prog)  # the arguments, and a checkpoint to resume
    try:
        if request.only_checks:
            return only_check(request)
        return evaluate(request) if request.args.evaluate else train(request)
    except MemoryError as error:
        request.parser.error(f"not enough memory: {error}")


def train(request: "Request") -> int:
    """Read, build, train, keep and show what the request asks for; return the exit code."""
    import numpy as np

    import jitprop
    from jitprop.cli.evaluate import use_threads
    from jitprop.cli.gradients import check
    from jitprop.cli.interrupt import Interrupt
    from jitprop.cli.keep import Keeper
    from jitprop.cli.sets import read_sets
    from jitprop.cli.show import describe, used
    from jitprop.training.progress import Progress

    args, settings, prog = request.args, request.settings, request.parser.prog

    # Read.
    dataset, sets = read_sets(request)
    images, labels = sets["train"]
    keeper = Keeper(request, dataset, sets)
    keeper.check()  # every file that it will write can be written

    # Build. A person who watches may ask to stop after a batch.
    interrupt = Interrupt(prog)
    counts = {name: len(labels) for name, (_, labels) in sets.items()}
    lost, smoothed = lambda: interrupt.ask(1), args.label_smoothing > 0
    progress = Progress(args.quiet, settings, counts, lost, smoothed)

    def on_batch(epoch: int, batch: int, loss: float) -> None:
        progress.batch(epoch, batch, loss)
        if interrupt.asked:
            raise KeyboardInterrupt(f"interrupted in epoch {epoch}, after batch {batch}")

    def on_epoch(epoch: jitprop.Epoch) -> None:
        progress.epoch(epoch)
        if args.checkpoint_every and epoch.epoch % args.checkpoint_every == 0:
            keeper.checkpoint(session)

    with use_threads(args.threads):
        rng = np.random.default_rng(args.seed)
        pixels, classes = images[0].size, dataset.classes
        net = jitprop.mlp(pixels, request.hidden, classes, rng, **request.layers)
        loss = jitprop.SoftmaxCrossEntropy(args.label_smoothing)
        session = jitprop.Training(
            net,
            loss,
            images,
            labels,
            settings,
            rng=rng,
            validation=sets.get("validation"),
            test=sets["test"],
            input=args.input or "auto",
            distort=request.distortion,
            on_epoch=on_epoch,
            on_batch=on_batch,
        )
        request.resume(session)

        # Show what comes.
        progress.line(describe(request, dataset, session, sets))
        with progress:  # says when kernels are compiled
            if args.gradcheck:
                progress.line(check(request, progress))
            how = {"input": used(session), "distort": request.distortion, **asdict(settings)}
            jitprop.warm_up(net, loss, images, labels, **how)
        compile_seconds = progress.compiled()

        # Train, and keep the result whatever ends the training.
        with interrupt:
            if not session.done:
                interrupt.watch(session, progress, request.parser)
            keeper.save(session, progress, interrupt)
        cli.interrupted = f"{prog}: interrupted after training"

        # Show what came out.
        keeper.tell(session, progress, interrupt, compile_seconds)
    if progress.lost:
        raise progress.lost
    return interrupt.code or int(keeper.failed)


if __name__ == "__main__":
    cli.as_program(main)
