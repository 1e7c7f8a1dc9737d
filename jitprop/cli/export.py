"""Write a network as an ONNX file: `jitprop export`."""

import os
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from jitprop import cli
from jitprop.cli.parser import Parser
from jitprop.cli.values import a_path

EXAMPLES = """\
The file takes floats, one example a row, and any number of them: pixels are divided by 255 before.

examples:
  {command} net.safetensors net.onnx
  {command} net.safetensors net.onnx --softmax
  {command} net.safetensors net.onnx --force
"""


def main(argv: Sequence[str] | None = None, prog: str = "jitprop export") -> int:
    """Run the command line; return 0. `prog` is what messages call the command."""
    cli.interrupted = f"{prog}: interrupted"
    parser = make_parser(prog)
    args = parser.parse_args(argv)
    parser.check_installed()
    from jitprop import interop, training

    parser.check_files([("NETWORK", args.network)], [("FILE", args.file)])
    if os.path.isfile(args.file) and not args.force:
        parser.error(f"argument FILE: {args.file} is there already: --force replaces it")
    try:
        checkpoint = training.read(args.network)
        seed = seed_of(checkpoint.about)
        interop.to_onnx(checkpoint.net(), args.file, softmax=args.softmax, seed=seed)
    except (ImportError, training.CheckpointError, interop.OnnxError) as error:
        parser.error(str(error))
    return 0


def seed_of(about: dict[str, Any]) -> int | None:
    """Return the seed in the notes of a checkpoint; None if there is none."""
    command = about.get("command")
    if not isinstance(command, list):
        seed = about.get("seed")
        return seed if type(seed) is int else None
    seed = "0"  # the default of train.py
    for flag, following in pairwise([*map(str, command), ""]):
        name, _, value = flag.partition("=")
        if name == "--seed":
            seed = value or following
    return int(seed) if seed.isdecimal() else None


def make_parser(prog: str) -> Parser:
    """Return the parser of all arguments."""
    parser = Parser(
        prog=prog,
        description="Write a network as an ONNX file, which onnxruntime and many others run\n"
        "(needs onnx: pip install 'jitprop[onnx]').",
        epilog=EXAMPLES.format(command=prog),
    )
    parser.add_argument(
        "network", type=a_path, metavar="NETWORK", help="network that train.py saved"
    )
    parser.add_argument("file", type=a_path, metavar="FILE", help="the ONNX file to write")
    parser.add_argument(
        "--softmax",
        action="store_true",
        help="have the file give probabilities where the network gives logits",
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    return parser
