"""docs/: every block of Python runs, prints what the page says, and every named place exists.

A page is a story: its blocks run one after the other and share their names. A block that a page
gives a title, as ```python title="kernels/bias.py", is a file. If the repository has that file, the
block stands in it. If not, it is a file of the reader's own, and blocks below import it. A block
```text right below a block of Python is what that prints.
"""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from test_evidence import loops_of, machine_code, mnemonics

import jitprop
from jitprop import SoftmaxCrossEntropy, fit, kernels, mlp
from jitprop.cli import arguments
from jitprop.kernels.compiler.jit import DISABLED
from jitprop.kernels.tile import INSTRUCTIONS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
TEXTS = {page.stem: page.read_text("utf-8") for page in PAGES}
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```\n(?:\n?^```text\n(.*?)^```$)?", re.M | re.S)
PLACE = re.compile(r"\[([\w./]+\.(?:py|md))\]\(\.\./\1\) ((?:`[\w.]+`(?:, )?)+)")


def load(path):
    """Import a script of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


figures = load(DOCS / "figures.py")


def blocks(text):
    """Yield (language, title, code, what stands below it as its output, or None)."""
    for language, about, code, printed in BLOCK.findall(text):
        title = re.search('title="([^"]+)"', about)
        yield language, title and title[1], code, printed or None


def bare(source):
    """Return the source without docstrings and blank lines."""
    return re.sub(r"\n\s*\n", "\n", re.sub(r' *r?""".*?"""\n', "", source, flags=re.S))


def names(source):
    """Return all names that a source defines: functions, classes, methods, constants."""
    found = set()

    def look(body, prefix):
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                look(node.body, f"{prefix}{node.name}.")
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found.update(prefix + each.id for each in targets if isinstance(each, ast.Name))

    look(ast.parse(source).body, "")
    return found


def wrong_places(text):
    """Yield what a page names and no file has."""
    for path, listed in PLACE.findall(text):
        source = (ROOT / path).read_text("utf-8")
        if path.endswith(".md"):
            known = set().union(
                *(names(code) for name, _, code, _ in blocks(source) if name == "python")
            )
        else:
            known = names(source)
        yield from (f"{path} {name}" for name in re.findall("`(.*?)`", listed) if name not in known)


@pytest.mark.parametrize("page", TEXTS)
def test_places_exist(page):
    assert [*wrong_places(TEXTS[page])] == []


def test_a_wrong_place_is_found():
    text = (
        "[layers/tanh.py](../layers/tanh.py) `Tanh`, `Tan`; "
        "[layers/README.md](../layers/README.md) `step`"
    )
    assert [*wrong_places(text)] == ["layers/tanh.py Tan"]


def test_every_slide_has_its_line():
    rows = re.findall(r"^\| ([\d, ]+) \| (.*)$", TEXTS["slides"], re.M)
    headings, lines = rows[:11], rows[11:]
    for table, first in ((headings, 1), (lines, 2)):
        told = {int(number) for numbers, _ in table for number in numbers.split(",")}
        assert told == set(range(first, 15))
    assert len(lines) > 35
    for numbers, row in lines:  # formula, code, test
        assert len(PLACE.findall(row)) >= 2, (numbers, row)
        assert "](../tests/" in row.split(" | ")[-1], (numbers, row)


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", TEXTS[page]):
        assert "://" in link or (DOCS / link).resolve().is_file(), link


def run_page(text, tmp_path, capsys):
    """Run the blocks of a page in their order; return the names that they leave."""
    scope = {"__name__": "page"}
    for language, title, code, printed in blocks(text):
        if language != "python":
            continue
        if title and (ROOT / title).is_file():
            assert bare(code) in bare((ROOT / title).read_text("utf-8")), title
        elif title:
            (tmp_path / title).write_text(code)
        else:
            exec(compile(code, "page", "exec"), scope)
            out = capsys.readouterr().out
            assert printed is None or out == printed
            assert printed or not out, f"the page does not say that it prints {out}"
    return scope


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in which a reader follows a page; modules made there are forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    known = {*sys.modules}
    yield tmp_path
    for name in {*sys.modules} - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path) + os.sep):
            del sys.modules[name]


@pytest.mark.parametrize("page", TEXTS)
def test_every_block_runs(page, folder, capsys):
    run_page(TEXTS[page], folder, capsys)


def test_a_page_that_says_something_else_is_found(folder, capsys):
    with pytest.raises(AssertionError):
        run_page("```python\nprint(1)\n```\n\n```text\n2\n```\n", folder, capsys)
    with pytest.raises(AssertionError):
        run_page('```python title="layers/tanh.py"\nforwards = 3\n```\n', folder, capsys)


def test_the_calls_of_a_batch(monkeypatch):
    recorded, run = [], kernels.Tape.run

    def note(tape, *args, **named):
        recorded.append([kernel.__name__ for kernel, _ in tape.calls])
        return run(tape, *args, **named)

    monkeypatch.setattr(kernels.Tape, "run", note)
    images = np.zeros((30, 784), np.uint8)  # most pixels are zero, as MNIST's are
    images[:, ::5] = 255
    net, loss = mlp(784, [200], 10, rng=0), SoftmaxCrossEntropy()
    how = {"epochs": 1, "batch_size": 10, "rate": 0.1, "momentum": 0.9, "rng": 0}
    fit(net, loss, images, np.arange(30) % 10, **how)
    (told,) = re.findall(r"^```\n(next_index.*?)```", TEXTS["kernels"], re.M | re.S)
    names = ", ".join(re.split(r"  +", line)[0] for line in told.splitlines())
    times = names.replace("momentum_update x 3", ", ".join(["momentum_update"] * 3))
    assert recorded[0] == times.split(", ")


@pytest.mark.skipif(INSTRUCTIONS != "avx512", reason="the page shows code for AVX-512")
@pytest.mark.skipif(DISABLED, reason="there is no machine code")
@pytest.mark.ci
def test_the_assembly_is_that_of_the_tile():
    """The same instructions; compilers number the registers as they like."""
    (shown,) = [code for _, _, code, _ in blocks(TEXTS["kernels"]) if "vfmadd231ps" in code]
    functions = machine_code(kernels.matmul_nn, np.float32)
    (code,) = [lines for name, lines in functions.items() if "jitprop.tile" in name]
    (loop,) = loops_of(code, re.compile(r"vfmadd\d+ps\s.*%zmm\d+$"))[24]
    assert Counter(mnemonics(shown.split("\n")[1:])) == Counter(mnemonics(loop[1:]))


def test_commands_are_those_of_train():
    typed = "".join(
        code for text in TEXTS.values() for language, _, code, _ in blocks(text) if language == "sh"
    )
    given = re.findall(r"^\S*python train\.py ?(.*?)(?: +#.*)?$", typed, re.M)
    assert len(given) > 10
    for command in given:
        arguments.make_parser().parse_args(command.split())


@pytest.mark.parametrize("name", figures.FIGURES)
def test_figures_are_current(name):
    """Where this fails: `python docs/figures.py NAME`, and look at the picture."""
    image = pytest.importorskip("PIL.Image")
    with image.open(figures.IMAGES / f"{name}.png") as picture:
        assert picture.text["Source"] == figures.source(name)
    assert f"images/{name}.png)" in "".join(TEXTS.values())


@pytest.mark.ci
@pytest.mark.parametrize("name", figures.FIGURES)
def test_figures_show_the_numbers_of_today(name):
    image = pytest.importorskip("PIL.Image")
    with image.open(figures.IMAGES / f"{name}.png") as picture:
        assert picture.text["Numbers"] == figures.digest(figures.FIGURES[name].numbers())


def test_the_reference_has_all_public_names():
    listed = re.findall(r"^::: (jitprop\.[\w.]+)$", TEXTS["reference"], re.M)
    assert len(listed) == len(set(listed))
    rooms = {"data", "estimators", "interop", "kernels", "layers", "reporting", "training"}
    public = {*jitprop.__all__} - rooms - {"ARCHITECTURES", "DEFAULTS", "__version__"}
    public = {*public, *jitprop.estimators.__all__, *jitprop.data.__all__, *kernels.__all__}
    assert {name.rpartition(".")[2] for name in listed} == public
    for name in listed:
        path, _, last = name.removeprefix("jitprop.").replace(".", "/").rpartition("/")
        path = path if path.startswith(("kernels", "layers")) else f"jitprop/{path}"
        assert last in names((ROOT / f"{path}.py").read_text("utf-8")), name


@pytest.mark.ci
def test_the_site_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    pages = {path.stem: path.read_text("utf-8") for path in tmp_path.glob("*.html")}
    del pages["404"]  # begins its links with a slash, for a server
    assert pages.keys() >= TEXTS.keys()
    loaded = re.compile(r"<(?:script|img|iframe|source)[^>]* src=\"?(?:https?:)?//|<link[^>]*//")
    for page, text in pages.items():
        assert not loaded.search(text), page
        for link in re.findall(r'(?:src|href)="([^"#:]+)["#]', text):
            assert (tmp_path / link).exists() or link == ".", (page, link)
