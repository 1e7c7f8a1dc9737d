"""The command `jitprop`; `python -m jitprop` is the same."""

import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NoReturn

from jitprop.cli.parser import Parser

COMMANDS = {
    "train": "train a network on handwritten digits",
    "predict": "recognise handwritten digits in your own images",
    "info": "show versions, processor, and where compiled kernels are kept",
}


def main(argv: Sequence[str] | None = None, prog: str = "jitprop") -> int:
    """Run a command; return its exit code. `prog` is what messages call the program."""
    argv = sys.argv[1:] if argv is None else list(argv)
    rows = "".join(f"  {name:9}{what}\n" for name, what in COMMANDS.items())
    parser = Parser(
        prog=prog,
        usage=f"{prog} [--help] [--version] COMMAND ...",
        description="Neural networks from hand-written kernels that are compiled for this CPU.",
        epilog=f"commands:\n{rows}\n`{prog} COMMAND --help` tells the options of each.",
    )
    parser.add_argument(
        "command", metavar="COMMAND", choices=COMMANDS, help=f"{', '.join(COMMANDS)}"
    )
    parser.add_argument("--version", action="store_true", help="print the version and end")
    if "--version" in argv[:1]:
        from jitprop import __version__

        print(f"jitprop {__version__}")
        return 0
    command = parser.parse_args(argv[:1] or ["--help"]).command
    return import_module(f"jitprop.cli.{command}").main(argv[1:], f"{prog} {command}")


def as_program(main: Callable[[], int]) -> NoReturn:
    """Run `main` as a process does, whose output may be cut off by `| head`; end with its code."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        sys.exit(main())
    except ImportError as error:  # versions of packages that do not fit together
        print(f"jitprop: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def run() -> NoReturn:
    """What the installed command calls."""
    as_program(main)
