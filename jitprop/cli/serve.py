"""Open a page that shows how a network sees, learns and trains: `jitprop serve`."""

import argparse
import os
import sys
import threading
import webbrowser
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from jitprop import cli
from jitprop.cli.parser import Parser
from jitprop.cli.values import a_path, integer
from jitprop.training.text import printable

if TYPE_CHECKING:
    from jitprop.web.looking import Model
    from jitprop.web.room import Room

NEEDED = {"starlette": "Starlette", "uvicorn": "uvicorn", "PIL": "Pillow", "scipy": "SciPy"}

EXAMPLES = """\
The one line that it prints is the address of the page. Only this machine reaches it, and only who
knows the address. Ctrl-C ends it.

examples:
  {command}
  {command} net.safetensors other.safetensors
  {command} --no-browser --port 8000
  {command} --host 0.0.0.0    for a phone in the same network, too
"""


def main(argv: Sequence[str] | None = None, prog: str = "jitprop serve") -> int:
    """Run the command line until Ctrl-C ends it. `prog` is what messages call the command."""
    cli.interrupted = f"{prog}: interrupted"
    parser = make_parser(prog)
    args = parser.parse_args(argv)
    parser.check_installed()
    missing = [name for module, name in NEEDED.items() if find_spec(module) is None]
    if missing:
        parser.error(f"the page needs {' and '.join(missing)}: pip install 'jitprop[web]'")
    try:
        return run(args, parser)
    except KeyboardInterrupt:
        print(cli.interrupted, file=sys.stderr)
        return cli.INTERRUPTED


def run(args: argparse.Namespace, parser: Parser) -> int:
    """Listen, say where, load what is behind the page, and answer."""
    from jitprop.web.room import Room
    from jitprop.web.server import Server

    # What a person gives is looked at before anything is said; the shipped network loads after.
    given = [opened(path, parser) for path in args.files]
    room = Room()
    try:
        server = Server(room, args.host, args.port)
    except (OSError, OverflowError, UnicodeError) as error:
        where = f"{args.host}, port {args.port}"
        parser.error(f"cannot listen on {where}: {getattr(error, 'strerror', None) or error}")
    server.start()
    print(server.address, flush=True)
    if not args.no_browser and has_screen():
        threading.Thread(target=webbrowser.open, args=(server.address,), daemon=True).start()
    try:
        load(room, given)
    except BaseException as error:
        room.give_up()  # else requests that wait would keep this process
        server.stop()
        if isinstance(error, ImportError | OSError | ValueError):
            parser.fail(f"cannot load what the page shows: {error}")
        raise
    server.wait()
    return 0


def load(room: "Room", given: "list[Model]") -> None:
    """Put the networks and MNIST behind the page, and compile what it will need."""
    import jitprop
    from jitprop.cli.predict import MODEL
    from jitprop.web.looking import Model, warm_up
    from jitprop.web.runs import Runs

    models = [Model("784-800-400-10, as shipped", jitprop.load(MODEL)), *given]
    mnist = jitprop.data.load_dataset()
    for model in models:
        model.judge(mnist)
    room.open(models, Runs(mnist))
    warm_up(models, mnist)


def opened(path: str, parser: Parser) -> "Model":
    """Return the network in a file; end where it is none that the page can show."""
    import jitprop
    from jitprop.cli.predict import described
    from jitprop.web.looking import Model

    try:
        return Model(printable(Path(path).name), jitprop.load(path))
    except (OSError, TypeError, ValueError) as error:
        parser.error(f"argument FILE: {described(error, path)}")


def has_screen() -> bool:
    """Return whether a browser can open a window; else it might open in the terminal."""
    if sys.platform in ("win32", "darwin"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def make_parser(prog: str) -> Parser:
    """Return the parser of all arguments."""
    parser = Parser(
        prog=prog,
        description="Open a page in the browser: draw a digit, see what a network makes of it,\n"
        "forwards and backwards; teach it, train others, check their gradients.",
        epilog=EXAMPLES.format(command=prog),
    )
    parser.add_argument(
        "files",
        nargs="*",
        type=a_path,
        metavar="FILE",
        help="network that train.py saved, to be shown beside the one that is part of jitprop",
    )
    parser.add_argument(
        "--port",
        type=integer(0, 65535),
        default=0,
        metavar="N",
        help="port to listen on (default: one that is free)",
    )
    parser.add_argument(
        "--host",
        type=a_path,
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on (default: 127.0.0.1, which only this machine reaches)",
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="print the address, and open no browser"
    )
    return parser
