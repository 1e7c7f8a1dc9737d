"""The request for a run of `jitprop train`, and the checkpoint from which it goes on."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from jitprop.cli.arguments import (
    distortion_of,
    make_parser,
    own_command,
    settings_of,
    ways_to_run,
)
from jitprop.training.settings import ARCHITECTURES, Settings

# numba takes half a second to load: help and errors of arguments do not wait for it.
if TYPE_CHECKING:
    from jitprop.data import Dataset
    from jitprop.training import Checkpoint, Training


# With any of these beside --gradcheck, a person wants to train, too.
TO_TRAIN = ("epochs", "save", "resume", "metrics", "report", "preset")


class Request:
    """A command line with its meaning.

    Attributes
    ----------
    parser : Parser
        Ends the process if something is impossible.
    args : Namespace
        The arguments; those of the checkpoint, unless the command line has new ones.
    settings : Settings
        For the training.
    distortion : Distortion or None
        For the training images.
    hidden : tuple of int
        Widths of the hidden layers.
    layers : dict
        The other arguments of `jitprop.mlp`.
    checkpoint : Checkpoint or None
        The file that --resume or the first --evaluate named.
    command : list of str
        All words that say what to train, for a checkpoint to hold.
    typed : str
        The command line of this run.
    """

    def __init__(self, argv: Sequence[str] | None, prog: str) -> None:
        given = sys.argv[1:] if argv is None else list(argv)
        self.parser = make_parser(prog)
        self.args = self.parser.parse_args(given)
        self.parser.check_installed()
        self.typed = shlex.join([*self.parser.command.split(), *given])
        self.checkpoint: Checkpoint | None = None
        self.command = own_command(given)
        if self.args.resume or self.args.evaluate:
            self._continue(given)
        try:
            self.settings = settings_of(self.args)
            self.distortion = distortion_of(self.args)
        except (TypeError, ValueError) as error:
            self.parser.error(str(error))
        self.hidden = self.args.hidden or ARCHITECTURES[self.args.arch]
        names = ("dropout", "input_dropout", "input_noise", "activation")
        self.layers = {name: getattr(self.args, name) for name in names}
        if self.args.dropout and not self.hidden:
            self.parser.error("argument --dropout: there is no hidden layer to drop from")
        before = [name for name in ("input_noise", "input_dropout") if self.layers[name]]
        if before and self.args.input == "sparse" and not self.args.evaluate:
            flag = before[0].replace("_", "-")
            self.parser.error(f"argument --input: sparse is not for --{flag}, which changes pixels")
        if self.args.checkpoint_every and not self.args.save:
            self.parser.error("argument --checkpoint-every: needs --save FILE")

    def _continue(self, argv: Sequence[str]) -> None:
        """Read the checkpoint, and take from it the arguments that are not given anew."""
        from jitprop.training import CheckpointError, read

        args, parser = self.args, self.parser
        path = args.evaluate[0] if args.evaluate else args.resume
        for flag in ("save", "resume", "gradcheck", "report"):
            if args.evaluate and getattr(args, flag):
                parser.error(f"argument --evaluate: not allowed with --{flag}")
        try:
            checkpoint = read(path)
            found = checkpoint.about.get("command", [] if args.evaluate else None)
            words = found if isinstance(found, list) else [found]
            command = [word for word in words if isinstance(word, str)]
            if command != found or {"-h", "--help"} & {*command}:
                raise CheckpointError(path, "not saved by train.py")
        except CheckpointError as error:
            parser.error(str(error))
        of_data = {"data", "transpose"}
        free = {*vars(ways_to_run()), *of_data}
        parser.of = f"{path}: its command line: "
        saved = vars(parser.parse_args(own_command(command)))
        parser.of = ""
        known = {n: value for n, value in saved.items() if n not in free or n in of_data}
        args = parser.parse_args(argv, argparse.Namespace(**known))
        # Settings that may change, such as epochs, come from the checkpoint.
        for name, value in vars(args).items():
            other = name not in free and value != known.get(name)
            if other and (args.evaluate or name not in {field.name for field in fields(Settings)}):
                flag = "--lr" if name == "rate" else f"--{name.replace('_', '-')}"
                parser.error(f"argument {flag}: not what {path} was trained with")
        self.args, self.checkpoint = args, checkpoint
        self.command = [*own_command(command), *own_command(argv)]

    @property
    def only_checks(self) -> bool:
        """Whether --gradcheck is there and nothing asks for a training."""
        given = [getattr(self.args, name, None) is not None for name in TO_TRAIN]
        return self.args.gradcheck and not any(given)

    def resume(self, session: "Training") -> None:
        """Put a new training where the checkpoint stands, if there is one."""
        from jitprop.training import CheckpointError

        if self.checkpoint:
            try:
                self.checkpoint.resume(session)
            except CheckpointError as error:
                self.parser.error(str(error))

    def chosen(self, dataset: "Dataset", used: str) -> dict[str, Any]:
        """Return all settings by the names of their arguments."""
        args, settings = self.args, self.settings
        return {
            "arch": None if args.hidden else args.arch,
            "hidden": self.hidden,
            "data": dataset.name,
            "transposed": dataset.transposed,
            **self.layers,
            "label_smoothing": args.label_smoothing,
            **({"distort": asdict(self.distortion)} if self.distortion else {}),
            "validation": args.validation,
            **{"lr" if name == "rate" else name: v for name, v in asdict(settings).items()},
            "batch_size": settings.batch_size or "full",
            "seed": args.seed,
            "input": used,
        }
