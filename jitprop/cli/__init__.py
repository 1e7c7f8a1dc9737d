"""The command `jitprop`; `python -m jitprop` is the same."""

# Python's own, and small: until `as_program` runs, Ctrl-C shows a traceback.
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType
    from typing import NoReturn

COMMANDS = {
    "train": "train a network on handwritten digits",
    "predict": "recognise handwritten digits in your own images",
    "export": "write a network as an ONNX file, for other programs",
    "serve": "open a page that shows how a network sees, learns and trains",
    "distort": "draw distorted images, to be looked at",
    "info": "show versions, processor, and where compiled kernels are kept",
}
INTERRUPTED = 130  # 128 + SIGINT, as shells report it

interrupted = "jitprop: interrupted"  # what Ctrl-C prints; commands say where they are


def main(argv: "Sequence[str] | None" = None, prog: str = "jitprop") -> int:
    """Run a command; return its exit code. `prog` is what messages call the program."""
    from importlib import import_module

    from jitprop.cli.parser import Parser

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
    # train.py stands at the top of a clone; what is installed has it as jitprop.train.
    module = "jitprop.train" if command == "train" else f"jitprop.cli.{command}"
    return import_module(module).main(argv[1:], f"{prog} {command}")


def as_program(main: "Callable[[], int]") -> "NoReturn":
    """Run `main` as the one thing that this process does, and end with its exit code.

    Ctrl-C ends it in one line, also while packages load, and whatever they make of exceptions. What
    a stream cannot show is written as escapes. Closed streams are replaced: else the next file that
    is opened would take their number, and get the output.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)
    _mend_streams()
    code: int | str | None
    try:
        try:
            code = main()
        except SystemExit as asked:
            code = asked.code
        sys.stdout.flush()
    except ImportError as error:  # versions of packages that do not fit together
        from jitprop.cli.parser import to_install

        hint = f": {to_install()}" if isinstance(error, ModuleNotFoundError) else ""
        print(f"jitprop: error: {' '.join(str(error).split())}{hint}", file=sys.stderr)
        code = 2
    except OSError as error:
        if error.filename is None:  # of a stream
            code = _without_output(error)
        else:
            print(f"jitprop: error: {error.filename}: {error.strerror}", file=sys.stderr)
            code = 1
    sys.exit(code)


def run() -> "NoReturn":
    """What the installed command calls."""
    as_program(main)


def end(number: int, frame: "FrameType | None") -> None:
    """End this process: as an exception, Ctrl-C would come up where nobody expects one."""
    os.write(2, b"\n" * os.isatty(2) + f"{interrupted}\n".encode())
    os._exit(INTERRUPTED)


def _mend_streams() -> None:
    """Open streams that are closed, and have them all take any text."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it takes the lowest number that is free
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _without_output(error: OSError) -> int:
    """Say that what was printed went nowhere, and return the exit code."""
    # Else Python would try once more as it ends, and say so in its own words.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if isinstance(error, BrokenPipeError):  # `| head` has seen enough, and ends this as other tools
        if hasattr(signal, "SIGPIPE"):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGPIPE)
        return 1
    print(f"jitprop: error: cannot print: {error.strerror or error}", file=sys.stderr)
    return 1
