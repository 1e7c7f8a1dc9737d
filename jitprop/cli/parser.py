"""Arguments of a command line, refused in one line."""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

REQUIRED = ("numpy", "numba", "safetensors", "tqdm")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line.

    Attributes:
        of: where the arguments come from, for the line.
    """

    of = ""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options
        )

    @property
    def command(self) -> str:
        """What a person types to run this."""
        return f"python {self.prog}" if self.prog.endswith(".py") else self.prog

    def error(self, message: str) -> NoReturn:
        """End because of what was asked for."""
        self.exit(2, f"{self.prog}: error: {self.of}{message}\n")

    def fail(self, message: str) -> NoReturn:
        """End because of what came out."""
        self.exit(1, f"{self.prog}: error: {message}\n")

    def check_installed(self) -> None:
        """End if a package is missing that every command needs."""
        missing = [name for name in REQUIRED if find_spec(name) is None]
        if missing:
            root = Path(__file__).parents[2]
            what = f"-e {root}" if (root / "pyproject.toml").is_file() else "jitprop"
            verb = "is" if len(missing) == 1 else "are"
            self.error(
                f"{', '.join(missing)} {verb} not installed; "
                f"type: {sys.executable or 'python'} -m pip install {what}"
            )

    def check_files(
        self, inputs: Sequence[tuple[str, Any]], outputs: Sequence[tuple[str, Any]]
    ) -> None:
        """End if a file that is to be written is also read, or written by another argument.

        Both are pairs of an argument and a path; a path of None is not given.
        """
        from jitprop.training.files import same_file

        before = [(flag, path, "reads") for flag, path in inputs if path is not None]
        for flag, path in outputs:
            if path is None:
                continue
            for other, taken, does in before:
                if same_file(path, taken):
                    self.error(f"argument {flag}: {printable(path)} is what {other} {does}")
            before.append((flag, path, "writes"))


def a_path(text: str) -> str:
    """Return an argument that names a file, which an unset variable of a shell does not."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, not ''")
    return text


def printable(text: object) -> str:
    """Return the text with what a terminal or an encoding could trip over written as escapes."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text)
    )
