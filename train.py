"""Train a network on handwritten digits: `python train.py --help`."""

from collections.abc import Sequence

from jitprop.cli import as_program


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 1 if training failed, or 130 after Ctrl-C."""
    from jitprop.cli.train import main as train  # late: Ctrl-C is answered while it loads

    return train(argv)


if __name__ == "__main__":
    as_program(main)
