"""`--gradcheck`: bprop of each layer beside differences of fprop, on a small network."""

from typing import TYPE_CHECKING

from jitprop.cli.request import Request

if TYPE_CHECKING:
    from jitprop.training.architectures import LayerCheck
    from jitprop.training.progress import Progress


def only_check(request: Request) -> int:
    """Check the gradients and train nothing; return the exit code."""
    from jitprop.cli.evaluate import use_threads
    from jitprop.training.progress import Progress

    progress = Progress(request.args.quiet)
    with use_threads(request.args.threads), progress:
        passed = check(request, progress)
    progress.always(passed)
    if progress.lost:
        raise progress.lost
    return 0


def check(request: Request, progress: "Progress") -> str:
    """Print the check of each layer; return the result, or end if a gradient is wrong."""
    from jitprop.training.architectures import gradcheck_layers

    args = request.args
    rows = gradcheck_layers(len(request.hidden), args.label_smoothing, **request.layers)
    progress.line(table(rows))
    for row in rows:
        if not row.result:
            request.parser.fail(f"gradient check failed: {row.layer}: {row.result}")
    worst = max(row.result.error for row in rows)
    return f"gradient check passed: worst {worst:.2g}, tolerance {rows[0].result.tolerance:.2g}"


def table(rows: "list[LayerCheck]") -> str:
    """Return a line for each layer: the number of derivatives compared, and the worst error."""
    layers = ["layer", *(row.layer for row in rows)]
    by = ["by", *(row.by for row in rows)]
    wide, narrow = max(map(len, layers)), max(map(len, by))
    lines = [
        f"gradient check of a small network, {rows[-1].layer.removeprefix('all of ')}, in float64: "
        "bprop beside differences of fprop\n",
        f"  {layers[0]:{wide}}  {by[0]:{narrow}}  derivatives  worst relative error",
    ]
    for row in rows:
        error = f"{row.result.error:.2g}{'' if row.result else '  WRONG'}"
        lines.append(f"  {row.layer:{wide}}  {row.by:{narrow}}  {row.derivatives:11}  {error}")
    return "\n".join([*lines, ""])
