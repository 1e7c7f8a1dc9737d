"""tests/mutants.py: its changes are changes, and sources still."""

import ast

import mutants
import pytest

SOURCE = """\
def f(x: int, y=2.0):
    \'\'\'1 < 2\'\'\'
    if x < 1 and not y:
        raise ValueError(f"{x + 1} é")
    return g(x, y) + x
"""


def test_changes():
    found = [(change.line, change.before, change.after) for change in mutants.changes(SOURCE)]
    assert sorted(found) == [
        (1, "2.0", "4.0"),
        (3, "1", "0"),
        (3, "1", "2"),
        (3, "not y", "y"),
        (3, "x < 1", "x <= 1"),
        (3, "x < 1 and not y", "x < 1 or not y"),
        (4, 'raise ValueError(f"{x + 1} é")', "pass"),
        (5, "g(x, y)", "g(y, x)"),
        (5, "g(x, y) + x", "g(x, y) - x"),
        (5, "return g(x, y) + x", "pass"),
    ]


@pytest.mark.parametrize("path", ["kernels/update.py", "layers/graph.py", "tests/mutants.py"])
def test_what_comes_out_is_python(path):
    source = (mutants.ROOT / path).read_text()
    found = mutants.changes(source)
    assert len({change.source for change in found} - {source}) == len(found) > 100
    before = ast.dump(ast.parse(source))
    for change in found[::10]:
        assert ast.dump(ast.parse(change.source)) != before, change[:3]


def test_every_source_that_is_mirrored_elsewhere_and_its_tests_exist():
    for path, tests in mutants.MIRRORS.items():
        assert (mutants.ROOT / path).exists()
        assert mutants.mirror(path) == tests


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("kernels/nothing.py", "kernels/nothing.py is no source file of"),
        ("jitprop/training/words.py", "has no tests of its name: --tests"),
        ("kernels/tanh.py --tests tests/test_nothing.py", "there is no tests/test_nothing.py"),
    ],
)
def test_refusals(args, message, capsys, monkeypatch):
    monkeypatch.chdir(mutants.ROOT)
    with pytest.raises(SystemExit) as stopped:
        mutants.main(args.split())
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
