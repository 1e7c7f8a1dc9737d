"""What a run keeps: checkpoints, metrics, a report."""

import contextlib
import os
import tempfile
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from jitprop.cli.evaluate import check_metrics, errors_line, write_metrics
from jitprop.cli.interrupt import Interrupt
from jitprop.cli.request import Request
from jitprop.cli.sets import lies_otherwise

if TYPE_CHECKING:
    from jitprop.cli.sets import Sets
    from jitprop.data import Dataset
    from jitprop.training import Training
    from jitprop.training.progress import Progress


class Keeper:
    """Writes the files that the arguments ask for.

    Attributes
    ----------
    failed : bool
        Whether the network could not be saved in its place.
    """

    def __init__(self, request: Request, dataset: "Dataset", sets: "Sets") -> None:
        self.request, self.dataset, self.sets = request, dataset, sets
        self.failed = False
        self.about: dict[str, Any] = {}
        if request.args.save or request.args.resume:
            self.about = {"command": request.command, "data_sha256": dataset.sha256()}

    def check(self) -> None:
        """End before anything is done if a file cannot be kept."""
        from jitprop import reporting, training
        from jitprop.reporting.page import FILES
        from jitprop.training.files import same_file

        args, parser = self.request.args, self.request.parser
        checkpoint = self.request.checkpoint
        if checkpoint and checkpoint.about.get("data_sha256") != self.about["data_sha256"]:
            other = f"{args.resume}: trained on other data than {self.dataset.name}"
            parser.error(lies_otherwise(checkpoint, self.dataset) or other)
        goes_on = args.resume and args.save and same_file(args.resume, args.save)
        inputs = [("--data", file) for file in self.dataset.files]
        outputs = [("--save", args.save), ("--metrics", args.metrics)]
        if args.report:
            outputs += [("--report", os.path.join(args.report, name)) for name in FILES]
        # A run may save to the file from which it goes on.
        parser.check_files([*inputs, *([] if goes_on else [("--resume", args.resume)])], outputs)
        check_metrics(self.request)
        try:
            if args.save:
                training.check_savable(args.save, **self.about)
        except training.CheckpointError as error:
            parser.error(str(error))
        if args.report:
            try:
                reporting.check_report(args.report)
            except OSError as error:
                parser.error(
                    f"argument --report: {error.filename or args.report}: {error.strerror}"
                )
            except ImportError as error:
                parser.error(f"argument --report: {error}")

    def checkpoint(self, session: "Training") -> None:
        """Save during training; if that fails, warn: the next time may succeed."""
        from jitprop.training import CheckpointError

        try:
            self._save(self.request.args.save, session)
        except CheckpointError as error:
            self.request.parser.warn(str(error))

    def save(self, session: "Training", progress: "Progress", interrupt: Interrupt) -> None:
        """Save the network in its place; if that fails, in another."""
        from jitprop.cli.arguments import going_on
        from jitprop.training import CheckpointError

        args, parser = self.request.args, self.request.parser
        if not args.save:
            return
        try:
            self._save(args.save, session)
        except CheckpointError as error:
            self.failed = True
            parser.say(f"error: {error}{self._rescued(session)}")
            return
        progress.line(f"saved to {args.save}")
        if interrupt.asked:
            progress.line(f"to go on: {going_on(args, parser.command)}")

    def _save(self, path: str, session: "Training") -> None:
        from jitprop import training

        training.save(path, session.net, session, **self.about)

    def _rescued(self, session: "Training") -> str:
        """Save beside the metrics or in the temporary folder; return what to add to the error."""
        from jitprop.training import CheckpointError

        args = self.request.args
        folders = [os.path.dirname(os.path.abspath(args.metrics))] if args.metrics else []
        with contextlib.suppress(FileNotFoundError):  # no folder can be written
            folders.append(tempfile.gettempdir())
        # A new name, and not too long for a disk.
        name = f"rescued-{uuid.uuid4().hex[:8]}-{os.path.basename(args.save)[-40:]}"
        for folder in folders:
            try:
                self._save(os.path.join(folder, name), session)
            except CheckpointError:
                continue
            return f"; it is saved to {os.path.join(folder, name)} instead"
        return ""

    def tell(
        self,
        session: "Training",
        progress: "Progress",
        interrupt: Interrupt,
        compile_seconds: float,
    ) -> None:
        """Print the test errors, and write the metrics and the report."""
        from jitprop import kernels, reporting, training
        from jitprop.cli.show import used

        request, history = self.request, session.history
        args, settings, parser = request.args, request.settings, request.parser
        images = len(self.sets["test"][1])
        # The errors of the last epoch, if the network has its weights.
        last = len(history) == settings.epochs > 0 and not settings.early_stopping
        errors = history[-1].test_errors if last and session.batch == 0 else None
        if errors is None:
            errors = training.evaluate(session.net, session.loss, *self.sets["test"]).errors
        assert errors is not None  # there are classes
        progress.always(errors_line(errors, images))
        digest = training.weights_sha256(session.net)
        machine = {"cpu": training.cpu_model(), "threads": kernels.get_num_threads()}
        chosen = request.chosen(self.dataset, used(session))
        if args.metrics:
            record = {
                "settings": chosen,
                "epochs": [
                    {name: value for name, value in asdict(epoch).items() if value is not None}
                    for epoch in history
                ],
                "interrupted": interrupt.asked,
                "test_errors": errors,
                "test_images": images,
                "weights_sha256": digest,
                "compile_seconds": compile_seconds,
                "versions": training.versions(),
                **machine,
            }
            write_metrics(request, record)
        if args.report:
            shown = chosen | machine | {"weights_sha256": digest, "command": request.typed}
            seen = self._seen(session)
            try:
                reporting.write_report(args.report, session.net, history, shown, self.sets, seen)
            except OSError as error:
                parser.fail(f"argument --report: {error.filename or args.report}: {error.strerror}")
            progress.line(f"report: {os.path.join(args.report, 'index.html')}")

    def _seen(self, session: "Training") -> Any:
        """Return training images above their distorted forms; None if nothing distorts them."""
        from jitprop.training.distorting import EPOCHS, gallery

        how, epochs = self.request.distortion, min(EPOCHS, len(session.history))
        if how is None or not epochs:
            return None
        seed = int(session.arrays()["distortion"][0])
        return gallery(*self.sets["train"], how, seed, epochs)
