"""The command line for one's own images: what it prints, writes and refuses, and how it ends."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jitprop import training
from jitprop.cli import predict
from jitprop.layers import Add, Graph, Input, Linear, Module
from jitprop.training import mlp

pytest.importorskip("PIL")

from PIL import Image, ImageDraw

from jitprop.data.image import read_image
from jitprop.data.pieces import shapes_of

ROOT = Path(__file__).parents[1]


class Sides(Module):
    """A network that takes what has more rows of ink than columns for a 1, and the rest for a 7."""

    def fprop(self, x):
        ink = x.reshape(-1, 28, 28) > 0
        tall = ink.any(axis=2).sum(axis=1) > ink.any(axis=1).sum(axis=1)
        logits = np.zeros((len(x), 10), np.float32)
        logits[np.arange(len(x)), np.where(tall, 1, 7)] = 6
        return logits

    def bprop(self, dy, need_dx=True):
        raise NotImplementedError


# exp(6) beside nine of exp(0)
SURE = np.exp(6) / (np.exp(6) + 9)


@pytest.fixture(autouse=True)
def network(monkeypatch):
    net = Sides()
    monkeypatch.setattr(predict, "load_network", lambda path: net)
    return net


@pytest.fixture
def folder(tmp_path):
    """Of a tall and of a wide stroke, one of them an uppercase JPEG, a file that is no image."""
    path = tmp_path / "scans"
    path.mkdir()
    for name, line in (("b.png", (20, 50, 80, 50)), ("a.JPG", (50, 20, 50, 80))):
        image = Image.new("L", (100, 100), 255)
        ImageDraw.Draw(image).line(line, 0, 10)
        image.save(path / name)
    (path / "notes.txt").write_text("no image, and not named as one")
    return path


@pytest.fixture
def run(capsys):
    """Run and return the exit code, the lines of stdout, and those of stderr."""

    def run(*args):
        try:
            code = predict.main(list(map(str, args)))
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return run


def test_a_table(folder, run):
    code, out, err = run(folder / "b.png", folder / "a.JPG")
    assert (code, err) == (0, [])
    header, wide, tall = out.splitlines()
    assert header.split() == ["file", "digit", "probability", *"0123456789"]
    for line, name, digit in ((wide, "b.png", 7), (tall, "a.JPG", 1)):
        file, guess, probability, *each = line.split()
        assert (file, int(guess)) == (str(folder / name), digit)
        assert probability == f"{SURE:.1%}"
        assert each == [f"{SURE if i == digit else SURE / np.exp(6):.1%}" for i in range(10)]
    assert len({len(line) for line in (header, wide, tall)}) == 1


def test_json_of_a_folder(folder, run, monkeypatch):
    names = sorted(folder.iterdir(), reverse=True)  # a file system has an order of its own
    monkeypatch.setattr(Path, "iterdir", lambda path: iter(names))
    code, out, err = run("--json", folder)
    assert (code, err) == (0, [])
    entries = json.loads(out)
    assert [e["file"] for e in entries] == [str(folder / "a.JPG"), str(folder / "b.png")]
    assert [e["digit"] for e in entries] == [1, 7]
    for entry in entries:
        assert set(entry) == {"file", "digit", "probability", "probabilities", "digits"}
        assert entry["probability"] == entry["probabilities"][entry["digit"]]
        assert sum(entry["probabilities"]) == pytest.approx(1, abs=1e-6)
        assert entry["probability"] == pytest.approx(SURE, rel=1e-6)


def test_the_others_are_reported_beside_one_that_cannot_be_read(folder, run, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n")
    blank = tmp_path / "blank.png"
    Image.new("L", (50, 50), 255).save(blank)
    arguments = bad, folder, tmp_path / "none.png", blank
    code, out, err = run(*arguments)
    assert code == 2
    assert len(out.splitlines()) == 3
    assert len(err) == 3
    for line, path in zip(err, (bad, tmp_path / "none.png", blank), strict=True):
        assert line.startswith(f"jitprop predict: error: {path}: ")
    code, out, err = run("--json", *arguments)
    assert code == 2
    entries = json.loads(out)
    assert ["error" in e for e in entries] == [True, False, False, True, True]
    assert [e["error"] for e in entries if "error" in e] == [
        line.partition(": error: ")[2] for line in err
    ]


@pytest.fixture
def number(tmp_path):
    """A tall, a wide and a tall stroke."""
    image = Image.new("L", (400, 160), 255)
    draw = ImageDraw.Draw(image)
    for line in ((60, 30, 60, 130), (140, 80, 240, 80), (320, 30, 320, 130)):
        draw.line(line, 0, 12)
    image.save(tmp_path / "number.png")
    return tmp_path / "number.png"


def test_a_number_is_a_line_for_each_digit(number, folder, run):
    code, out, err = run(number, folder / "b.png")
    assert (code, err) == (0, [])
    lines = [line.split() for line in out.splitlines()[1:]]
    assert [line[:2] for line in lines] == [
        *([str(number), digit] for digit in "171"),
        [str(folder / "b.png"), "7"],
    ]


def test_json_of_a_number(number, run):
    (entry,) = json.loads(run("--json", number)[1])
    assert set(entry) == {"file", "digits"}
    assert [one["digit"] for one in entry["digits"]] == [1, 7, 1]
    for one, left in zip(entry["digits"], (54, 140, 314), strict=True):
        assert set(one) == {"digit", "probability", "probabilities", "box", "doubt"}
        assert one["probability"] == max(one["probabilities"])
        assert abs(one["box"][0] - left) <= 3
        assert one["doubt"] is None


def test_show_a_number(number, run, tmp_path):
    path = tmp_path / "seen.png"
    assert run(number, "--show", path)[0] == 0
    with Image.open(path) as sheet:
        assert sheet.size == (3 * 310, 180)
        pixels = np.asarray(sheet)
    assert len({pixels[:, left : left + 160].tobytes() for left in (0, 310, 620)}) == 3  # frames


def test_doubt_is_in_the_table(folder, run, monkeypatch):
    net = Sides()
    monkeypatch.setattr(net, "fprop", lambda x: Sides.fprop(net, x) / 4)
    monkeypatch.setattr(predict, "load_network", lambda path: net)
    lines = run(folder)[1].splitlines()
    assert lines[1].endswith("%  unsure")
    assert lines[2].endswith("%  unsure: as wide as several digits")
    entry = json.loads(run("--json", folder / "a.JPG")[1])[0]
    assert entry["digits"][0]["doubt"] == "unsure"


def test_of_a_folder_no_picture_is_skipped_in_silence(folder, run):
    """Pictures are known by their names or by what they hold; the hidden are meant to be."""
    content = (folder / "b.png").read_bytes()
    for name in ("._b.png", ".hidden.png", "no suffix", "b.txt", "b.heic"):
        (folder / name).write_bytes(content if name != "b.heic" else b"HEIC")
    (folder / "more").mkdir()
    (folder / ".cache").mkdir()
    code, out, err = run(folder)
    assert code == 2
    assert len(out.splitlines()) == 5
    assert err == [
        f"jitprop predict: warning: {folder / 'more'} is a folder in a folder, and is not read",
        f"jitprop predict: error: {folder / 'b.heic'}: not an image that can be read, "
        "such as PNG or JPEG",
    ]


def test_nothing_can_be_read(run, tmp_path):
    (tmp_path / "notes.txt").write_text("")
    show = tmp_path / "seen.png"
    code, out, err = run(tmp_path, "--show", show)
    assert (code, out) == (2, "")
    assert err == [f"jitprop predict: error: {tmp_path}: a folder without images"]
    assert not show.exists()
    assert json.loads(run("--json", tmp_path)[1]) == [
        {"file": str(tmp_path), "error": f"{tmp_path}: a folder without images"}
    ]


def test_standard_input(folder, run, monkeypatch):
    content = (folder / "b.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    code, out, err = run("-", "-")  # the second finds it empty
    assert code == 2
    assert out.splitlines()[1].split()[:2] == ["-", "7"]
    assert err == ["jitprop predict: error: -: empty, expected an image"]


def test_names_that_terminals_and_encodings_trip_over(folder, run):
    """A line break, an escape sequence, bytes that are no UTF-8."""
    try:
        (folder / "a.JPG").rename(folder / "\n\x1b[1m\udcff.jpg")
    except (OSError, UnicodeEncodeError):
        pytest.skip("a file system without such names")
    code, out, err = run(folder)
    assert (code, err) == (0, [])
    assert len(out.encode().splitlines()) == 3
    assert r"\n\x1b[1m\udcff.jpg" in out
    code, out, err = run(folder / "none\n\udcff.png")
    assert (code, len(err)) == (2, 1)
    assert err[0].endswith(r"none\n\udcff.png: No such file or directory")


def test_show(folder, run, tmp_path):
    path = tmp_path / "seen"
    code, _, err = run(folder, "--show", path)
    assert (code, err) == (0, [])
    with Image.open(path) as sheet:
        assert sheet.format == "PNG"
        pixels = np.asarray(sheet.convert("L"))
    side, gap, line = predict.SIDE, predict.GAP, predict.LINE
    width, height = 2 * side + 3 * gap, side + line + 2 * gap
    assert pixels.shape == (height, 2 * width)
    for i, name in enumerate(("a.JPG", "b.png")):
        top, left = gap + line, i * width + gap
        grey = read_image(folder / name)
        given = pixels[top : top + side, left : left + side]
        assert given[side // 2, side // 2] < 20
        assert given[5, 5] > 235
        seen = pixels[top : top + side, left + side + gap : left + 2 * side + gap]
        assert np.array_equal(seen[2::5, 2::5], shapes_of(grey)[0].pixels)
        caption = pixels[gap : gap + line - 4, left : left + 2 * side]
        assert (caption < 128).any()


def test_show_many_of_all_shapes(run, tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "SHOWN", 3)
    for i in range(7):
        width, height = 200 + 3000 * (i % 2), 200 + 2000 * (i % 3 > 1)
        image = Image.new("L", (width, height), 255)
        ImageDraw.Draw(image).line((70, 40, 90, 150), 0, 20)
        image.save(tmp_path / f"{i}{'long ' * 20}.png")
    path = tmp_path / "sheet"
    code, out, err = run(tmp_path, "--show", path)
    assert (code, len(out.splitlines())) == (0, 8)
    assert err == [f"jitprop predict: warning: {path} shows the first 3 of 7 digits"]
    with Image.open(path) as sheet:
        assert sheet.size == (3 * 310, 180)


@pytest.mark.parametrize("name", ["no/such/folder/seen.png", "."])
def test_refuses_where_it_cannot_show(name, folder, run, tmp_path):
    code, out, err = run(folder, "--show", tmp_path / name)
    assert (code, out, len(err)) == (2, "", 1)
    assert err[0].startswith(f"jitprop predict: error: argument --show: {tmp_path / name}: ")


def test_a_file_that_is_full(folder, run):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    code, out, err = run(folder, "--show", "/dev/full")
    assert (code, len(out.splitlines())) == (1, 3)
    assert err == ["jitprop predict: error: argument --show: /dev/full: No space left on device"]


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "No such file or directory"),
        ValueError("net.bin: not a safetensors file:\nheader of 10 GB"),
        ValueError("header of 10 GB"),
    ],
)
def test_a_model_that_cannot_be_read(error, folder, run, monkeypatch):
    def load(path):
        raise error

    monkeypatch.setattr(predict, "load_network", load)
    code, out, err = run(folder, "--model", "net.bin")
    assert (code, out, len(err)) == (2, "", 1)
    assert re.fullmatch(r"jitprop predict: error: argument --model: net\.bin: \w.*", err[0])
    assert err[0].count("net.bin") == 1


def test_a_model_for_other_images(folder, run, monkeypatch):
    monkeypatch.setattr(predict, "load_network", lambda path: mlp(12, [], 4, rng=0))
    code, out, err = run(folder, "--model", "net.bin")
    assert (code, out, len(err)) == (2, "", 1)
    assert err[0].startswith("jitprop predict: error: argument --model: net.bin: ")
    assert "784" in err[0]


def test_a_model_of_more_classes(folder, run, monkeypatch):
    net = mlp(784, [], 12, rng=0)
    monkeypatch.setattr(predict, "load_network", lambda path: net)
    _, out, _ = run(folder)
    head, *_ = out.splitlines()
    assert head.split() == ["file", "class", "probability", *map(str, range(12))]
    entries = json.loads(run(folder, "--json", "--show", folder / "seen")[1])
    assert all(e["class"] == np.argmax(e["probabilities"]) for e in entries)
    assert not any("digit" in e for e in entries)


def test_models_of_any_kind(folder, run, monkeypatch):
    """The same digits in float64 and of the first of two outputs; of two inputs one line."""
    x, other = Input(784), Input(784)
    first = Linear(784, 10, 0)
    kinds = {
        "single": mlp(784, [], 10, 0),
        "double": mlp(784, [], 10, 0, np.float64),
        "two outputs": Graph(x, [first(x), Linear(784, 3, 0)(x)]),
        "two inputs": Graph([x, other], Linear(784, 10, 0)(Add()(x, other))),
    }
    found = {}
    for name, net in kinds.items():
        monkeypatch.setattr(predict, "load_network", lambda path, net=net: net)
        found[name] = run(folder, "--json")
    code, out, err = found.pop("two inputs")
    assert (code, out, len(err)) == (2, "", 1)
    assert "x is one array, the network takes 2" in err[0]
    digits = {name: [e["digit"] for e in json.loads(out)] for name, (_, out, _) in found.items()}
    assert digits == dict.fromkeys(digits, digits["single"])


def test_a_model_that_overflows(folder, run, monkeypatch):
    net = mlp(784, [], 10, 0)
    net[0].w[...] = 3e38
    monkeypatch.setattr(predict, "load_network", lambda path: net)
    for json_ in ((), ("--json",)):
        code, out, err = run(folder, "--model", "net.bin", *json_)
        assert code == 2
        assert err[0] == (
            f"jitprop predict: error: {folder / 'a.JPG'}: what the network gives is not finite"
        )
    entries = json.loads(out)
    assert len(entries) == len(err)
    assert all(set(entry) == {"file", "error"} for entry in entries)


def test_the_network_is_loaded_from_the_model(network, monkeypatch):
    monkeypatch.undo()
    asked = []
    monkeypatch.setattr(training, "load", lambda path: asked.append(path) or network, raising=False)
    assert predict.load_network("net.bin") is network
    assert asked == ["net.bin"]


def test_probabilities_are_those_of_evaluation():
    net = mlp(784, [20], 10, rng=1)
    digits = np.random.default_rng(0).integers(0, 256, (7, 28, 28)).astype(np.uint8)
    z = net.fprop(digits.reshape(7, 784).astype(np.float32) / np.float32(255)).astype(np.float64)
    expected = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    net.train()
    assert np.allclose(predict.predict(net, digits), expected, rtol=1e-5, atol=0)  # float32 logits
    assert net.training


@pytest.mark.parametrize("args", ["", "--mode x a.png", "--json", "--show"])
def test_refuses_arguments(args, run):
    code, out, err = run(*args.split())
    assert (code, out, len(err)) == (2, "", 1)
    assert err[0].startswith("jitprop predict: error: ")


def test_without_pillow(folder):
    code = (
        "import sys; sys.modules['PIL'] = None; from jitprop.cli import predict as p; p.main(['a'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "jitprop predict: error: reading images needs Pillow: pip install 'jitprop[images]'\n"
    )


def test_the_pictures_of_the_repository(run, monkeypatch):
    """They run as the README says; what is right depends on the network that is shipped."""
    monkeypatch.undo()
    entries = json.loads(run("--json", ROOT / "tests" / "pictures")[1])
    found = {Path(e["file"]).name: [one["digit"] for one in e["digits"]] for e in entries}
    assert {name: len(digits) for name, digits in found.items()} == {
        "number.jpg": 4,
        "ruled.jpg": 1,
        "shadow.jpg": 3,
        "torn.jpg": 1,
    }
    assert found["number.jpg"] == [2, 0, 2, 6]
    assert found["ruled.jpg"] == [7]


def test_interrupted(run, folder, monkeypatch):
    def load(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "load_network", load)
    assert run(folder) == (130, "", ["jitprop predict: interrupted"])


def test_help():
    done = subprocess.run(
        [sys.executable, "-m", "jitprop", "predict", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("--model", "--json", "--show", "exit code is 0"))
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize("show", ["a.JPG", "../scans/b.png", "link.png", "model"])
def test_what_it_reads_is_not_written_over(show, folder, run, tmp_path):
    (folder / "link.png").symlink_to("a.JPG")
    (folder / "model").write_bytes(b"a network")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    code, out, err = run(folder, "--model", folder / "model", "--show", folder / show)
    assert (code, out, len(err)) == (2, "", 1)
    reads = "--model reads" if show == "model" else "IMAGE reads"
    assert err[0] == f"jitprop predict: error: argument --show: {folder / show} is what {reads}"
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("flag", ["--model", "--show"])
def test_an_unset_variable_is_no_file(flag, folder, run):
    code, out, err = run(folder, flag, "")
    assert (code, out) == (2, "")
    assert err == [f"jitprop predict: error: argument {flag}: expected a path, not ''"]
