"""The arguments of `jitprop train`: their parsers, and what they mean together."""

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from jitprop.cli.options import LEARNING, MOVES, RUNNING, Group
from jitprop.cli.parser import Parser
from jitprop.training.distortion import Distortion
from jitprop.training.settings import DEFAULTS, PRESETS, Settings, settings_for

EITHER = "--arch", "--hidden"  # at most one of these


class WithPresets(Parser):
    """Takes from a preset the arguments that are not given."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the arguments."""
        found = super().parse_args(args, namespace)
        if namespace is None and getattr(found, "preset", None):
            brought = super().parse_args(PRESETS[found.preset].split())
            arch, brought.arch = brought.arch, None
            found = super().parse_args(args, brought)
            if found.arch:  # in place of the preset's network
                found.hidden = None
            else:
                found.arch = arch
        return found


def make_parser(prog: str = "train.py") -> Parser:
    """Return the parser of all arguments; `Settings` finds values that make no sense."""
    rows = "".join(
        f"  {name:8}{s.epochs:>8}{s.batch_size or 'full':>12}{s.rate:>8g}{s.momentum:>10g}"
        f"{s.schedule:>11}\n"
        for name, s in DEFAULTS.items()
    )
    parser = WithPresets(
        prog=prog,
        description="Train a network of linear layers, with tanh or another function between\n"
        "them, on handwritten digits by gradient descent on the cross-entropy, and\n"
        "count its errors on the test set after every epoch.",
        epilog=f"defaults    epochs  batch size      lr  momentum   schedule\n{rows}",
    )
    _add(parser, LEARNING + RUNNING)
    return parser


def _add(parser: Parser, groups: list[Group]) -> None:
    for title, examples, arguments in groups:
        group: Any = parser.add_argument_group(title, examples.format(command=parser.command))
        either = group.add_mutually_exclusive_group() if title == "network" else group
        for flag, options in arguments:
            place = either if flag in EITHER else group
            place.add_argument(flag, **options)


def add_shared(parser: Parser, *flags: str) -> None:
    """Add arguments of `train` to the parser of another command."""
    known = dict(argument for group in LEARNING for argument in group.arguments)
    for flag in flags:
        parser.add_argument(flag, **known[flag])


def _ways_to_run() -> Parser:
    parser = WithPresets(add_help=False)
    _add(parser, RUNNING)
    return parser


def ways_to_run() -> argparse.Namespace:
    """Return the arguments that may differ when a run goes on, unset."""
    return _ways_to_run().parse_args([])


def distortion_of(args: argparse.Namespace) -> Distortion | None:
    """Return how to distort images; None if not at all."""
    values = {name: getattr(args, flag[2:].replace("-", "_")) for flag, name in MOVES.items()}
    given = {name: value for name, value in values.items() if value is not None}
    if not args.distort and not given:
        return None
    nothing = dict.fromkeys(MOVES.values(), 0.0) | {"sigma": Distortion.sigma}
    return Distortion(**({} if args.distort else nothing) | given)


def settings_of(args: argparse.Namespace) -> Settings:
    """Return the settings that are given, and defaults for the rest."""
    given = {f.name: getattr(args, f.name) for f in fields(Settings) if hasattr(args, f.name)}
    return settings_for(args.arch, **given)


def own_command(argv: Sequence[str]) -> list[str]:
    """Return the arguments that say what to train, without those that say how to run it."""
    return _ways_to_run().parse_known_args(argv)[1]


def going_on(args: argparse.Namespace, command: str) -> str:
    """Return the command line that goes on where this run stopped and saved."""
    given = {**vars(args), "resume": args.save, "gradcheck": False}
    words = command.split()
    for name in ("resume", *(name for name in vars(ways_to_run()) if name != "resume")):
        if given[name]:
            flag, value = f"--{name.replace('_', '-')}", str(given[name])
            if given[name] is True:
                words.append(flag)
            else:
                words += [f"{flag}={value}"] if value.startswith("-") else [flag, value]
    return shlex.join(words)
