"""The parser of a command line: it refuses a wrong argument in one line."""

import argparse
import contextlib
import shlex
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from jitprop.training.text import printable

REQUIRED = ("numpy", "numba", "safetensors", "tqdm")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line.

    Attributes
    ----------
    of : str
        The source of the arguments, for the line.
    """

    of = ""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options
        )

    @property
    def command(self) -> str:
        """The words that a person types to run this."""
        return f"python {self.prog}" if self.prog.endswith(".py") else self.prog

    def print_help(self, file: Any = None) -> None:
        """Print the page of help; argparse would be silent if that fails."""
        print(self.format_help(), end="", file=file or sys.stdout, flush=True)

    def error(self, message: str) -> NoReturn:
        """End because a request is wrong."""
        self.exit(2, f"{self.prog}: error: {printable(self.of + message)}\n")

    def fail(self, message: str) -> NoReturn:
        """End because a result is wrong."""
        self.exit(1, f"{self.prog}: error: {printable(message)}\n")

    def warn(self, message: str) -> None:
        """Say what a person may not expect; if that fails, go on anyway."""
        self.say(f"warning: {message}")

    def say(self, message: str) -> None:
        """Print a line on stderr, if that is possible."""
        with contextlib.suppress(OSError):
            print(f"{self.prog}: {printable(message)}", file=sys.stderr, flush=True)

    def check_installed(self) -> None:
        """End if a package that every command needs is missing."""
        missing = [name for name in REQUIRED if find_spec(name) is None]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            self.error(f"{', '.join(missing)} {verb} not installed: {to_install()}")

    def check_files(
        self, inputs: Sequence[tuple[str, Any]], outputs: Sequence[tuple[str, Any]]
    ) -> None:
        """End if a run would also read a file that it writes, or write it for two arguments.

        Both are pairs of an argument and a path; a path of None is not given.
        """
        from jitprop.training.files import same_file, within

        before = [(flag, path, "reads") for flag, path in inputs if path is not None]
        for flag, path in outputs:
            if path is None:
                continue
            for other, taken, does in before:
                if same_file(path, taken):
                    self.error(f"argument {flag}: {path} is what {other} {does}")
                if does == "writes" and (within(path, taken) or within(taken, path)):
                    self.error(f"argument {flag}: {path} and {taken} cannot both be there")
            before.append((flag, path, "writes"))


def to_install() -> str:
    """Return the command that installs what these sources need: from a clone, that clone."""
    root = Path(__file__).parents[2]
    what = ["-e", str(root)] if (root / "pyproject.toml").is_file() else ["jitprop"]
    return shlex.join(["pip", "install", *what])
