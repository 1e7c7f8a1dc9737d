"""Recognise handwritten digits in one's own images: `jitprop predict`."""

import argparse
import io
import json
import mimetypes
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jitprop import cli
from jitprop.cli.parser import Parser
from jitprop.cli.values import a_path
from jitprop.reading import MODEL, predict
from jitprop.training.text import printable

if TYPE_CHECKING:
    import numpy as np

    from jitprop.layers import Module
    from jitprop.reading import Digit

SHOWN = 100  # digits, at most, side by side in one image
SIDE, GAP, LINE = 140, 10, 20  # pixels of a picture, between two, of a line of text
# Pictures that Pillow may not know, and Python's list of types does not have.
PICTURES = {
    *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".psd", ".xcf", ".raw", ".dng"),
    *(".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".jfif"),
}

EXAMPLES = """\
An image shows a digit, a number, or rows of them; its size, colours and format do not matter, nor
whether ink is darker or lighter than paper, and paper may be ruled or squared. A line of the table
is a digit, in reading order. What is not sure is "unsure", and why, as far as the image tells.

Each image is reported. The exit code is 0, or 2 if one of them could not be read: a line on stderr
names it, and the others are reported all the same. A list from --json has an "error" in its place.
Of a folder, hidden files are passed over, and folders in it; these are named on stderr.

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
    from jitprop.reading import check_installed, recognised

    try:
        check_installed()
    except ModuleNotFoundError as error:
        parser.error(str(error))
    from jitprop.data.image import ImageError, read_picture
    from jitprop.training import check_writable

    models: list[str] = args.model or [str(MODEL)]
    found = list(images(args.images, parser))
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
    ask = asking(models, networks(models, parser))

    entries: list[dict[str, Any]] = []
    seen: list[tuple[dict[str, Any], Any, np.ndarray]] = []
    total = 0
    for name, path in found:
        entries.append({"file": name})
        try:
            if isinstance(path, OSError):
                raise path
            picture = read_picture(sys.stdin.buffer if path is None else path, name)
            digits = recognised(picture, ask)
            if not digits:
                raise ImageError(f"{name}: nothing to be seen on it, expected a digit")
        except (OSError, ImageError, NotFinite) as error:
            entries[-1]["error"] = described(error, name)
            parser.say(f"error: {entries[-1]['error']}")
            continue
        entries[-1] |= entry_of([digit for digit, _ in digits])
        total += len(digits)
        if args.show and len(seen) < SHOWN:
            given = thumbnail(picture.grey)
            for one, (digit, pixels) in zip(entries[-1]["digits"], digits, strict=True):
                mark = given if len(digits) == 1 else marked(given, digit.box, picture.size)
                seen.append(({"file": name} | one, mark, pixels))
    read = [entry for entry in entries if "error" not in entry]
    if args.json:
        print(json.dumps(entries, indent=2, allow_nan=False))
    elif read:
        print("\n".join(table(read)))
    if args.show and seen:
        if total > SHOWN:
            parser.warn(f"{printable(args.show)} shows the first {SHOWN} of {total} digits")
        try:
            show(args.show, seen[:SHOWN])
        except OSError as error:
            parser.fail(f"argument --show: {printable(args.show)}: {error.strerror or error}")
    return 0 if len(read) == len(entries) else 2


class NotFinite(ValueError):
    """A network gives NaN or infinity for an image."""


def asking(models: Sequence[str], nets: "Sequence[Module]") -> "Callable[[np.ndarray], np.ndarray]":
    """Return a function that gives the mean of what the networks answer.

    Raises
    ------
    NotFinite
        What one of them gives is not finite.
    """
    import numpy as np

    from jitprop.training.ensemble import mean

    def ask(digits: "np.ndarray") -> "np.ndarray":
        answers = []
        for model, net in zip(models, nets, strict=True):
            answers.append(predict(net, digits))
            if not np.isfinite(answers[-1]).all():
                what = printable(model) if len(nets) > 1 else "the network"
                raise NotFinite(f"what {what} gives is not finite")
        return mean(answers)

    return ask


def entry_of(digits: "Sequence[Digit]") -> dict[str, Any]:
    """Return what is said of a picture: its digits, and of one that is alone what it is."""
    entries = []
    for digit in digits:
        entry: dict[str, Any] = {kind(digit.probabilities): digit.digit}
        entry["probability"] = digit.probability
        entry["probabilities"] = list(digit.probabilities)
        entries.append(entry | {"box": list(digit.box), "doubt": digit.doubt})
    if len(entries) > 1:
        return {"digits": entries}
    alone = {key: value for key, value in entries[0].items() if key not in ("box", "doubt")}
    return alone | {"digits": entries}


def load_network(path: str | Path) -> "Module":
    """Load a network that `jitprop.training.save` wrote."""
    from jitprop import training

    return training.load(path)


def networks(models: Sequence[str], parser: Parser) -> "list[Module]":
    """Load the networks of all files; end where one takes no digits, or tells others apart."""
    import numpy as np

    from jitprop.data.pieces import FIELD

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


def kind(probabilities: Sequence[float]) -> str:
    """Return what a network tells apart: digits, if these are ten."""
    return "digit" if len(probabilities) == 10 else "class"


def images(arguments: Sequence[str], parser: Parser) -> Iterator[tuple[str, Path | OSError | None]]:
    """Yield the name and path of each image: of a folder, those in it, sorted by name.

    The path of standard input is None. A folder that cannot be listed or has no images yields why.
    A folder within a folder is named on stderr.
    """
    for argument in arguments:
        path = Path(argument)
        if argument == "-":
            yield argument, None
        elif not path.is_dir():
            yield argument, path
        else:
            try:
                inside = sorted(p for p in path.iterdir() if not p.name.startswith("."))
            except OSError as error:
                yield argument, error
                continue
            found = [p for p in inside if is_picture(p)]
            folders = [p for p in inside if p.is_dir()]
            if not found:
                yield argument, FileNotFoundError(0, "a folder without images")
            yield from ((str(p), p) for p in found)
            for folder in folders:
                parser.warn(f"{printable(str(folder))} is a folder in a folder, and is not read")


def is_picture(path: Path) -> bool:
    """Whether a file is named as a picture, or is one by what it holds."""
    import warnings

    from PIL import Image

    if path.is_dir():
        return False
    suffix = path.suffix.lower()
    if suffix in Image.registered_extensions() or suffix in PICTURES:
        return True
    if (mimetypes.guess_type(path.name)[0] or "").startswith("image/"):
        return True
    if not path.is_file():
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.open(path).close()
    except Image.DecompressionBombError:
        return True
    except Exception:  # whatever it is, Pillow makes nothing of it
        return False
    return True


def table(entries: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table, one for each digit; probabilities are percentages."""
    first = entries[0]["digits"][0]["probabilities"]
    what = kind(first)
    names = [printable(entry["file"]) for entry in entries]
    width = max(map(len, ["file", *names]))
    yield f"{'file':{width}}  {what}  probability" + "".join(f"{i:7}" for i in range(len(first)))
    for name, entry in zip(names, entries, strict=True):
        for digit in entry["digits"]:
            yield (
                f"{name:{width}}  {digit[what]:5}  {digit['probability']:11.1%}"
                + "".join(f"{p:7.1%}" for p in digit["probabilities"])
                + (f"  {digit['doubt']}" if digit["doubt"] else "")
            )


