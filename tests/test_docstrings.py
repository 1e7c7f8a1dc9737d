"""One style of docstrings, NumPy's, in all sources, and no slide that says something else."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from jitprop import data, interop, kernels, layers, reporting, training

ROOT = Path(__file__).parents[1]
SOURCES = [
    path
    for room in ("kernels", "layers", "jitprop", "perf")
    for path in sorted((ROOT / room).rglob("*.py"))
] + [ROOT / "train.py"]

SECTIONS = {"Parameters", "Returns", "Yields", "Raises", "Attributes", "Notes", "References"}
SECTIONS |= {"Examples"}
GOOGLE = re.compile(
    r"^ *(Args|Arguments|Attributes|Examples?|Notes?|Parameters|Raises|Returns|Yields) *:", re.M
)
OF_A_CORE = ("start", "stop", "scratch")  # who calls a kernel does not give these

# What each of the 14 slides is about: 3 networks, 4 backpropagation, 5 to 7 the linear module,
# 8 and 9 batches, 10 and 11 its gradients, 12 the loop, 13 the gradient check, 14 MNIST.
SLIDES = {
    "kernels/bias.py": {8, 10},
    "kernels/gather.py": {12, 14},
    "kernels/matmul.py": {8, 10, 11},
    "kernels/update.py": {7},
    "layers/gradcheck.py": {13},
    "layers/linear.py": {5, 6, 7, 10, 11, 14},
    "layers/module.py": {7, 12},
    "layers/sequential.py": {12},
    "jitprop/training/loop.py": {12},
    "jitprop/training/optimisers.py": {8, 9},
    "jitprop/training/settings.py": {14},
    "jitprop/web/checking.py": {13},
    "perf/figures.py": {14},
}


def slides(source):
    """Return the numbers of all slides that a text names: "slide 7", "slides 5 to 7, 9 and 11"."""
    text = re.sub(r"[\s#]+", " ", source)
    found = set()
    for numbers in re.findall(r"\bslides? (\d+(?:(?:,| to| and) \d+)*)", text, re.I):
        for first, last in re.findall(r"(\d+)(?: to (\d+))?", numbers):
            found |= set(range(int(first), int(last or first) + 1))
    return found


def sections(docstring):
    """Return the names that each section with an underline lists: "a, b : int" lists two."""
    lines = inspect.cleandoc(docstring).split("\n")
    found, section = {}, []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if re.fullmatch("-{3,}", following):
            section = found[line] = []
        elif line and line[0] not in " -":
            section += [name.strip(" *") for name in line.split(" : ")[0].split(",")]
    return found


def parameters(function):
    """Return the names of the parameters of a function, without self."""
    every = function.args
    named = [*every.posonlyargs, *every.args, every.vararg, *every.kwonlyargs, every.kwarg]
    return [one.arg for one in named if one and one.arg not in ("self", "cls")]


def of_kernel(function):
    """Return the call of the decorator `kernel`, or None."""
    calls = [one for one in function.decorator_list if isinstance(one, ast.Call)]
    return next((one for one in calls if getattr(one.func, "id", "") == "kernel"), None)


def expected_parameters(node):
    """Return what a section Parameters of a function or a class has to list; None: anything."""
    if isinstance(node, ast.ClassDef):
        node = next((one for one in node.body if getattr(one, "name", "") == "__init__"), None)
        return node and parameters(node)
    if of_kernel(node):
        return [name for name in parameters(node) if name not in OF_A_CORE]
    return parameters(node)


def faults(source):
    """Yield a line for each docstring that is not in the style."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            continue
        docstring, name = ast.get_docstring(node) or "", getattr(node, "name", "module")
        if GOOGLE.search(docstring):
            yield f"{name}: a section in Google's style"
        listed = sections(docstring)
        if unknown := listed.keys() - SECTIONS:
            yield f"{name}: {unknown} are no sections"
        if "Parameters" in listed and listed["Parameters"] != expected_parameters(node):
            yield f"{name}: lists {listed['Parameters']}, takes {expected_parameters(node)}"
        if isinstance(node, ast.ClassDef) and "Attributes" in listed:
            fields = {one.target.id for one in node.body if isinstance(one, ast.AnnAssign)}
            if not any(getattr(one, "name", "") == "__init__" for one in node.body) and (
                strange := set(listed["Attributes"]) - fields
            ):
                yield f"{name}: {strange} are no fields"
        if isinstance(node, ast.FunctionDef) and docstring and (decorator := of_kernel(node)):
            inplace = [one.value.value for one in decorator.keywords if one.arg == "inplace"]
            said = re.findall(r"; may be ([\w ]+)", docstring)
            if said != [" or ".join(names.split()) for names in inplace]:
                yield f"{name}: says that the output may be {said}, may be {inplace}"


