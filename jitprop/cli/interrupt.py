"""Ctrl-C and other requests to end, while a command trains."""

import contextlib
import os
import signal
import threading
from threading import Timer
from time import monotonic
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from jitprop import cli
from jitprop.cli.parser import Parser

if TYPE_CHECKING:
    from jitprop.training import Training
    from jitprop.training.progress import Progress

# A closed terminal and `kill` ask for the same as Ctrl-C.
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]

AGAIN = 0.15  # seconds


class Interrupt:
    """While training, a signal asks for an end after this batch; Ctrl-C once more ends at once.

    A terminal that is closed says so twice, and some programs pass Ctrl-C on a second time. So a
    signal within AGAIN seconds is the same request, and so is any other signal, however late.

    Before and after training, signals do what they did before. So they do for a caller in another
    thread than the main one, which alone may handle them.

    Attributes
    ----------
    code : int
        Exit code of a run that was asked to end, as shells report it; 0 of one that was not.
    """

    def __init__(self, prog: str) -> None:
        self.code = 0
        self._since = 0.0
        # Of a long batch: most end before anybody could read it. A terminal shows "^C" before it.
        text = f"{prog}: ends after this batch; Ctrl-C again ends at once\n".encode()
        self._hint = Timer(AGAIN, self._say, (text,))
        self._hint.daemon = True
        self._before: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether the run shall end."""
        return bool(self.code)

    def ask(self, code: int) -> None:
        """Ask for an end after this batch."""
        self.code = self.code or code

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.getsignal(number)
                # What is ignored stays so: nohup, and programs that a shell started behind others.
                if before not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.answered()
        for number, before in self._before.items():
            signal.signal(number, before)

    def watch(self, session: "Training", progress: "Progress", parser: Parser) -> None:
        """Train until all is done, or an end is asked for."""
        from concurrent.futures import ThreadPoolExecutor

        from jitprop.training import DivergedError

        progress.start()
        try:
            # Not on the main thread: it alone can answer Ctrl-C while compiled code runs a batch.
            with ThreadPoolExecutor(1) as elsewhere:
                elsewhere.submit(session.run).result()
        except KeyboardInterrupt as stop:
            self.ask(cli.INTERRUPTED)
            progress.line(str(stop) or "interrupted")
        except DivergedError as error:
            parser.fail(f"{error}; try a lower --lr than {session.settings.rate:g}")
        finally:
            self.answered()
            progress.stop()

    def answered(self) -> None:
        """Say no more that the batch will end: it has."""
        self._hint.cancel()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.asked:
            self.ask(128 + number)
            self._since = monotonic()
            self._hint.start()
        elif number == signal.SIGINT and monotonic() - self._since > AGAIN:
            before = self._before[number]
            signal.signal(number, signal.SIG_DFL if before is cli.end else before)
            signal.raise_signal(number)

    @staticmethod
    def _say(text: bytes) -> None:
        with contextlib.suppress(OSError):  # of a closed terminal
            os.write(2, b"\n" * os.isatty(2) + text)
