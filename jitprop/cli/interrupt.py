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

# A closed terminal and `kill` mean the same as Ctrl-C.
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]

AGAIN = 0.15  # seconds


class Interrupt:
    """During training, a signal asks to end after this batch; a second Ctrl-C ends at once.

    A closed terminal sends its signal twice, and some programs pass Ctrl-C on a second time. So a
    signal within AGAIN seconds is the same request, and so is any other signal, however late.

    Before and after training, signals keep their usual effect. They also keep it if the caller is
    not in the main thread, since only that thread may handle them.

    Attributes
    ----------
    code : int
        Exit code for a run that was asked to end, as shells report it; 0 for any other run.
    """

    def __init__(self, prog: str) -> None:
        self.code = 0
        self._since = 0.0
        # For a long batch: most end before anybody can read this. A terminal shows "^C" before it.
        text = f"{prog}: ends after this batch; Ctrl-C again ends at once\n".encode()
        self._hint = Timer(AGAIN, self._say, (text,))
        self._hint.daemon = True
        self._before: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether the run should end."""
        return bool(self.code)

    def ask(self, code: int) -> None:
        """Ask to end after this batch."""
        self.code = self.code or code

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.getsignal(number)
                # An ignored signal stays ignored: with nohup, and for jobs in the background.
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
        """Train until all is done, or until somebody asks to end."""
        from concurrent.futures import ThreadPoolExecutor

        from jitprop.training import DivergedError

        progress.start()
        try:
            # Not on the main thread: only that can answer Ctrl-C while compiled code runs a batch.
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
        """Cancel the line that the batch will end: it has ended."""
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
        with contextlib.suppress(OSError):  # the terminal may be closed
            os.write(2, b"\n" * os.isatty(2) + text)
