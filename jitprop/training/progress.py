"""A training on the screen: lines, a table of epochs, and a bar if a person can see it."""

import contextlib
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

from jitprop.kernels import get_num_threads, on_compile
from jitprop.training.metrics import cpu_model
from jitprop.training.text import printable
from jitprop.training.words import network

if TYPE_CHECKING:
    from jitprop.training.epoch import Epoch
    from jitprop.training.settings import Settings


class Progress:
    """Lines on stdout and, on a terminal and in a notebook, a progress bar below.

    `fit(..., verbose=True)` shows them.

    If nothing can be printed, a training still goes on to its end, and keeps what it has learned.
    Without stdout, nothing is printed. If stderr is missing or a file, there is no bar.

    Parameters
    ----------
    quiet : bool
        Whether only `always` prints.
    settings : Settings or None
        Those of the training, if there is one.
    counts : dict of int or None
        How many examples "train", "validation" and "test" have.
    on_lost : callable or None
        Called once, when a line cannot be printed.
    smoothed : bool
        Whether losses include label smoothing; then the table says so.
    errors : bool
        Whether targets are class labels: then the table shows errors, else losses.

    Attributes
    ----------
    lost : Exception or None
        Why lines were lost, the first time.

    Examples
    --------
    A program that trains with the library can show the same as `train.py`. Only lines stay on the
    screen, whatever ends the training::

        counts = {"train": len(labels), "test": len(test_labels)}
        with Progress(False, settings, counts) as progress:  # says when kernels are compiled
            progress.start()
            training = Training(
                net, loss, images, labels, settings, test=(test_images, test_labels),
                on_epoch=progress.epoch, on_batch=progress.batch,
            )
            training.run()

    With `warm_up` and `compiled()` before `start()`, kernels are compiled before the table begins.
    """

    def __init__(
        self,
        quiet: bool,
        settings: "Settings | None" = None,
        counts: Mapping[str, int] | None = None,
        on_lost: Callable[[], None] | None = None,
        smoothed: bool = False,
        errors: bool = True,
    ) -> None:
        self.quiet = quiet
        self.epochs = settings.epochs if settings else 0
        self.counts = dict(counts or {})
        images = self.counts.get("train", 0)
        size = (settings.batch_size if settings else None) or images
        self.batches = -(-images // max(1, size))
        self.on_lost = on_lost
        self.head = f"train loss{', smoothed' * smoothed}"
        self.errors = errors
        self.lost: Exception | None = None
        self.bar: Any = None
        self.loss = 0.0
        self.compiling_since: float | None = None

    def line(self, text: str) -> None:
        """Print a line, unless quiet."""
        if not self.quiet:
            self.always(text)

    def always(self, text: str) -> None:
        """Print a line."""
        if self.bar is not None:
            with contextlib.suppress(OSError):  # the terminal was closed
                self.bar.clear()
        if self.lost:
            return
        try:
            print("\n".join(map(printable, text.split("\n"))), flush=True)
        except (OSError, ValueError) as error:  # a full disk, a closed stream or terminal
            self.lost = error
            if self.on_lost:
                self.on_lost()

    def __enter__(self) -> Self:
        """Say from now on when kernels are compiled."""
        self._forget = on_compile(self.compiling)
        return self

    def __exit__(self, *error: object) -> None:
        self._forget()
        self.stop()

    def compiling(self, kernel: str) -> None:
        """Say, before the first kernel that is not in the cache, why nothing moves."""
        if self.compiling_since is None:
            self.compiling_since = perf_counter()
            self.line(COMPILING)

    def compiled(self) -> float:
        """If kernels were compiled, say how long that took; return the seconds."""
        if self.compiling_since is None:
            return 0.0
        seconds = perf_counter() - self.compiling_since
        self.compiling_since = None
        self.line(f"compiled in {seconds:.1f} s")
        return seconds

    def start(self) -> None:
        """Begin the table of epochs, and the bar."""
        if self.errors:
            columns = "".join(f"{name + ' errors':>19}" for name in self.counts)
        else:
            columns = "".join(f"{name + ' loss':>17}" for name in self.counts if name != "train")
        self.line(f"\n{'epoch':>7}{self.head:>{len(self.head) + 2}}{columns}{'seconds':>9}")
        kind = None if self.quiet else kind_of_bar()
        if kind is not None:
            self.bar = kind(
                total=self.epochs * self.batches,
                bar_format="{desc} {percentage:3.0f}% {bar} {remaining} left{postfix}",
                leave=False,
                dynamic_ncols=True,
            )

    def batch(self, epoch: int, batch: int, loss: float) -> None:
        """Move the bar."""
        self.compiled()
        if self.bar is not None:
            self.loss += (loss - self.loss) / 5 if self.loss else loss  # steady enough to read
            self.bar.set_description_str(f"epoch {epoch}/{self.epochs}", refresh=False)
            self.bar.set_postfix_str(f"loss {self.loss:#.3g}", refresh=False)
            try:
                self.bar.update((epoch - 1) * self.batches + batch - self.bar.n)
            except OSError:  # the terminal was closed
                self.bar = None

    def epoch(self, epoch: "Epoch") -> None:
        """Add a line to the table."""
        self.compiled()
        wide = len(self.head) + 2
        columns = [f"{f'{epoch.epoch}/{self.epochs}':>7}{epoch.train_loss:#{wide}.4g}"]
        for name, count in self.counts.items():
            if self.errors:
                errors = getattr(epoch, f"{name}_errors")
                shown = "-" if errors is None else f"{errors} ({errors / count:.2%})"
                columns.append(f"{shown:>19}")
            elif name != "train":
                columns.append(f"{getattr(epoch, f'{name}_loss'):#17.4g}")
        self.line("".join(columns) + f"{epoch.train_seconds:9.2f}")

    def stop(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            with contextlib.suppress(OSError):  # the terminal was closed
                self.bar.close()
            self.bar = None


def kind_of_bar() -> Any:
    """Return the class of tqdm that a person can see here; None if nobody can see any."""
    if in_notebook():
        from tqdm import TqdmWarning

        with warnings.catch_warnings():  # without ipywidgets the bar is text, which is enough
            warnings.simplefilter("ignore", TqdmWarning)
            from tqdm.auto import tqdm as either
        return either
    try:
        if sys.stderr is None or not sys.stderr.isatty():
            return None
    except (AttributeError, ValueError):  # it is closed, or a person's own
        return None
    from tqdm import tqdm

    return tqdm


def in_notebook() -> bool:
    """Return whether this runs in the kernel of a notebook, as tqdm tells it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and "IPKernelApp" in shell.config


COMPILING = "compiling kernels for this CPU, once ..."
PATIENCE = 1.0  # after so many seconds of compiling, a program that shows nothing says why


@contextlib.contextmanager
def shown(training: Any, counts: Mapping[str, int], errors: bool) -> Iterator[Progress]:
    """Show a `Training` while it runs: its lines in words, the table of epochs, the bar."""
    settings, loss = training.settings, training.loss
    smoothed = bool(getattr(loss, "label_smoothing", 0))
    progress = Progress(False, settings, counts, smoothed=smoothed, errors=errors)
    share = training.density
    some = "dense"
    if share is not None:
        share_said = f"{share:.0%}" if share >= 0.01 else f"{share:.2%}"
        some = f"sparse, {share_said} of the inputs are not zero"
    sets = ", ".join(f"{count} {name}" for name, count in counts.items())
    progress.line(f"data      {sets}\nnetwork   {network(training.net)}")
    progress.line(f"training  {', '.join(settings.in_words(counts['train']))}")
    progress.line(f"input     {some}\nmachine   {cpu_model()}, threads {get_num_threads()}")
    with progress:
        progress.start()
        yield progress


class Silence:
    """Lets the logger `jitprop` say when compiling takes long in a program that shows nothing."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Self:
        self._forget = on_compile(self._begin)
        return self

    def __exit__(self, *error: object) -> None:
        self._forget()
        self.end()

    def _begin(self, kernel: str) -> None:
        if self._timer is None:
            self._timer = threading.Timer(PATIENCE, logging.getLogger("jitprop").info, [COMPILING])
            self._timer.daemon = True
            self._timer.start()

    def end(self) -> None:
        """End: no kernel is compiled any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
