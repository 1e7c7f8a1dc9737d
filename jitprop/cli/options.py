"""The arguments of `jitprop train`, group by group, as its page of help shows them."""

import argparse
from typing import Any, NamedTuple

from jitprop.cli.values import (
    a_path,
    batch_size,
    hidden_widths,
    integer,
    not_negative,
    share,
    two_numbers,
)
from jitprop.training.distortion import Distortion
from jitprop.training.settings import (
    ACTIVATIONS,
    ARCHITECTURES,
    OPTIMIZERS,
    PRESETS,
    SCHEDULES,
)

MAX_THREADS = 1024
UNSET = argparse.SUPPRESS


class Group(NamedTuple):
    """Arguments under a title of the page of help, after examples."""

    title: str
    examples: str
    arguments: list[tuple[str, dict[str, Any]]]


def arg(flag: str, **options: Any) -> tuple[str, dict[str, Any]]:
    """Return an argument in the form that `add_argument` takes."""
    return flag, options


# The arguments that distort images, each with its name in `Distortion`.
MOVES = {
    "--elastic-alpha": "alpha",
    "--elastic-sigma": "sigma",
    "--rotate": "rotate",
    "--shear": "shear",
    "--scale": "scale",
    "--shift": "shift",
}


def move(flag: str, unit: str, words: str) -> tuple[str, dict[str, Any]]:
    """Return an argument that distorts images."""
    least = f"{Distortion.sigma:g}" if flag == "--elastic-sigma" else "0"
    return arg(flag, type=float, metavar=unit, help=f"{words} (default: {least})")


