"""`python -m jitprop` is the command `jitprop`."""

from jitprop.cli import run

if __name__ == "__main__":
    run()
