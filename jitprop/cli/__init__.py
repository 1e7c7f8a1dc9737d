"""The command `jitprop`; `python -m jitprop` is the same."""

# Only small modules of Python itself: until `as_program` runs, Ctrl-C shows a traceback.
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

interrupted = "jitprop: interrupted"  # what Ctrl-C prints; each command sets its own text


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
    # train.py stands at the top of a clone; an installed package has it as jitprop.train.
    module = "jitprop.train" if command == "train" else f"jitprop.cli.{command}"
    return import_module(module).main(argv[1:], f"{prog} {command}")


def as_program(main: "Callable[[], int]") -> "NoReturn":
    """Run `main` as the only work of this process, and end with its exit code.

    Ctrl-C ends it in one line, even while packages load, whatever they do with exceptions.
    Characters that a stream cannot show become escapes. Closed streams are replaced: otherwise the
    next open file would take their number, and get the output.
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
    except ImportError as error:  # or versions of packages do not fit together
        from jitprop.cli.parser import to_install

        hint = f": {to_install()}" if isinstance(error, ModuleNotFoundError) else ""
        print(f"jitprop: error: {' '.join(str(error).split())}{hint}", file=sys.stderr)
        code = 2
    except OSError as error:
        if error.filename is None:  # the error is that of a stream
            code = _without_output(error)
        else:
            print(f"jitprop: error: {error.filename}: {error.strerror}", file=sys.stderr)
            code = 1
    sys.exit(code)


def run() -> "NoReturn":
    """Run `jitprop`: the installed command calls this."""
    as_program(main)


def end(number: int, frame: "FrameType | None") -> None:
    """End this process at Ctrl-C: an exception would come up where nobody expects one."""
    os.write(2, b"\n" * os.isatty(2) + f"{interrupted}\n".encode())
    os._exit(INTERRUPTED)


def _mend_streams() -> None:
    """Open closed streams, and let all streams take any text."""
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
    """Say that the output was lost, and return the exit code."""
    # Otherwise Python would try once more as it ends, and say so in its own words.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if isinstance(error, BrokenPipeError):  # `| head` has seen enough; end as other tools do
        if hasattr(signal, "SIGPIPE"):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGPIPE)
        return 1
    print(f"jitprop: error: cannot print: {error.strerror or error}", file=sys.stderr)
    return 1