# What to learn: all this stays the same when a run goes on.
LEARNING = [
    Group(
        "network",
        "{command} --hidden 300,100",
        [
            arg(
                "--arch",
                choices=ARCHITECTURES,
                default="mlp200",
                help="linear: no hidden layer; mlp200, mlp800: one, of that width; deep: "
                f"{'-'.join(map(str, ARCHITECTURES['deep']))} (default: mlp200)",
            ),
            arg(
                "--hidden",
                type=hidden_widths,
                metavar="N,N,...",
                help="hidden layers of your own, such as 300,100, with the defaults of mlp200",
            ),
            arg(
                "--activation",
                choices=ACTIVATIONS,
                default="tanh",
                help="of the hidden layers (default: tanh)",
            ),
        ],
    ),
    Group(
        "training",
        "{command} --batch-size 1 --lr 0.01 --momentum 0    stochastic learning\n"
        "{command} --batch-size full --epochs 200           batch learning\n"
        "The defaults of each architecture stand below.",
        [
            arg(
                "--preset",
                choices=PRESETS,
                help="several of these arguments at once; what is given beside it wins. Of mlp200, "
                "the fewest errors, or 250 soon; with networks of their own, so many errors: "
                + "; ".join(f"{name}: {flags}" for name, flags in PRESETS.items()),
            ),
            arg(
                "--epochs",
                type=int,
                default=UNSET,
                metavar="N",
                help="passes over the training set",
            ),
            arg(
                "--batch-size",
                type=batch_size,
                default=UNSET,
                metavar="N|full",
                help="images a step, typically 100 to 1000; 1 is stochastic learning, full is "
                "batch "
                "learning; a last short batch is trained, too",
            ),
            arg(
                "--lr",
                dest="rate",
                type=float,
                default=UNSET,
                metavar="RATE",
                help="learning rate, typically 0.01 to 0.1; of adam and adamw 0.0001 to 0.01",
            ),
            arg(
                "--seed",
                type=integer(0),
                default=0,
                metavar="N",
                help="of the initial weights, the order of the images, dropout and noise; the same "
                "seed gives the same network to the bit (default: 0)",
            ),
        ],
    ),
    Group(
        "optimizer",
        "{command} --optimizer adamw --lr 0.002 --weight-decay 0.05",
        [
            arg(
                "--optimizer",
                choices=OPTIMIZERS,
                default=UNSET,
                help="sgd: gradient descent, with momentum; adam; adamw: adam with weight decay "
                "beside the "
                "gradient. The defaults of adam and adamw are those of PyTorch: --lr 0.001 "
                "(default: sgd)",
            ),
            arg(
                "--momentum",
                type=float,
                default=UNSET,
                metavar="M",
                help="of sgd: share of the last step that goes into the next, 0 to below 1, "
                "typically 0.9",
            ),
            arg(
                "--nesterov", action="store_true", default=UNSET, help="of sgd: Nesterov's momentum"
            ),
            arg(
                "--betas",
                type=two_numbers,
                default=UNSET,
                metavar="B1,B2",
                help="of adam and adamw: how much a step keeps of the means of the gradient and "
                "of its "
                "square, 0 to below 1 (default: 0.9,0.999)",
            ),
            arg(
                "--eps",
                type=float,
                default=UNSET,
                metavar="E",
                help="of adam and adamw: added to the root of that square (default: 1e-08)",
            ),
            arg(
                "--weight-decay",
                type=float,
                default=UNSET,
                metavar="D",
                help="how much weights, not biases, are drawn to 0, typically 1e-5 to 1e-3 in sgd "
                "and "
                "adam, 0.01 to 0.1 in adamw (default: 0; 0.01 in adamw)",
            ),
        ],
    ),
    Group(
        "schedule of the learning rate",
        "{command} --schedule cosine --warmup 0.5",
        [
            arg(
                "--schedule",
                choices=SCHEDULES,
                default=UNSET,
                help="constant; linear and cosine: falls to 0, step by step, until the end; step: "
                "every "
                "--step-size epochs it is multiplied by --gamma (default: as below)",
            ),
            arg(
                "--warmup",
                type=float,
                default=UNSET,
                metavar="EPOCHS",
                help="epochs, or a part of one, in which it first rises from 0 (default: 0)",
            ),
            arg(
                "--step-size",
                type=int,
                default=UNSET,
                metavar="N",
                help="of step: epochs (default: 5)",
            ),
            arg(
                "--gamma",
                type=float,
                default=UNSET,
                metavar="G",
                help="of step: a factor above 0, at most 1 (default: 0.1)",
            ),
        ],
    ),
    Group(
        "regularization and early stopping",
        "{command} --dropout 0.2 --label-smoothing 0.05\n"
        "{command} --epochs 50 --validation 10000 --early-stopping --patience 3",
        [
            arg(
                "--dropout",
                type=share(below_one=True),
                default=0.0,
                metavar="P",
                help="outputs of hidden layers are set to 0 with this probability in training, 0 "
                "to below "
                "1, typically 0.1 to 0.5 (default: 0)",
            ),
            arg(
                "--input-dropout",
                type=share(below_one=True),
                default=0.0,
                metavar="P",
                help="the same for pixels, typically 0.2 (default: 0)",
            ),
            arg(
                "--input-noise",
                type=not_negative,
                default=0.0,
                metavar="STD",
                help="in training, add normal random numbers with this standard deviation to the "
                "pixels, which lie between 0 and 1; typically 0.1 to 0.4 (default: 0)",
            ),
            arg(
                "--max-norm",
                type=float,
                default=UNSET,
                metavar="N",
                help="after each step, the weights that lead to one unit are pulled back where "
                "their norm is above this, typically 2 to 4; 0 for none (default: 0)",
            ),
            arg(
                "--average",
                type=float,
                default=UNSET,
                metavar="EPOCHS|SHARE",
                help="evaluate and save the mean of the weights: from 1 on, over the last so many "
                "epochs; below 1, over all steps: each step keeps this share of the mean, "
                "typically 0.999; 0 for none (default: 0)",
            ),
            arg(
                "--label-smoothing",
                type=share(),
                default=0.0,
                metavar="S",
                help="share of the target that goes to all classes alike, 0 to 1, typically 0.1 "
                "(default: 0)",
            ),
            arg(
                "--early-stopping",
                action="store_true",
                default=UNSET,
                help="stop where the errors on the --validation images have not become fewer (or, "
                "of as "
                "many, the loss lower) for --patience epochs; end with the weights of the best "
                "epoch",
            ),
            arg(
                "--patience", type=int, default=UNSET, metavar="N", help="such epochs (default: 5)"
            ),
        ],
    ),
    Group(
        "distorted images",
        "{command} --distort --epochs 30 --schedule linear\n"
        "{command} --rotate 10 --shift 1                    nothing but these",
        [
            arg(
                "--distort",
                action="store_true",
                help="all of the following at once: "
                + ", ".join(
                    f"{flag} {getattr(Distortion, name):g}" for flag, name in MOVES.items()
                ),
            ),
            move("--elastic-alpha", "A", "how far pixels go by themselves"),
            move("--elastic-sigma", "PIXELS", "over which neighbours go together"),
            move("--rotate", "DEGREES", "at most, either way"),
            move("--shear", "DEGREES", "at most, either way"),
            move("--scale", "S", "at most so much larger or smaller, 0.1 for a tenth"),
            move("--shift", "PIXELS", "at most, up or down, right or left"),
        ],
    ),
    Group(
        "data",
        "{command} --validation 10000 --metrics run.json    to choose settings by",
        [
            arg(
                "--data",
                type=a_path,
                metavar="DIR",
                help="folder of IDX files, raw or .gz, such as Fashion-MNIST's; of several sets "
                "in it, DIR/emnist-letters is one; class k is label k (default: MNIST, embedded)",
            ),
            arg(
                "--transpose",
                choices=("yes", "no"),
                help="swap rows and columns of each image (default: yes for files whose names say "
                "EMNIST, which hold characters that lie; else no)",
            ),
            arg(
                "--validation",
                type=integer(0),
                default=0,
                metavar="N",
                help="hold out the last N training images and count errors on them, too (default: "
                "0)",
            ),
        ],
    ),
]

