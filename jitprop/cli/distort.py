"""Draw images as a training with distortions would see them: `jitprop distort`."""

import os
from collections.abc import Sequence

from jitprop import cli
from jitprop.cli.arguments import add_shared, distortion_of
from jitprop.cli.options import MOVES
from jitprop.cli.parser import Parser
from jitprop.cli.values import a_path, integer
from jitprop.training.distortion import Distortion

EXAMPLES = """\
Without --distort or any of the others, it is --distort.

examples:
  {command} digits.png
  {command} digits.png --distort --elastic-alpha 60
  {command} digits.png --rotate 10 --shift 1    nothing but these
  {command} letters.png --data emnist-letters --force
"""


def main(argv: Sequence[str] | None = None, prog: str = "jitprop distort") -> int:
    """Run the command line; return 0. `prog` is what messages call the command."""
    cli.interrupted = f"{prog}: interrupted"
    parser = make_parser(prog)
    args = parser.parse_args(argv)
    parser.check_installed()
    from jitprop.cli.sets import read_dataset
    from jitprop.reporting.page import need_matplotlib
    from jitprop.training.distorting import gallery
    from jitprop.training.files import check_writable, write_bytes

    if not args.file.lower().endswith(".png"):
        parser.error(f"argument FILE: {args.file}: expected a name that ends in .png")
    if os.path.isfile(args.file) and not args.force:
        parser.error(f"argument FILE: {args.file} is there already: --force replaces it")
    try:
        how = distortion_of(args) or Distortion()
        need_matplotlib()
        check_writable(args.file)
        dataset = read_dataset(parser, args)
        parser.check_files([("--data", file) for file in dataset.files], [("FILE", args.file)])
        rows = gallery(dataset.train_images, dataset.train_labels, how, args.seed)
        from jitprop.reporting.pictures import distortions, png

        write_bytes(args.file, png(distortions(rows)))
    except OSError as error:
        parser.error(f"argument FILE: {args.file}: {error.strerror}")
    except (ImportError, ValueError) as error:
        parser.error(str(error))
    return 0


def make_parser(prog: str) -> Parser:
    """Return the parser of all arguments."""
    parser = Parser(
        prog=prog,
        description="Draw training images, and below each what three epochs of a training that\n"
        "distorts them would see (needs matplotlib: pip install 'jitprop[plots]').",
        epilog=EXAMPLES.format(command=prog),
    )
    parser.add_argument("file", type=a_path, metavar="FILE", help="the PNG file to write")
    add_shared(parser, "--distort", *MOVES)
    parser.add_argument(
        "--seed",
        type=integer(0, 2**63 - 1),
        default=0,
        metavar="N",
        help="of the distortions (default: 0)",
    )
    add_shared(parser, "--data", "--transpose")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    return parser