def thumbnail(grey: "np.ndarray") -> Any:
    """Return an image, float32 (rows, columns) of grey levels, as a picture within SIDE x SIDE."""
    import numpy as np
    from PIL import Image

    picture = Image.fromarray(np.rint(grey).astype(np.uint8))
    scale = SIDE / max(picture.size)
    return picture.resize([max(1, round(scale * side)) for side in picture.size])


def marked(picture: Any, box: tuple[int, int, int, int], size: tuple[int, int]) -> Any:
    """Return a copy of a thumbnail of a picture of that size, with a frame around a box."""
    from PIL import ImageDraw

    copy, scale = picture.copy(), max(picture.size) / max(size)
    left, top, right, bottom = (round(scale * place) for place in box)
    ImageDraw.Draw(copy).rectangle((left - 2, top - 2, right + 1, bottom + 1), None, 128)
    return copy


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
        text += "unsure  " * bool(entry["doubt"])
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
        description="Recognise handwritten digits and numbers in images. Each digit is made into\n"
        "28 x 28 pixels as those of MNIST were made.",
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
        "(default: that of the package, trained on MNIST)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print a list of objects for programs, not a table"
    )
    parser.add_argument(
        "--show",
        type=a_path,
        metavar="FILE",
        help="write a PNG of what was given beside what the network saw, for the first "
        f"{SHOWN} digits",
    )
    return parser