# How to run it, and what to keep.
RUNNING = [
    Group(
        "checkpoints",
        "{command} --save net.safetensors        Ctrl-C says how to go on\n"
        "{command} --evaluate net.safetensors    what is taken for what",
        [
            arg(
                "--save",
                type=a_path,
                metavar="FILE",
                help="write the network, and all that is needed to go on, at the end or after "
                "Ctrl-C",
            ),
            arg(
                "--checkpoint-every",
                type=integer(1),
                metavar="N",
                help="write it after every N epochs, too; the file is replaced at once",
            ),
            arg(
                "--resume",
                type=a_path,
                metavar="FILE",
                help="go on where it was saved, with the settings in it, to the same bits as a "
                "run that "
                "never stopped; --epochs may be another, but not with early stopping; the "
                "schedules linear "
                "and cosine then go on as if that many had been meant from the beginning",
            ),
            arg(
                "--evaluate",
                type=a_path,
                action="append",
                metavar="FILE",
                help="train nothing, but count its errors on the test set, class by class; given "
                "again for other files, the errors of all together, by the mean of their "
                "probabilities, on the data of the first",
            ),
        ],
    ),
    Group(
        "machine",
        "{command} --gradcheck               trains nothing\n{command} --threads 1 --input dense",
        [
            arg(
                "--threads",
                type=integer(1, MAX_THREADS),
                metavar="N",
                help="threads of the kernels (default: one per CPU); the result does not depend "
                "on it",
            ),
            arg(
                "--input",
                choices=("auto", "dense", "sparse"),
                help="sparse: the first layer skips the pixels that are zero, with the same "
                "result to the "
                "bit (default: auto, whichever is faster)",
            ),
            arg(
                "--gradcheck",
                action="store_true",
                help="compare bprop with numerical differentiation, layer by layer, on a small "
                "network of such layers, and end; with --epochs, --preset, --save, --resume, "
                "--metrics or --report, train where they agree",
            ),
        ],
    ),
    Group(
        "output",
        "{command} --metrics run.json --quiet",
        [
            arg(
                "--metrics",
                type=a_path,
                metavar="FILE",
                help="write settings, history and results as JSON",
            ),
            arg(
                "--report",
                type=a_path,
                metavar="DIR",
                help="write learning curves, mistakes, weights and the model as pictures, all of "
                "them in "
                "DIR/index.html (needs matplotlib: pip install 'jitprop[plots]')",
            ),
            arg(
                "--quiet",
                action="store_true",
                help="print nothing but the last line: the test errors, or that gradients agree",
            ),
        ],
    ),
]
