"""Train a network on handwritten digits: `python train.py`, or `jitprop train`."""

import argparse
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

# numba takes half a second to load: a page of help and a refused argument do not wait for it.
from jitprop import cli
from jitprop.cli.arguments import going_on, make_parser, own_command, settings_of, ways_to_run
from jitprop.cli.evaluate import (
    check_metrics,
    errors_line,
    evaluate,
    use_threads,
    write_metrics,
)
from jitprop.cli.interrupt import Interrupt
from jitprop.cli.parser import Parser
from jitprop.training.settings import ARCHITECTURES, Settings

if TYPE_CHECKING:
    from jitprop.training import Checkpoint, Epoch


def main(argv: Sequence[str] | None = None, prog: str = "train.py") -> int:
    """Run the command line; return 0, 1 if training failed, or 130 after Ctrl-C.

    `prog` is what messages call the command.
    """
    cli.interrupted = f"{prog}: interrupted before training"
    parser = make_parser(prog)
    given = sys.argv[1:] if argv is None else list(argv)
    args = parser.parse_args(given)
    parser.check_installed()
    checkpoint, command = None, own_command(given)
    if args.resume or args.evaluate:
        args, checkpoint, command = continued(args, given, parser)
    try:
        settings = settings_of(args)
    except (TypeError, ValueError) as error:
        parser.error(str(error))
    if args.checkpoint_every and not args.save:
        parser.error("argument --checkpoint-every: needs --save FILE")
    try:
        if args.evaluate:
            assert checkpoint is not None
            return evaluate(args, checkpoint, parser)
        return Run(args, settings, parser, checkpoint, command).run()
    except MemoryError as error:
        parser.error(f"not enough memory: {error}")


def continued(
    args: argparse.Namespace, argv: Sequence[str], parser: Parser
) -> tuple[argparse.Namespace, "Checkpoint", list[str]]:
    """Read the checkpoint to go on with, or to evaluate, and what it was trained with.

    Returns the arguments, those of the checkpoint unless given anew; the checkpoint; and the whole
    command.
    """
    from jitprop.training import CheckpointError, read

    path = args.resume or args.evaluate
    if args.evaluate and (args.save or args.resume):
        parser.error(f"argument --evaluate: not allowed with --{'save' if args.save else 'resume'}")
    try:
        checkpoint = read(path)
        found = checkpoint.about.get("command", [] if args.evaluate else None)
        words = found if isinstance(found, list) else [found]
        command = [word for word in words if isinstance(word, str)]
        if command != found or {"-h", "--help"} & {*command}:
            raise CheckpointError(path, "not saved by train.py")
    except CheckpointError as error:
        parser.error(str(error))
    free = {*vars(ways_to_run()), "data"}
    parser.of = f"{path}: its command line: "
    saved = vars(parser.parse_args(own_command(command)))
    parser.of = ""
    known = {name: value for name, value in saved.items() if name not in free or name == "data"}
    args = parser.parse_args(argv, argparse.Namespace(**known))
    # Settings that can change, such as epochs, are for the checkpoint to say.
    for name, value in vars(args).items():
        other = name not in free and value != known.get(name)
        if other and (args.evaluate or name not in {field.name for field in fields(Settings)}):
            flag = "--lr" if name == "rate" else f"--{name.replace('_', '-')}"
            parser.error(f"argument {flag}: not what {path} was trained with")
    return args, checkpoint, [*own_command(command), *own_command(argv)]


