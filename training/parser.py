"""Arguments of a command line, refused in one line."""

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line.

    Attributes:
        of: where the arguments come from, for the line.
    """

    of = ""

    def error(self, message: str) -> NoReturn:
        """End because of what was asked for."""
        self.exit(2, f"{self.prog}: error: {self.of}{message}\n")

    def fail(self, message: str) -> NoReturn:
        """End because of what came out."""
        self.exit(1, f"{self.prog}: error: {message}\n")
