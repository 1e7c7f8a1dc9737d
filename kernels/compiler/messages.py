"""Messages of the library, in one place where a program can silence or catch them.

    logging.getLogger("jitprop").setLevel(logging.ERROR)

A program that has set up Python's logging finds the messages there. Elsewhere they are lines on
stderr.
"""

import contextlib
import functools
import logging
import sys

logger = logging.getLogger("jitprop")
if logger.level == logging.NOTSET:
    logger.setLevel(logging.INFO)


class _Lines(logging.Handler):
    """Lines on stderr, unless the program has its own handlers."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.root.handlers and logger.handlers == [self] and sys.stderr:
            with contextlib.suppress(OSError):
                print(f"jitprop: {record.getMessage()}", file=sys.stderr, flush=True)


if not logger.handlers:
    logger.addHandler(_Lines())


@functools.cache
def say_once(line: str) -> None:
    """Say a line the first time only."""
    logger.warning(line)
