"""Show the facts for a report of a fault or a speed: `jitprop info`."""

from collections.abc import Sequence

from jitprop import cli
from jitprop.cli.parser import Parser
from jitprop.training.text import printable


def main(argv: Sequence[str] | None = None, prog: str = "jitprop info") -> int:
    """Print a line for each fact; return 0."""
    parser = Parser(
        prog=prog,
        description="Show the versions in use, the processor, the instructions and threads that\n"
        "kernels use, and the folder where compiled kernels are kept.",
    )
    parser.parse_args(argv)
    parser.check_installed()
    cli.interrupted = f"{prog}: interrupted"
    from importlib.metadata import version

    from jitprop import __version__, kernels, training
    from jitprop.kernels.compiler import cache, cpu

    versions = training.versions()
    rows = {
        "jitprop": __version__,
        "python": versions["python"],
        "numpy": versions["numpy"],
        "numba": f"{versions['numba']}, llvmlite {version('llvmlite')}",
        "cpu": training.cpu_model(),
        "kernels": f"{cpu.INSTRUCTIONS} instructions, threads {kernels.get_num_threads()}",
    }
    generation = cache.folder()
    if generation is None:
        rows["cache"] = "none: no folder can be written, each run compiles its kernels again"
    else:
        folder = generation.parent
        files = [path for path in folder.glob("*/*") if path.is_file()]
        size = sum(path.stat().st_size for path in files) / 1e6
        rows["cache"] = f"{folder}: {len(files)} files, {size:.1f} MB; to empty it, delete it"
    for name, value in rows.items():
        print(f"{name:10}{printable(value)}")
    return 0