class Run:
    """One training, from its arguments to the files that it leaves."""

    def __init__(
        self,
        args: argparse.Namespace,
        settings: Settings,
        parser: Parser,
        checkpoint: "Checkpoint | None",
        command: list[str],
    ) -> None:
        self.args, self.settings, self.parser = args, settings, parser
        self.checkpoint, self.command = checkpoint, command
        self.interrupt = Interrupt(parser.prog)
        self.failed = False

    def run(self) -> int:
        """Load, compile, train and report; return the exit code."""
        self.read_data()
        self.check_files()
        with use_threads(self.args.threads):
            self.build()
            self.describe()
            with self.progress:
                self.compile()
            with self.interrupt:
                self.train()
                self.keep()
            cli.interrupted = f"{self.parser.prog}: interrupted after training"
            self.tell()
        if self.progress.lost:
            raise self.progress.lost
        return self.interrupt.code or int(self.failed)

    def read_data(self) -> None:
        """Read the images, and hold some out."""
        from jitprop.data import DataError, load_dataset

        args, parser = self.args, self.parser
        try:
            self.dataset = dataset = load_dataset(args.data)
        except DataError as error:
            parser.error(str(error))
        images, labels = dataset.train_images, dataset.train_labels
        if self.settings.early_stopping and not args.validation:
            parser.error("early stopping needs images to validate on: --validation N")
        kept = len(images) - args.validation
        if kept < 1:
            parser.error(f"argument --validation: {args.validation} of {len(images)} images")
        self.sets = {"train": (images[:kept], labels[:kept])}
        if args.validation:
            self.sets["validation"] = images[kept:], labels[kept:]
        self.sets["test"] = dataset.test_images, dataset.test_labels
        self.counts = {name: len(labels) for name, (_, labels) in self.sets.items()}
        self.about: dict[str, Any] = {}
        if args.save or args.resume:
            self.about = {"command": self.command, "data_sha256": dataset.sha256()}
        checkpoint = self.checkpoint
        if checkpoint and checkpoint.about.get("data_sha256") != self.about["data_sha256"]:
            parser.error(f"{args.resume}: trained on other data than {dataset.name}")

    def check_files(self) -> None:
        """End, before anything is done, where what shall be kept cannot be."""
        from jitprop import training
        from jitprop.training.files import same_file
        from jitprop.training.report import FILES

        args, parser = self.args, self.parser
        goes_on = args.resume and args.save and same_file(args.resume, args.save)
        inputs = [("--data", file) for file in self.dataset.files]
        outputs = [("--save", args.save), ("--metrics", args.metrics)]
        if args.report:
            outputs += [("--report", os.path.join(args.report, name)) for name in FILES]
        # To save to the file that it goes on from is what a run does.
        parser.check_files([*inputs, *([] if goes_on else [("--resume", args.resume)])], outputs)
        check_metrics(args, parser)
        try:
            if args.save:
                training.check_savable(args.save, **self.about)
        except training.CheckpointError as error:
            parser.error(str(error))
        if args.report:
            try:
                training.check_report(args.report)
            except OSError as error:
                parser.error(
                    f"argument --report: {error.filename or args.report}: {error.strerror}"
                )
            except ImportError as error:
                parser.error(f"argument --report: {error}")

    def build(self) -> None:
        """Make the network, its loss and its training, or put them where they stood."""
        import numpy as np

        from jitprop import training
        from jitprop.layers import SoftmaxCrossEntropy
        from jitprop.training.progress import Progress

        args, parser, settings = self.args, self.parser, self.settings
        images, labels = self.sets["train"]
        self.hidden = args.hidden or ARCHITECTURES[args.arch]
        rng = np.random.default_rng(args.seed)
        if args.dropout and not self.hidden:
            parser.error("argument --dropout: there is no hidden layer to drop from")
        self.net = training.mlp(
            images[0].size, self.hidden, self.dataset.classes, rng, dropout=args.dropout
        )
        self.loss = SoftmaxCrossEntropy(args.label_smoothing)
        self.size = min(settings.batch_size or len(images), len(images))
        batches = math.ceil(len(images) / self.size)
        self.progress = Progress(
            args.quiet, settings.epochs, batches, self.counts, lambda: self.interrupt.ask(1)
        )
        self.session = training.Training(
            self.net,
            self.loss,
            images,
            labels,
            settings,
            rng=rng,
            validation=self.sets.get("validation"),
            test=self.sets["test"],
            input=args.input or "auto",
            on_epoch=self.on_epoch,
            on_batch=self.on_batch,
        )
        if self.checkpoint:
            try:
                self.checkpoint.resume(self.session)
            except training.CheckpointError as error:
                parser.error(str(error))

    def on_batch(self, epoch: int, batch: int, loss: float) -> None:
        """Move the bar; end if that was asked for."""
        self.progress.batch(epoch, batch, loss)
        if self.interrupt.asked:
            raise KeyboardInterrupt(f"interrupted in epoch {epoch}, after batch {batch}")

    def on_epoch(self, epoch: "Epoch") -> None:
        """Print a line, and keep a checkpoint where one is due."""
        from jitprop.training import CheckpointError

        self.progress.epoch(epoch)
        if self.args.checkpoint_every and epoch.epoch % self.args.checkpoint_every == 0:
            try:
                self.save(self.args.save)
            except CheckpointError as error:  # perhaps the next one can be
                self.parser.warn(str(error))

    def save(self, path: str) -> None:
        """Write the network and its training."""
        from jitprop import training

        training.save(path, self.net, self.session, **self.about)

    def describe(self) -> None:
        """Print what is trained, on what, and how."""
        from jitprop import kernels, training

        args, dataset, session = self.args, self.dataset, self.session
        image = dataset.train_images[0]
        density = session.density
        self.used = "dense" if density is None else "sparse"
        share = "" if density is None else f", {density:.0%} of the pixels are not zero"
        pixels = "x".join(map(str, image.shape))
        split = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        widths = "-".join(map(str, (image.size, *self.hidden, dataset.classes)))
        parameters = sum(parameter.value.size for parameter in self.net.parameters())
        self.progress.line(
            f"data      {dataset.name}: {split}, {pixels} pixels, {dataset.classes} classes\n"
            f"network   {widths}{', tanh' if self.hidden else ''}, {parameters} parameters\n"
            f"training  {', '.join(summary(args, self.settings, self.size))}\n"
            f"input     {self.used}{share}\n"
            f"machine   {training.cpu_model()}, threads {kernels.get_num_threads()}"
        )
        if self.checkpoint:
            self.describe_what_goes_on(self.checkpoint)

    def describe_what_goes_on(self, checkpoint: "Checkpoint") -> None:
        """Print where the training stands, and warn of what a person may not expect."""
        args, session, parser = self.args, self.session, self.parser
        settings, done = self.settings, len(session.history)
        self.left = session.epoch <= settings.epochs and not session.stopped
        if not self.left:
            self.progress.line(
                f"nothing left to do: {done} of {settings.epochs} epochs are done"
                + ("" if settings.early_stopping else "; --epochs N goes on")
            )
            return
        self.progress.line(
            f"goes on   {args.resume}: epoch {session.epoch}, after batch {session.batch}"
        )
        if not args.save:
            parser.warn(f"nothing will be kept; --save {args.resume} goes on in that file")
        before = (checkpoint.settings or {}).get("epochs")
        if before != settings.epochs and settings.schedule in ("linear", "cosine"):
            parser.warn(
                f"the {settings.schedule} schedule was made for {before} epochs; "
                f"the rate goes on as if there had been {settings.epochs} from the beginning"
            )

    def compile(self) -> None:
        """Check gradients, if asked, and have all kernels compiled that training will run."""
        from jitprop import training

        if self.args.gradcheck:
            checked = training.gradcheck_mlp(len(self.hidden))
            if not checked:
                self.parser.fail(f"gradient check failed: {checked}")
            self.progress.line(f"gradient check passed, worst: {checked}")
        settings = asdict(self.settings)
        training.warm_up(self.net, self.loss, *self.sets["train"], input=self.used, **settings)
        self.compile_seconds = self.progress.compiled()

    def train(self) -> None:
        """Train until all is done, or an end is asked for."""
        from concurrent.futures import ThreadPoolExecutor

        from jitprop import training

        if self.checkpoint and not self.left:
            return
        self.progress.start()
        try:
            # Not on the main thread: it alone can answer Ctrl-C while compiled code runs a batch.
            with ThreadPoolExecutor(1) as elsewhere:
                elsewhere.submit(self.session.run).result()
        except KeyboardInterrupt as stop:
            self.interrupt.ask(cli.INTERRUPTED)
            self.progress.line(str(stop) or "interrupted")
        except training.DivergedError as error:
            self.parser.fail(f"{error}; try a lower --lr than {self.settings.rate:g}")
        finally:
            self.interrupt.answered()
            self.progress.stop()

    def keep(self) -> None:
        """Save the network where it was asked for, else where it can be."""
        from jitprop.training import CheckpointError

        path = self.args.save
        if not path:
            return
        try:
            self.save(path)
        except CheckpointError as error:
            self.failed = True
            self.parser.say(f"error: {error}{self.rescued(path)}")
            return
        self.progress.line(f"saved to {path}")
        if self.interrupt.asked:
            self.progress.line(f"to go on: {going_on(self.args, self.parser.command)}")

    def rescued(self, path: str) -> str:
        """Save beside the metrics or in the temporary folder; return what to add to the error."""
        from jitprop.training import CheckpointError

        folders = [os.path.dirname(os.path.abspath(self.args.metrics))] if self.args.metrics else []
        for folder in [*folders, tempfile.gettempdir()]:
            other = os.path.join(folder, f"rescued-{os.getpid()}-{os.path.basename(path)}")
            try:
                self.save(other)
            except CheckpointError:
                continue
            return f"; it is saved to {other} instead"
        return ""

    def tell(self) -> None:
        """Print the test errors, and write what else was asked for."""
        from jitprop import kernels, training

        args, parser = self.args, self.parser
        history, session = self.session.history, self.session
        # Those of the last epoch, if these are its weights.
        last = len(history) == self.settings.epochs > 0 and not self.settings.early_stopping
        errors = history[-1].test_errors if last and session.batch == 0 else None
        if errors is None:
            errors = training.evaluate(self.net, self.loss, *self.sets["test"]).errors
        self.progress.always(errors_line(errors, self.counts["test"]))
        digest = training.weights_sha256(self.net)
        machine = {"cpu": training.cpu_model(), "threads": kernels.get_num_threads()}
        if args.metrics:
            record = {
                "settings": self.chosen(),
                "epochs": [
                    {name: value for name, value in asdict(epoch).items() if value is not None}
                    for epoch in history
                ],
                "interrupted": self.interrupt.asked,
                "test_errors": errors,
                "test_images": self.counts["test"],
                "weights_sha256": digest,
                "compile_seconds": self.compile_seconds,
                "versions": training.versions(),
                **machine,
            }
            write_metrics(args, record, parser)
        if args.report:
            settings = self.chosen() | machine | {"weights_sha256": digest}
            try:
                training.write_report(args.report, self.net, history, settings, self.sets)
            except OSError as error:
                parser.fail(f"argument --report: {error.filename or args.report}: {error.strerror}")
            self.progress.line(f"report: {os.path.join(args.report, 'index.html')}")

    def chosen(self) -> dict[str, Any]:
        """Return all settings by the names of their arguments."""
        args, settings = self.args, self.settings
        return {
            "arch": None if args.hidden else args.arch,
            "hidden": self.hidden,
            "data": self.dataset.name,
            "dropout": args.dropout,
            "label_smoothing": args.label_smoothing,
            "validation": args.validation,
            **{"lr" if name == "rate" else name: v for name, v in asdict(settings).items()},
            "batch_size": settings.batch_size or "full",
            "seed": args.seed,
            "input": self.used,
        }


def summary(args: argparse.Namespace, settings: Settings, size: int) -> list[str]:
    """Return how is trained, without what is switched off."""
    words = [f"epochs {settings.epochs}", f"batch size {size}", f"learning rate {settings.rate:g}"]
    if settings.optimizer == "sgd":
        words.append(f"{'Nesterov ' * settings.nesterov}momentum {settings.momentum:g}")
    else:
        words.append(settings.optimizer)
    if settings.schedule != "constant":
        words.append(f"{settings.schedule} schedule")
    if settings.early_stopping:
        words.append(f"early stopping with patience {settings.patience}")
    for name, value in (
        ("warm-up", settings.warmup),
        ("weight decay", settings.weight_decay),
        ("dropout", args.dropout),
        ("label smoothing", args.label_smoothing),
    ):
        words += [f"{name} {value:g}"] if value else []
    return [*words, f"seed {args.seed}"]
