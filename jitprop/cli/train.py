"""Train a network on handwritten digits: `python train.py`, or `jitprop train`."""

import argparse
import math
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from threading import Timer
from time import perf_counter
from types import FrameType
from typing import TYPE_CHECKING, Any

# numba takes half a second to load: a page of help and a refused argument do not wait for it.
from jitprop.cli.parser import Parser
from jitprop.training.settings import (
    ARCHITECTURES,
    DEFAULTS,
    OPTIMIZERS,
    PRESETS,
    SCHEDULES,
    Settings,
    settings_for,
)

if TYPE_CHECKING:
    from jitprop.training import Checkpoint, Epoch

INTERRUPTED = 130  # 128 + SIGINT, as shells report it
MAX_WIDTH = 10**9  # two such sizes make a matrix of fewer than 2**63 bytes: no overflow
MAX_THREADS = 1024


def main(argv: Sequence[str] | None = None, prog: str = "train.py") -> int:
    """Run the command line; return 0, 1 if training failed, or 130 after Ctrl-C.

    `prog` is what messages call the command.
    """
    interrupt = Interrupt(prog)
    parser = make_parser(prog)
    given_argv = sys.argv[1:] if argv is None else list(argv)
    args = parser.parse_args(given_argv)
    parser.check_installed()
    checkpoint, command = None, own_command(given_argv)
    if args.resume or args.evaluate:
        args, checkpoint, command = continued(args, given_argv, parser)
    try:
        settings = settings_of(args)
    except ValueError as error:
        parser.error(str(error))
    if args.checkpoint_every and not args.save:
        parser.error("argument --checkpoint-every: needs --save FILE")
    try:
        if args.evaluate:
            assert checkpoint is not None
            return evaluate(args, checkpoint, parser)
        return run(args, settings, parser, interrupt, checkpoint, command)
    except MemoryError as error:
        parser.error(f"not enough memory: {error}")


def own_command(argv: Sequence[str]) -> list[str]:
    """Return the arguments that say what to train, without those that say how to run it."""
    parser = WithPresets(add_help=False)
    add_ways_to_run(parser)
    return parser.parse_known_args(argv)[1]


