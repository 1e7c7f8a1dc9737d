"""The house: which room may use which, no circles, where LLVM is spoken, lengths, the five places.

An arrow goes from a file to each file of ours that it imports, wherever in the file the import
stands.
"""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from jitprop import layers
from perf import catalogue

ROOT = Path(__file__).parents[1]

# Which rooms a room may use, beside itself.
BELOW = {
    "kernels/compiler": "",
    "kernels/runtime": "kernels/compiler",
    "kernels": "kernels/compiler kernels/runtime",
    "layers": "kernels kernels/runtime",
    "jitprop/data": "",
    "jitprop/training": "jitprop/data layers kernels kernels/compiler kernels/runtime",
    "jitprop/reporting": "jitprop/training layers",
    "jitprop/interop": "jitprop/training layers kernels/compiler",
    "jitprop/estimators": "jitprop/training layers kernels",
    "jitprop/web": "jitprop/data jitprop/training layers kernels kernels/runtime",
    "jitprop/cli": "jitprop jitprop/data jitprop/training jitprop/reporting jitprop/interop "
    "jitprop/web layers kernels kernels/compiler",
    "jitprop": "jitprop/data jitprop/training jitprop/reporting jitprop/interop jitprop/estimators "
    "layers kernels "
    "jitprop/cli",
    ".": "jitprop jitprop/cli jitprop/training",
}
# What speaks LLVM's language, beside compiler/ and runtime/: the microkernels.
MICROKERNELS = {"kernels/tile.py", "kernels/sparse_tile.py"}
LONGEST_FUNCTION, LONGEST_FILE = 80, 500

HELPERS = {"constants", "functions", "fused", "losses", "philox", "sparse_tile", "tile"}
# Whose layer has another name, or that have none.
LAYERS = {
    "matmul": "linear",
    "sparse": "linear",
    "csr": "linear",
    "scale": "multiply",
    "softmax_cross_entropy": "cross_entropy",
    "weigh": "weighted",
} | dict.fromkeys(("average", "distort", "gather", "max_norm", "tally", "update", "zero"))
UNMEASURED = {"tally", "zero"}  # a thousandth of an epoch


def sources(*folders):
    return {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


OURS = sources("kernels", "layers", "jitprop") | {"train.py": (ROOT / "train.py").read_text()}


def module(path):
    name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return name if name.split(".")[0] in ("jitprop", "perf") else f"jitprop.{name}"


def arrows(files):
    """Of each file, the files that it imports, and the names of what is not among them."""
    path_of = {module(path): path for path in files}
    found = {}
    for path, source in files.items():
        names = set()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: imports are absolute"
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                known = inner & path_of.keys()
                names |= known | ({node.module} if len(known) < len(inner) else set())
        found[path] = {path_of.get(name, name) for name in names} - {path}
    return found


def upward(files):
    """Pairs of a file and one that it may not import."""
    return [
        (path, other)
        for path, others in arrows(files).items()
        for other in others & files.keys()
        if folder(other) not in [folder(path), *BELOW[folder(path)].split()]
    ]


def folder(path):
    return Path(path).parent.as_posix()


def circle(files):
    """Files that import each other in a circle; [] if there are none."""
    try:
        TopologicalSorter({p: o & files.keys() for p, o in arrows(files).items()}).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def speaks_llvm(files):
    return {
        path
        for path, others in arrows(files).items()
        if any(other.split(".")[0] == "llvmlite" for other in others)
    }


def too_long(files):
    """Functions, docstrings apart, and files that give no reason for it at their head."""
    found = []
    for path, source in files.items():
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                first = node.body[ast.get_docstring(node) is not None :] or node.body
                lines = node.end_lineno - first[0].lineno + 1
                found += [(path, node.name, lines)] * (lines > LONGEST_FUNCTION)
        lines, reason = source.count("\n"), "One file" in (ast.get_docstring(tree) or "")
        found += [(path, lines)] * (lines > LONGEST_FILE and not reason)
    return found


def test_rooms_use_only_those_below():
    assert {folder(path) for path in OURS} == BELOW.keys()
    assert upward(OURS) == []
    below = {room: {*others.split()} - {"jitprop"} for room, others in BELOW.items()}
    TopologicalSorter(below).prepare()  # there is no circle


def test_references_use_nothing_of_ours():
    for name in ("reference.py", "ulps.py"):
        source = (ROOT / "tests" / name).read_text()
        (others,) = arrows({f"tests/{name}": source}).values()
        assert not {other.split(".")[0] for other in others} & {"jitprop", "kernels", "perf"}


def test_no_file_imports_itself_in_a_circle():
    assert circle(OURS) == []
    assert circle(sources("perf")) == []


def test_formulas_know_nothing_of_llvm():
    speak = {path for path in speaks_llvm(OURS) if folder(path) == "kernels"}
    assert speak == MICROKERNELS
    assert {folder(path) for path in speaks_llvm(OURS)} == {
        *("kernels", "kernels/compiler", "kernels/runtime")
    }


def test_nothing_is_too_long():
    assert too_long(OURS | sources("perf")) == []
    # Of tests only files: the longest functions are tables.
    assert [found for found in too_long(sources("tests")) if len(found) == 2] == []


OPERATIONS = (
    {Path(path).stem for path in OURS if folder(path) == "kernels"} - HELPERS - {"__init__"}
)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_an_operation_has_its_places(name):
    assert (ROOT / f"tests/test_{name}.py").is_file()
    public = {
        alias.name
        for node in ast.walk(ast.parse(OURS["kernels/__init__.py"]))
        if isinstance(node, ast.ImportFrom) and node.module == f"jitprop.kernels.{name}"
        for alias in node.names
    }
    assert public
    measured = public & {case.name for case in catalogue.every()}
    assert bool(measured) == (name not in UNMEASURED)
    layer = LAYERS.get(name, name)
    if layer:
        home = f"jitprop.layers.{layer}"
        classes = [c for c in vars(layers).values() if getattr(c, "__module__", "") == home]
        assert classes
        listed = (ROOT / "layers/README.md").read_text()
        assert [c for c in classes if f"`{c.__name__}`" not in listed] == []


PLANTED = [
    (upward, "kernels/tanh.py", "from jitprop import layers"),
    (upward, "kernels/compiler/cpu.py", "def late():\n    import jitprop.kernels.runtime.tape"),
    (upward, "layers/tanh.py", "from jitprop.training.loop import fit"),
    (upward, "jitprop/data/idx.py", "import jitprop.training"),
    (circle, "layers/node.py", "def late():\n    from jitprop.layers.module import Module"),
    (circle, "kernels/softmax.py", "import jitprop.kernels.log_softmax"),
    (too_long, "layers/tanh.py", "def long():\n" + "    pass\n" * 81),
    (too_long, "layers/tanh.py", "\n" * 500),
]


@pytest.mark.parametrize(("check", "path", "line"), PLANTED)
def test_a_planted_fault_is_seen(check, path, line):
    assert check(OURS | {path: f"{OURS[path]}\n{line}\n"})


def test_planted_llvm_is_seen():
    planted = f"{OURS['kernels/tanh.py']}\nfrom llvmlite import ir\n"
    assert "kernels/tanh.py" in speaks_llvm(OURS | {"kernels/tanh.py": planted})
