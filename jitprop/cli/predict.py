"""Recognise handwritten digits in one's own images: `jitprop predict`."""

import argparse
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jitprop import cli
from jitprop.cli.parser import Parser
from jitprop.cli.values import a_path
from jitprop.training.text import printable

if TYPE_CHECKING:
    import numpy as np

    from jitprop.layers import Module

MODEL = Path(__file__).parents[1] / "data" / "digits.safetensors"
SHOWN = 100  # pictures, at most, side by side in one image
SIDE, GAP, LINE = 140, 10, 20  # pixels of a picture, between two, of a line of text

EXAMPLES = """\
An image shows one digit with some paper around it; its size, colours and format do not matter, nor
whether ink is darker or lighter than paper. Paper is what most of the border shows.

Each image is reported. The exit code is 0, or 2 if one of them could not be read: a line on stderr
names it, and the others are reported all the same. A list from --json has an "error" in its place.

examples:
  {command} seven.png photo.jpg
  {command} scans/ --show seen.png
  cat seven.png | {command} --json -
  {command} seven.png --model a.safetensors --model b.safetensors
"""


def main(argv: Sequence[str] | None = None, prog: str = "jitprop predict") -> int:
    """Run the command line; return 0, 2 if an image could not be read, or 130 after Ctrl-C.

    `prog` is what messages call the command.
    """
    cli.interrupted = f"{prog}: interrupted"
    parser = make_parser(prog)
    args = parser.parse_args(argv)
    parser.check_installed()
    try:
        return run(args, parser)
    except KeyboardInterrupt:
        print(cli.interrupted, file=sys.stderr)
        return cli.INTERRUPTED


def run(args: argparse.Namespace, parser: "Parser") -> int:
    """Read the images, recognise and report them; return the exit code."""
    import numpy as np

    try:
        from jitprop.data.image import ImageError, normalise, read_image
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "PIL":
            raise
        parser.error("reading images needs Pillow: pip install 'jitprop[images]'")
    from jitprop.training import check_writable
    from jitprop.training.ensemble import mean

    models: list[str] = args.model or [str(MODEL)]
    found = list(images(args.images))
    inputs: list[tuple[str, Any]] = [
        *(("--model", path) for path in models),
        *(("IMAGE", p) for _, p in found if isinstance(p, Path)),
    ]
    if "-" in args.images and os.path.exists("/dev/stdin"):
        inputs.append(("-", "/dev/stdin"))
    parser.check_files(inputs, [("--show", args.show)])
    if args.show:
        try:
            check_writable(args.show)
        except OSError as error:
            parser.error(f"argument --show: {printable(args.show)}: {error.strerror}")
    nets = networks(models, parser)

    entries: list[dict[str, Any]] = []
    digits: list[np.ndarray] = []
    given: list[Any] = []
    for name, path in found:
        entries.append({"file": name})
        try:
            if isinstance(path, OSError):
                raise path
            grey = read_image(sys.stdin.buffer if path is None else path, name)
            digits.append(normalise(grey, name))
        except (OSError, ImageError) as error:
            entries[-1]["error"] = described(error, name)
            parser.say(f"error: {entries[-1]['error']}")
            continue
        if args.show and len(given) < SHOWN:
            given.append(thumbnail(grey))
    read = [entry for entry in entries if "error" not in entry]
    if digits:
        answers = [predict(net, np.stack(digits)) for net in nets]
        for row, (entry, probabilities) in enumerate(
            zip(read, mean(answers).tolist(), strict=True)
        ):
            finite = [bool(np.isfinite(answer[row]).all()) for answer in answers]
            if not all(finite):
                what = printable(models[finite.index(False)]) if len(nets) > 1 else "the network"
                entry["error"] = f"{printable(entry['file'])}: what {what} gives is not finite"
                parser.say(f"error: {entry['error']}")
                continue
            entry[kind(probabilities)] = int(np.argmax(probabilities))
            entry["probability"] = max(probabilities)
            entry["probabilities"] = probabilities
    seen = [one for one in zip(read, given, digits, strict=False) if "error" not in one[0]]
    read = [entry for entry in read if "error" not in entry]
    if args.json:
        print(json.dumps(entries, indent=2, allow_nan=False))
    elif read:
        print("\n".join(table(read)))
    if args.show and seen:
        try:
            show(args.show, seen)
        except OSError as error:
            parser.fail(f"argument --show: {printable(args.show)}: {error.strerror or error}")
    return 0 if len(read) == len(entries) else 2


def load_network(path: str | Path) -> "Module":
    """Load a network that `jitprop.training.save` wrote."""
    from jitprop import training

    return training.load(path)


def networks(models: Sequence[str], parser: Parser) -> "list[Module]":
    """Load the networks of all files; end where one takes no digits, or tells others apart."""
    import numpy as np

    from jitprop.data.image import FIELD

    nets, classes = [], []
    for path in models:
        try:
            nets.append(load_network(path))
            blank = np.zeros((1, FIELD, FIELD), np.uint8)
            classes.append(predict(nets[-1], blank).shape[1])
        except (OSError, TypeError, ValueError) as error:
            parser.error(f"argument --model: {described(error, path)}")
        if classes[-1] != classes[0]:
            parser.error(
                f"argument --model: {path}: has {classes[-1]} outputs, {models[0]} {classes[0]}"
            )
    return nets


