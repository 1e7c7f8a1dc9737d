"""`python -m jitprop` is the command `jitprop`."""

from jitprop.cli import as_program, main

if __name__ == "__main__":
    as_program(lambda: main(prog="python -m jitprop"))
