"""The arguments of `jitprop train`, and what they mean together."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from jitprop.cli.parser import Parser, a_path
from jitprop.training.settings import (
    ARCHITECTURES,
    DEFAULTS,
    OPTIMIZERS,
    PRESETS,
    SCHEDULES,
    Settings,
    settings_for,
)

MAX_WIDTH = 10**9  # two such sizes make a matrix of fewer than 2**63 bytes: no overflow
MAX_THREADS = 1024


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
        type=a_path,
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
        type=a_path,
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
        type=a_path,
        metavar="FILE",
        help="go on where it was saved, with the settings in it, to the same bits as a run that "
        "never stopped; --epochs may be another, but not with early stopping; the schedules linear "
        "and cosine then go on as if that many had been meant from the beginning",
    )
    group.add_argument(
        "--evaluate",
        type=a_path,
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
        "--metrics", type=a_path, metavar="FILE", help="write settings, history and results as JSON"
    )
    group.add_argument(
        "--report",
        type=a_path,
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


def settings_of(args: argparse.Namespace) -> Settings:
    """Return what was asked for, and defaults for the rest."""
    given = {f.name: getattr(args, f.name) for f in fields(Settings) if hasattr(args, f.name)}
    return settings_for(args.arch, **given)


def own_command(argv: Sequence[str]) -> list[str]:
    """Return the arguments that say what to train, without those that say how to run it."""
    parser = WithPresets(add_help=False)
    add_ways_to_run(parser)
    return parser.parse_known_args(argv)[1]


def going_on(args: argparse.Namespace, command: str) -> str:
    """Return the command line that goes on where this run has stopped and saved."""
    given = {**vars(args), "resume": args.save, "gradcheck": False}
    words = command.split()
    for name in ("resume", *(name for name in vars(ways_to_run()) if name != "resume")):
        if given[name]:
            words.append(f"--{name.replace('_', '-')}")
            words += [] if given[name] is True else [str(given[name])]
    return shlex.join(words)