def predict(net: "Module", digits: "np.ndarray") -> "np.ndarray":
    """Return the probability of each class, (n, classes), of (n, 28, 28) uint8 images.

    Of several outputs, the first counts.

    Raises
    ------
    ValueError, TypeError
        The network does not take them.
    """
    from jitprop.training import probabilities

    p = probabilities(net, digits)
    return p[0] if isinstance(p, tuple) else p


def kind(probabilities: Sequence[float]) -> str:
    """Return what a network tells apart: digits, if these are ten."""
    return "digit" if len(probabilities) == 10 else "class"


def images(arguments: Sequence[str]) -> Iterator[tuple[str, Path | OSError | None]]:
    """Yield the name and path of each image: of a folder, those in it, sorted by name.

    The path of standard input is None. A folder that cannot be listed or has no images yields why.
    """
    from PIL import Image

    suffixes = Image.registered_extensions()
    for argument in arguments:
        path = Path(argument)
        if argument == "-":
            yield argument, None
        elif not path.is_dir():
            yield argument, path
        else:
            try:
                found = sorted(p for p in path.iterdir() if p.suffix.lower() in suffixes)
            except OSError as error:
                yield argument, error
                continue
            if not found:
                yield argument, FileNotFoundError(0, "a folder without images")
            yield from ((str(p), p) for p in found)


def table(entries: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table; probabilities are percentages."""
    classes = range(len(entries[0]["probabilities"]))
    what = kind(entries[0]["probabilities"])
    names = [printable(entry["file"]) for entry in entries]
    width = max(map(len, ["file", *names]))
    yield f"{'file':{width}}  {what}  probability" + "".join(f"{label:7}" for label in classes)
    for name, entry in zip(names, entries, strict=True):
        yield f"{name:{width}}  {entry[what]:5}  {entry['probability']:11.1%}" + "".join(
            f"{p:7.1%}" for p in entry["probabilities"]
        )


def thumbnail(grey: "np.ndarray") -> Any:
    """Return an image, float32 (rows, columns) of grey levels, as a picture within SIDE x SIDE."""
    import numpy as np
    from PIL import Image

    picture = Image.fromarray(np.rint(grey).astype(np.uint8))
    scale = SIDE / max(picture.size)
    return picture.resize([max(1, round(scale * side)) for side in picture.size])


def show(path: str, read: Sequence[tuple[dict[str, Any], Any, "np.ndarray"]]) -> None:
    """Write a PNG: of each image what was given, left, and what the network saw, right.

    `read` holds for each its entry, what was given, as a picture, and what the network saw.
    """
    from PIL import Image, ImageDraw, ImageFont

    from jitprop.training.files import write_bytes

    columns = min(4, len(read))
    width, height = 2 * SIDE + 3 * GAP, SIDE + LINE + 2 * GAP
    sheet = Image.new("L", (columns * width, -(-len(read) // columns) * height), 255)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for i, (entry, picture, digit) in enumerate(read):
        x, y = width * (i % columns) + GAP, height * (i // columns) + GAP
        text = f"{entry[kind(entry['probabilities'])]}  {entry['probability']:.1%}  "
        name = printable(Path(entry["file"]).name)
        room = 2 * SIDE + GAP - draw.textlength(text, font)
        while draw.textlength(name, font) > room:
            name = name[:-2] + "\N{HORIZONTAL ELLIPSIS}"
        draw.text((x, y), text + name, 0, font)
        at = x + (SIDE - picture.width) // 2, y + LINE + (SIDE - picture.height) // 2
        sheet.paste(picture, at)
        draw.rectangle(
            (at[0] - 1, at[1] - 1, at[0] + picture.width, at[1] + picture.height), None, 160
        )
        seen = Image.fromarray(digit).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        sheet.paste(seen, (x + SIDE + GAP, y + LINE))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    write_bytes(path, file.getvalue())


def described(error: Exception, name: str) -> str:
    """Return what an error says, in one line that begins with the file's name."""
    text = error.strerror if isinstance(error, OSError) else None
    text = text or str(error).removeprefix(f"{name}: ")
    return f"{printable(name)}: {printable(' '.join(text.splitlines()))}"


def make_parser(prog: str) -> Parser:
    """Return the parser of all arguments."""
    parser = Parser(
        prog=prog,
        description="Recognise handwritten digits in images, made into 28 x 28 pixels as those of\n"
        "MNIST were made.",
        epilog=EXAMPLES.format(command=prog),
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="PNG, JPEG or another format that Pillow reads; a folder, for the images in it; "
        "- for standard input",
    )
    parser.add_argument(
        "--model",
        type=a_path,
        action="append",
        metavar="FILE",
        help="network that train.py saved, of digits or of other classes; several, each with "
        "--model, answer by the mean of their probabilities "
        "(default: an mlp200, trained on MNIST)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print a list of objects for programs, not a table"
    )
    parser.add_argument(
        "--show",
        type=a_path,
        metavar="FILE",
        help="write a PNG of what was given beside what the network saw, for the first "
        f"{SHOWN} images",
    )
    return parser
