"""Train a network on handwritten digits: `python train.py --help`."""

from jitprop.cli import as_program
from jitprop.cli.train import main

if __name__ == "__main__":
    as_program(main)