def continued(
    args: argparse.Namespace, argv: Sequence[str], parser: "Parser"
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


def evaluate(args: argparse.Namespace, checkpoint: "Checkpoint", parser: "Parser") -> int:
    """Report what the network of a checkpoint takes the test images for; return the exit code."""
    from jitprop import kernels, training
    from jitprop.data import DataError, load_dataset

    check_metrics(args, parser)
    if args.threads:
        kernels.set_num_threads(args.threads)
    try:
        dataset = load_dataset(args.data)
        net = checkpoint.net()
    except (DataError, training.CheckpointError) as error:
        parser.error(str(error))
    labels = dataset.test_labels
    report = Report(args.quiet, 0, 0, {})
    report.line(
        f"data      {dataset.name}: {len(labels)} test\nnetwork   {args.evaluate}: {net!r}\n"
    )
    kernels.on_compile(report.compiling)
    try:
        counts = training.confusion(net, dataset.test_images, labels)
    except (TypeError, ValueError) as error:
        parser.error(f"{args.evaluate}: does not take {dataset.name}: {error}")
    found = counts.diagonal()
    images = counts.sum(axis=1)
    recall = [n / of if of else math.nan for n, of in zip(found, images, strict=True)]
    width = max(6, len(str(counts.max())) + 2)
    report.line(
        "images of each digit (rows) by what they are taken for (columns)\n\n     "
        + "".join(f"{digit:{width}}" for digit in range(counts.shape[1]))
        + "    recall"
    )
    for digit, row in enumerate(counts):
        cells = "".join(f"{count:{width}}" for count in row)
        report.line(f"{digit:5}{cells}{recall[digit]:10.2%}")
    report.line("")
    errors = int(len(labels) - found.sum())
    print_errors(errors, len(labels))
    if args.metrics:
        record = {
            "evaluated": args.evaluate,
            "data": dataset.name,
            "test_errors": errors,
            "test_images": len(labels),
            "confusion": counts.tolist(),
            "recall": [None if math.isnan(share) else share for share in recall],
            "weights_sha256": training.weights_sha256(net),
            "versions": training.versions(),
        }
        write_metrics(args, record, parser)
    return 0


def run(
    args: argparse.Namespace,
    settings: Settings,
    parser: "Parser",
    interrupt: "Interrupt",
    checkpoint: "Checkpoint | None",
    command: list[str],
) -> int:
    """Load, compile, train and report; return the exit code."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    from jitprop import kernels, training
    from jitprop.data import DataError, load_dataset
    from jitprop.layers import SoftmaxCrossEntropy

    check_metrics(args, parser)
    if args.report:
        try:
            training.check_report(args.report)
        except OSError as error:
            parser.error(f"argument --report: {error.filename or args.report}: {error.strerror}")
        except ImportError as error:
            parser.error(f"argument --report: {error}")
    try:
        if args.save:
            training.check_savable(args.save)
        dataset = load_dataset(args.data)
    except (DataError, training.CheckpointError) as error:
        parser.error(str(error))
    about = {"command": command, "data_sha256": dataset.sha256()} if keeps(args) else {}
    if checkpoint and checkpoint.about.get("data_sha256") != about["data_sha256"]:
        parser.error(f"{args.resume}: trained on other data than {dataset.name}")
    images, labels = dataset.train_images, dataset.train_labels
    if settings.early_stopping and not args.validation:
        parser.error("early stopping needs images to validate on: --validation N")
    kept = len(images) - args.validation
    if kept < 1:
        parser.error(f"argument --validation: {args.validation} of {len(images)} images")
    sets = {"train": (images[:kept], labels[:kept])}
    if args.validation:
        sets["validation"] = images[kept:], labels[kept:]
    sets["test"] = dataset.test_images, dataset.test_labels

    if args.threads:
        kernels.set_num_threads(args.threads)
    hidden = args.hidden or ARCHITECTURES[args.arch]
    rng = np.random.default_rng(args.seed)
    if args.dropout and not hidden:
        parser.error("argument --dropout: there is no hidden layer to drop from")
    net = training.mlp(images[0].size, hidden, dataset.classes, rng, dropout=args.dropout)
    loss = SoftmaxCrossEntropy(args.label_smoothing)

    counts = {name: len(labels) for name, (_, labels) in sets.items()}
    size = min(settings.batch_size or kept, kept)
    pixels = "x".join(map(str, images[0].shape))
    split = ", ".join(f"{count} {name}" for name, count in counts.items())
    widths = "-".join(map(str, (images[0].size, *hidden, dataset.classes)))
    parameters = sum(parameter.value.size for parameter in net.parameters())
    report = Report(args.quiet, settings.epochs, math.ceil(kept / size), counts)

    def on_batch(epoch: int, batch: int, batch_loss: float) -> None:
        report.batch(epoch, batch, batch_loss)
        if interrupt.asked:
            raise KeyboardInterrupt(f"interrupted in epoch {epoch}, after batch {batch}")

    def save() -> None:
        training.save(args.save, net, session, **about)

    def on_epoch(epoch: "Epoch") -> None:
        report.epoch(epoch)
        if args.checkpoint_every and epoch.epoch % args.checkpoint_every == 0:
            try:
                save()
            except training.CheckpointError as error:  # perhaps the next one can be
                print(f"{parser.prog}: warning: {error}", file=sys.stderr)

    session = training.Training(
        net,
        loss,
        *sets["train"],
        settings,
        rng=rng,
        validation=sets.get("validation"),
        test=sets["test"],
        input=args.input or "auto",
        on_epoch=on_epoch,
        on_batch=on_batch,
    )
    if checkpoint:
        try:
            checkpoint.resume(session)
        except training.CheckpointError as error:
            parser.error(str(error))

    density = session.density
    used = "dense" if density is None else "sparse"
    share = "" if density is None else f", {density:.0%} of the pixels are not zero"
    report.line(
        f"data      {dataset.name}: {split}, {pixels} pixels, {dataset.classes} classes\n"
        f"network   {widths}{', tanh' if hidden else ''}, {parameters} parameters\n"
        f"training  {', '.join(summary(args, settings, size))}\n"
        f"input     {used}{share}\n"
        f"machine   {training.cpu_model()}, threads {kernels.get_num_threads()}"
    )

    if checkpoint:
        report.line(f"goes on   {args.resume}: epoch {session.epoch}, after batch {session.batch}")

    kernels.on_compile(report.compiling)
    if args.gradcheck:
        checked = training.gradcheck_mlp(len(hidden))
        if not checked:
            parser.fail(f"gradient check failed: {checked}")
        report.line(f"gradient check passed, worst: {checked}")
    training.warm_up(net, loss, *sets["train"], input=used, **asdict(settings))
    compile_seconds = report.compiled()

    history = session.history
    interrupt.training = True
    report.start()
    try:
        # Not on the main thread, which alone can answer Ctrl-C while compiled code runs a batch.
        with ThreadPoolExecutor(1) as elsewhere:
            elsewhere.submit(session.run).result()
    except KeyboardInterrupt as stop:
        report.line(str(stop))
    except training.DivergedError as error:
        parser.fail(f"{error}; try a lower --lr than {settings.rate:g}")
    finally:
        interrupt.hint.cancel()
        report.stop()
    if args.save:
        try:
            save()
        except training.CheckpointError as error:
            parser.fail(str(error))
        report.line(f"saved to {args.save}")
        if interrupt.asked:
            report.line(f"to go on: {going_on(args, parser.command)}")

    # Those of the last epoch, if these are its weights.
    last = len(history) == settings.epochs > 0 and not settings.early_stopping
    errors = history[-1].test_errors if last and session.batch == 0 else None
    if errors is None:
        errors = training.evaluate(net, loss, *sets["test"]).errors
    print_errors(errors, counts["test"])
    chosen = {
        "arch": None if args.hidden else args.arch,
        "hidden": hidden,
        "data": dataset.name,
        "dropout": args.dropout,
        "label_smoothing": args.label_smoothing,
        "validation": args.validation,
        **{"lr" if name == "rate" else name: v for name, v in asdict(settings).items()},
        "batch_size": settings.batch_size or "full",
        "seed": args.seed,
        "input": used,
    }
    if args.metrics:
        record = {
            "settings": chosen,
            "epochs": [
                {name: value for name, value in asdict(epoch).items() if value is not None}
                for epoch in history
            ],
            "interrupted": interrupt.asked,
            "test_errors": errors,
            "test_images": counts["test"],
            "weights_sha256": training.weights_sha256(net),
            "compile_seconds": compile_seconds,
            "versions": training.versions(),
            "cpu": training.cpu_model(),
            "threads": kernels.get_num_threads(),
        }
        write_metrics(args, record, parser)
    if args.report:
        machine = {"cpu": training.cpu_model(), "threads": kernels.get_num_threads()}
        digest = {"weights_sha256": training.weights_sha256(net)}
        try:
            training.write_report(args.report, net, history, chosen | machine | digest, sets)
        except OSError as error:
            parser.fail(f"argument --report: {error.filename or args.report}: {error.strerror}")
        report.line(f"report: {os.path.join(args.report, 'index.html')}")
    return INTERRUPTED if interrupt.asked else 0


def keeps(args: argparse.Namespace) -> bool:
    """Whether checkpoints are read or written, which depend on the data."""
    return bool(args.save or args.resume)


def going_on(args: argparse.Namespace, command: str) -> str:
    """Return the command line that goes on where this run has stopped and saved."""
    given = {**vars(args), "resume": args.save, "gradcheck": False}
    words = command.split()
    for name in ("resume", *(name for name in vars(ways_to_run()) if name != "resume")):
        if given[name]:
            words.append(f"--{name.replace('_', '-')}")
            words += [] if given[name] is True else [str(given[name])]
    return shlex.join(words)


def print_errors(errors: int, images: int) -> None:
    print(f"test errors: {errors} / {images} ({errors / images:.2%})", flush=True)


def check_metrics(args: argparse.Namespace, parser: "Parser") -> None:
    from jitprop.training import check_writable

    if args.metrics:
        try:
            check_writable(args.metrics)
        except OSError as error:
            parser.error(f"argument --metrics: {args.metrics}: {error.strerror}")


def write_metrics(args: argparse.Namespace, record: dict[str, Any], parser: "Parser") -> None:
    from jitprop import training

    try:
        training.write_json(args.metrics, record)
    except OSError as error:
        parser.fail(f"argument --metrics: {args.metrics}: {error.strerror}")


def settings_of(args: argparse.Namespace) -> Settings:
    """Return what was asked for, and defaults for the rest."""
    given = {f.name: getattr(args, f.name) for f in fields(Settings) if hasattr(args, f.name)}
    return settings_for(args.arch, **given)


def summary(args: argparse.Namespace, settings: Settings, size: int) -> list[str]:
    """How is trained, without what is switched off."""
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


class Report:
    """What a person sees of a run: lines on stdout and, on a terminal, a progress bar below."""

    def __init__(self, quiet: bool, epochs: int, batches: int, counts: dict[str, int]) -> None:
        self.quiet = quiet
        self.epochs = epochs
        self.batches = batches
        self.counts = counts
        self.bar: Any = None
        self.loss = 0.0
        self.compiling_since: float | None = None

    def line(self, text: str) -> None:
        if self.bar:
            self.bar.clear()
        if not self.quiet:
            print(text, flush=True)

    def compiling(self, kernel: str) -> None:
        """Say, before the first kernel that is not in the cache, why nothing moves."""
        if self.compiling_since is None:
            self.compiling_since = perf_counter()
            self.line("compiling kernels for this CPU, once ...")

    def compiled(self) -> float:
        """Say how long that took; return the seconds."""
        if self.compiling_since is None:
            return 0.0
        seconds = perf_counter() - self.compiling_since
        self.line(f"compiled in {seconds:.1f} s")
        return seconds

    def start(self) -> None:
        """Begin the table of epochs, and the bar."""
        errors = "".join(f"{name + ' errors':>19}" for name in self.counts)
        self.line(f"\n{'epoch':>7}{'train loss':>12}{errors}{'seconds':>9}")
        if not self.quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=self.epochs * self.batches,
                bar_format="{desc} {percentage:3.0f}% {bar} {remaining} left{postfix}",
                leave=False,
                dynamic_ncols=True,
            )

    def batch(self, epoch: int, batch: int, loss: float) -> None:
        if self.bar:
            self.loss += (loss - self.loss) / 5 if self.loss else loss  # steady enough to read
            self.bar.set_description_str(f"epoch {epoch}/{self.epochs}", refresh=False)
            self.bar.set_postfix_str(f"loss {self.loss:#.3g}", refresh=False)
            self.bar.update((epoch - 1) * self.batches + batch - self.bar.n)

    def epoch(self, epoch: "Epoch") -> None:
        columns = [f"{f'{epoch.epoch}/{self.epochs}':>7}{epoch.train_loss:#12.4g}"]
        for name, count in self.counts.items():
            errors = getattr(epoch, f"{name}_errors")
            columns.append(f"{f'{errors} ({errors / count:.2%})':>19}")
        self.line("".join(columns) + f"{epoch.train_seconds:9.2f}")

    def stop(self) -> None:
        if self.bar:
            self.bar.close()
            self.bar = None


class Interrupt:
    """Ctrl-C. While training, the first asks for an end after this batch, the second ends at once.

    Before training nothing has been learned, so the first ends the process, and does so right here:
    as an exception it would come up anywhere in a compiler that does not expect one.
    """

    def __init__(self, prog: str) -> None:
        self.prog = prog.encode()
        self.training = False
        self.asked = False
        # Of a long batch: most end before anybody could read it. A terminal shows "^C" before it.
        text = self.prog + b": ends after this batch; Ctrl-C again ends at once\n"
        self.hint = Timer(0.15, os.write, (2, b"\n" * os.isatty(2) + text))
        self.hint.daemon = True
        signal.signal(signal.SIGINT, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.training:
            os.write(2, self.prog + b": interrupted before training\n")
            os._exit(INTERRUPTED)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.asked = True
        self.hint.start()


class WithPresets(Parser):
    """Takes the arguments of a preset for what is not given."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the arguments."""
        found = super().parse_args(args, namespace)
        if namespace is None and getattr(found, "preset", None):
            given = sys.argv[1:] if args is None else args
            found = super().parse_args([*PRESETS[found.preset].split(), *given])
        return found


def make_parser(prog: str = "train.py") -> Parser:
    """Return the parser of all arguments; what makes no sense in `Settings` is found there."""
    rows = "".join(
        f"  {name:8}{s.epochs:>8}{s.batch_size or 'full':>12}{s.rate:>8g}{s.momentum:>10g}\n"
        for name, s in DEFAULTS.items()
    )
    parser = WithPresets(
        prog=prog,
        description="Train a network of linear layers, with tanh between them, on handwritten\n"
        "digits by gradient descent on the cross-entropy, and count its errors on the\n"
        "test set after every epoch.",
        epilog=f"defaults    epochs  batch size      lr  momentum\n{rows}",
    )
    unset = argparse.SUPPRESS

    group = parser.add_argument_group("network", f"{parser.command} --hidden 300,100")
    either = group.add_mutually_exclusive_group()
    either.add_argument(
        "--arch",
        choices=ARCHITECTURES,
        default="mlp200",
        help="linear: no hidden layer; mlp200, mlp800: one, of that width; deep: "
        f"{'-'.join(map(str, ARCHITECTURES['deep']))} (default: mlp200)",
    )
    either.add_argument(
        "--hidden",
        type=hidden_widths,
        metavar="N,N,...",
        help="hidden layers of your own, such as 300,100, with the defaults of mlp200",
    )

    group = parser.add_argument_group(
        "training",
        f"{parser.command} --batch-size 1 --lr 0.01 --momentum 0    stochastic learning\n"
        f"{parser.command} --batch-size full --epochs 200           batch learning\n"
        "The defaults of each architecture stand below.",
    )
    group.add_argument(
        "--preset",
        choices=PRESETS,
        help="of mlp200, the fewest errors, or 250 in the shortest time: "
        + "; ".join(f"{name}: {flags}" for name, flags in PRESETS.items()),
    )
    group.add_argument(
        "--epochs", type=int, default=unset, metavar="N", help="passes over the training set"
    )
    group.add_argument(
        "--batch-size",
        type=batch_size,
        default=unset,
        metavar="N|full",
        help="images a step, typically 100 to 1000; 1 is stochastic learning, full is batch "
        "learning; a last short batch is trained, too",
    )
    group.add_argument(
        "--lr",
        dest="rate",
        type=float,
        default=unset,
        metavar="RATE",
        help="learning rate, typically 0.01 to 0.1; of adam and adamw 0.0001 to 0.01",
    )
    group.add_argument(
        "--seed",
        type=integer(0),
        default=0,
        metavar="N",
        help="of the initial weights, the order of the images and dropout; the same seed gives the "
        "same network to the bit (default: 0)",
    )

    group = parser.add_argument_group(
        "optimizer", f"{parser.command} --optimizer adamw --lr 0.002 --weight-decay 0.05"
    )
    group.add_argument(
        "--optimizer",
        choices=OPTIMIZERS,
        default=unset,
        help="sgd: gradient descent, with momentum; adam; adamw: adam with weight decay beside the "
        "gradient. The defaults of adam and adamw are those of PyTorch: --lr 0.001 (default: sgd)",
    )
    group.add_argument(
        "--momentum",
        type=float,
        default=unset,
        metavar="M",
        help="of sgd: share of the last step that goes into the next, 0 to below 1, typically 0.9",
    )
    group.add_argument(
        "--nesterov", action="store_true", default=unset, help="of sgd: Nesterov's momentum"
    )
    group.add_argument(
        "--betas",
        type=two_numbers,
        default=unset,
        metavar="B1,B2",
        help="of adam and adamw: how much a step keeps of the means of the gradient and of its "
        "square, 0 to below 1 (default: 0.9,0.999)",
    )
    group.add_argument(
        "--eps",
        type=float,
        default=unset,
        metavar="E",
        help="of adam and adamw: added to the root of that square (default: 1e-08)",
    )
    group.add_argument(
        "--weight-decay",
        type=float,
        default=unset,
        metavar="D",
        help="how much weights, not biases, are drawn to 0, typically 1e-5 to 1e-3 in sgd and "
        "adam, 0.01 to 0.1 in adamw (default: 0; 0.01 in adamw)",
    )

    group = parser.add_argument_group(
        "schedule of the learning rate", f"{parser.command} --schedule cosine --warmup 0.5"
    )
    group.add_argument(
        "--schedule",
        choices=SCHEDULES,
        default=unset,
        help="constant; linear and cosine: falls to 0, step by step, until the end; step: every "
        "--step-size epochs it is multiplied by --gamma (default: constant)",
    )
    group.add_argument(
        "--warmup",
        type=float,
        default=unset,
        metavar="EPOCHS",
        help="epochs, or a part of one, in which it first rises from 0 (default: 0)",
    )
    group.add_argument(
        "--step-size", type=int, default=unset, metavar="N", help="of step: epochs (default: 5)"
    )
    group.add_argument(
        "--gamma",
        type=float,
        default=unset,
        metavar="G",
        help="of step: a factor above 0, at most 1 (default: 0.1)",
    )

    group = parser.add_argument_group(
        "regularization and early stopping",
        f"{parser.command} --dropout 0.2 --label-smoothing 0.05\n"
        f"{parser.command} --epochs 50 --validation 10000 --early-stopping --patience 3",
    )
    group.add_argument(
        "--dropout",
        type=share(below_one=True),
        default=0.0,
        metavar="P",
        help="outputs of hidden layers are set to 0 with this probability in training, 0 to below "
        "1, typically 0.1 to 0.5 (default: 0)",
    )
    group.add_argument(
        "--label-smoothing",
        type=share(),
        default=0.0,
        metavar="S",
        help="share of the target that goes to all classes alike, 0 to 1, typically 0.1 "
        "(default: 0)",
    )
    group.add_argument(
        "--early-stopping",
        action="store_true",
        default=unset,
        help="stop where the errors on the --validation images have not become fewer (or, of as "
        "many, the loss lower) for --patience epochs; end with the weights of the best epoch",
    )
    group.add_argument(
        "--patience", type=int, default=unset, metavar="N", help="such epochs (default: 5)"
    )

    group = parser.add_argument_group(
        "data", f"{parser.command} --validation 10000 --metrics run.json    to choose settings by"
    )
    group.add_argument(
        "--data",
        metavar="DIR",
        help="folder of IDX files, raw or .gz, such as Fashion-MNIST's (default: MNIST, embedded)",
    )
    group.add_argument(
        "--validation",
        type=integer(0),
        default=0,
        metavar="N",
        help="hold out the last N training images and count errors on them, too (default: 0)",
    )

    add_ways_to_run(parser)
    return parser


def ways_to_run() -> argparse.Namespace:
    """Return the arguments that a run which goes on need not share, unset."""
    parser = WithPresets(add_help=False)
    add_ways_to_run(parser)
    return parser.parse_args([])


def add_ways_to_run(parser: Parser) -> None:
    """Add the arguments that do not tell what is learned."""
    group = parser.add_argument_group(
        "checkpoints",
        f"{parser.command} --save net.safetensors        Ctrl-C says how to go on\n"
        f"{parser.command} --evaluate net.safetensors    what is taken for what",
    )
    group.add_argument(
        "--save",
        metavar="FILE",
        help="write the network, and all that is needed to go on, at the end or after Ctrl-C",
    )
    group.add_argument(
        "--checkpoint-every",
        type=integer(1),
        metavar="N",
        help="write it after every N epochs, too; the file is replaced at once",
    )
    group.add_argument(
        "--resume",
        metavar="FILE",
        help="go on where it was saved, with the settings in it, to the same bits as a run that "
        "never stopped; --epochs may be another, but not with early stopping",
    )
    group.add_argument(
        "--evaluate",
        metavar="FILE",
        help="train nothing, but count its errors on the test set, digit by digit",
    )

    group = parser.add_argument_group("machine", f"{parser.command} --threads 1 --gradcheck")
    group.add_argument(
        "--threads",
        type=integer(1, MAX_THREADS),
        metavar="N",
        help="threads of the kernels (default: one per CPU); the result does not depend on it",
    )
    group.add_argument(
        "--input",
        choices=("auto", "dense", "sparse"),
        help="sparse: the first layer skips the pixels that are zero, with the same result to the "
        "bit (default: auto, whichever is faster)",
    )
    group.add_argument(
        "--gradcheck",
        action="store_true",
        help="first compare bprop with numerical differentiation, on a small network of such "
        "layers; end if they differ",
    )

    group = parser.add_argument_group("output", f"{parser.command} --metrics run.json --quiet")
    group.add_argument(
        "--metrics", metavar="FILE", help="write settings, history and results as JSON"
    )
    group.add_argument(
        "--report",
        metavar="DIR",
        help="write learning curves, mistakes, weights and the model as pictures, all of them in "
        "DIR/index.html (needs matplotlib: pip install 'jitprop[plots]')",
    )
    group.add_argument(
        "--quiet", action="store_true", help="print nothing but the last line, the test errors"
    )


def integer(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """Return a converter of arguments to integers within bounds."""
    bounds = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = lowest - 1
        if value < lowest or (highest is not None and value > highest):
            raise argparse.ArgumentTypeError(f"expected an integer {bounds}, not {text!r}")
        return value

    return convert


def share(below_one: bool = False) -> Callable[[str], float]:
    """Return a converter of arguments to numbers from 0 to 1."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1 or (below_one and value == 1):
            bounds = "0 to below 1" if below_one else "0 to 1"
            raise argparse.ArgumentTypeError(f"expected a number from {bounds}, not {text!r}")
        return value

    return convert


def two_numbers(text: str) -> tuple[float, ...]:
    """Return numbers between commas; whether they make sense is for `Settings` to say."""
    try:
        return tuple(map(float, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected two numbers, not {text!r}") from None


def batch_size(text: str) -> int | None:
    """Return the number, or None for "full"; whether it makes sense is for `Settings` to say."""
    try:
        return None if text == "full" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected an integer or full, not {text!r}") from None


def hidden_widths(text: str) -> tuple[int, ...]:
    """Return the numbers between the commas."""
    try:
        return tuple(integer(1, MAX_WIDTH)(width) for width in text.split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"expected integers from 1 to {MAX_WIDTH} such as 300,100, not {text!r}"
        ) from None