def test_all_docstrings_are_in_the_style():
    assert len(SOURCES) > 100
    found = {path.relative_to(ROOT): [*faults(path.read_text("utf-8"))] for path in SOURCES}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_slides_are_those_of_the_table():
    found = {path.relative_to(ROOT).as_posix(): slides(path.read_text("utf-8")) for path in SOURCES}
    assert {path: numbers for path, numbers in found.items() if numbers} == SLIDES


def is_own(thing):
    return getattr(thing, "__module__", "").startswith("jitprop")


@pytest.mark.parametrize("room", [data, interop, kernels, layers, reporting, training])
def test_all_that_is_public_has_a_docstring(room):
    missing = []
    for name in room.__all__:
        thing = getattr(room, name)
        if callable(thing) and not thing.__doc__:
            missing.append(name)
        if isinstance(thing, type):
            for method, value in inspect.getmembers(thing):
                function = getattr(value, "fget", value)
                if not method.startswith("_") and callable(function) and is_own(function):
                    missing += [] if inspect.getdoc(value) else [f"{name}.{method}"]
    assert missing == []


RIGHT = '''
def f(a, b, *rest, c=1, **more):
    """Do.

    Parameters
    ----------
    a, b : int
        Two.
    *rest : int
    c : float
        One.
    **more

    Raises
    ------
    ValueError, TypeError
        Always.
    """

class C:
    """Be.

    Parameters
    ----------
    a : int
    """

    def __init__(self, a): ...

@kernel("x(n), y(n) -> out(n)", inplace="x y")
def double(x, y, out, start, stop):
    """`out = x + y`.

    Parameters
    ----------
    x, y : (n,) float32 or float64
    out : (n,) of the dtype of x, overwritten; may be x or y
    """

class E(NamedTuple):
    """Hold.

    Attributes
    ----------
    first : int
    """

    first: int
'''


def test_what_is_right_passes():
    assert [*faults(RIGHT)] == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("a, b : int", "a : int"),
        ("a, b : int", "b, a : int"),
        ("a, b : int", "a, b, d : int"),
        ("c : float", "d : float"),
        ("**more\n\n", "**most\n\n"),
        ("self, a", "self, b"),
        ("self, a", "self, a, b"),
        ("x, y : (n,)", "x, y, start : (n,)"),
        ("; may be x or y", ""),
        ("; may be x or y", "; may be x"),
        (', inplace="x y"', ""),
        ("first : int\n    ", "last : int\n    "),
        ("Raises\n    ------", "Throws\n    ------"),
        ("Raises\n    ------", "Raises:\n"),
        ("Parameters\n    ----------\n    a, b : int", "Args:\n        a, b: two"),
    ],
)
def test_a_planted_fault_is_found(right, wrong):
    assert right in RIGHT
    assert [*faults(RIGHT.replace(right, wrong, 1))]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("slide 7", {7}),
        ("Slides: see slides 5 to 7, 10 and\n# 12.", {5, 6, 7, 10, 12}),
        ("the slides' loop, 3 of them", set()),
    ],
)
def test_slides_are_found(text, numbers):
    assert slides(text) == numbers
