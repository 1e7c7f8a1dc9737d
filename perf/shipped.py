"""Make the network with which `jitprop predict` reads digits: `python -m perf.shipped`.

It is trained on all 60,000 training images with the arguments below. Trained without the last
10,000 of them, it made 41 errors on these after 150 epochs: the fewest of all that were tried. Its
file is below 4 MB. See `perf/records.py`.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jitprop
from jitprop import train
from jitprop.cli.predict import MODEL

ARGUMENTS = "--preset errors50 --seed 0"


def ship(arguments: Sequence[str], path: Path) -> None:
    """Train as `train.py` with these arguments; keep the network without what resumes training."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "net.safetensors"
        if train.main([*arguments, "--save", str(whole)]):
            raise SystemExit(f"not made: {' '.join(arguments)}")
        made = jitprop.read(whole)
        jitprop.save(path, made.net(), **made.about)


if __name__ == "__main__":
    ship([*ARGUMENTS.split(), *sys.argv[1:]], MODEL)
