"""The benchmark of tables: the same folds for both, and nobody is timed who did not learn.

No test looks at a time.
"""

import csv
import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from jitprop import kernels
from perf import fits, fitters, goals, report, scores, tables
from perf.fits import Fit, Setting
from perf.providers import FITTERS, OURS

ROOT = Path(__file__).parents[1]
IRIS = scores.TABLES[0]
SETTING = Setting("iris", fits.CASES["iris"].make, (30,), 15, 30, rounds=3, above=0.8)
ROW = Fit(SETTING, (150, 4, 3), 2, OURS, 4e-3, 3e-3, 5e-3, 1.0, 0.95)
SCORED = scores.Scored(IRIS, "adam", np.array([0.8, 0.9]), np.array([0.8, 0.9]))


@pytest.mark.parametrize("table", scores.TABLES, ids=lambda table: table.name)
def test_tables_are_what_they_say(table):
    x, y = table.make()
    assert 100 <= len(x) == len(y) < 2000
    assert y.shape[1:] == ((4,) if table.target == "labels" else ())
    assert (y.dtype.kind == "f") == (table.target == "number")


def test_there_is_a_case_of_each_table_and_solver():
    assert len({table.name for table in scores.TABLES}) >= 14
    assert len(scores.CASES) == len(scores.TABLES) * 3
    assert set(scores.QUICK) <= scores.CASES.keys()
    assert set(fits.QUICK) <= fits.CASES.keys()


@pytest.mark.parametrize(
    "name", ["moons", "regression", "multilabel_classification"]
)  # a class, a number, several labels
def test_both_are_scored_on_the_same_folds(name, monkeypatch):
    table, _ = scores.CASES[f"{name} adam"]
    monkeypatch.setitem(scores.SOLVERS, "adam", {"max_iter": 10})
    row = scores.measure(table, "adam", folds=2, repeats=2)
    assert row.ours.shape == row.theirs.shape == (4,)
    np.testing.assert_allclose(row.ours, row.theirs, rtol=0, atol=0.01)  # a row or two of 250
    assert len(set(row.theirs)) > 1
    assert np.isfinite(row.over_error)


def test_a_verdict_is_in_standard_errors():
    mean, error = scores.mean(SCORED.theirs)
    assert (mean, error) == (pytest.approx(0.85), pytest.approx(0.05))
    assert SCORED.over_error == 0
    for off, verdict in ((-0.049, "within"), (-0.051, "below"), (0.2, "within")):
        row = replace(SCORED, ours=SCORED.theirs + off)
        assert row.over_error == pytest.approx(off / 0.05)
        assert row.verdict == verdict
    sure = replace(SCORED, theirs=np.ones(2))  # an error of 0
    assert (sure.over_error, sure.verdict) == (-np.inf, "below")
    assert replace(sure, ours=np.ones(2)).over_error == 0


def test_a_line_and_a_record_of_scores():
    row = replace(SCORED, ours=np.array([0.8, 0.8]))
    shown = " ".join(scores.line(row).split())
    assert shown == (
        "iris adam accuracy 0.8500 +- 0.0500 0.8000 +- 0.0000 -0.0500 +- 0.0500 within"
    )
    (record,) = scores.records([row], "scikit-learn 1", "avx512")
    assert tuple(record) == scores.COLUMNS
    assert (record["sklearn"], record["difference_error"]) == ("0.85", "0.05")
    (text,) = report.verdicts(goals.judged(goals.ACCURACY_GOALS, [row, SCORED]))
    assert text.startswith("holds")
    assert "least  -1.00  median  -0.50  2 of 2  (iris adam)" in text


@pytest.mark.parametrize(
    "name",
    [n if n in (OURS, "sklearn") else pytest.param(n, marks=pytest.mark.slow) for n in FITTERS],
)
def test_everybody_learns(name):
    pytest.importorskip(name)
    library = fitters.LIBRARIES[name](kernels.get_num_threads())
    x, y = SETTING.data()
    for t in (y, (y == 2).astype(np.int64)):  # three classes, and two
        table: list = []
        request = "prepare", x, t, (30,), 15, 30
        found = fitters.answer(library, table, request)
        assert found.shape == t.shape
        assert np.mean(found == t) > 0.8
    assert fitters.answer(library, table, ("measure",)) > 0
    fitters.answer(library, table, ("release",))
    assert table == []


class FakeFitter:
    """Gives the right classes, or one class; takes some seconds."""

    def __init__(self, seconds=1.0, right=True):
        self.seconds, self.right = seconds, right
        self.measured = self.released = 0

    def ask(self, kind, *request):
        if kind == "prepare":
            return request[1] if self.right else np.zeros_like(request[1])
        self.measured += kind == "measure"
        self.released += kind == "release"
        return self.seconds


def measured(workers, warn):
    one = object.__new__(fits.Fits)
    one.warn, one.failed, one.workers, one.threads = warn, False, workers, 2
    return one, one.measure(SETTING)


def test_seconds_are_those_of_an_epoch():
    workers = {OURS: FakeFitter(3.0), "sklearn": FakeFitter(6.0)}
    _, (ours, theirs) = measured(workers, pytest.fail)
    assert (ours.seconds, theirs.seconds) == (0.1, 0.2)
    assert (ours.ratio, theirs.ratio) == (1, 2)
    assert (ours.shape, ours.accuracy) == ((150, 4, 3), 1)
    assert all((one.measured, one.released) == (3, 1) for one in workers.values())


@pytest.mark.parametrize(("wrong", "left"), [("sklearn", {OURS}), (OURS, set())])
def test_who_did_not_learn_is_not_timed(wrong, left):
    lines: list = []
    workers = {name: FakeFitter(right=name != wrong) for name in (OURS, "sklearn")}
    one, rows = measured(workers, lines.append)
    assert {row.provider for row in rows} == left
    assert workers[wrong].measured == 0
    assert one.failed == (wrong == OURS)
    assert lines == [f"iris, {wrong}: accuracy 0.333, expected 0.8 or more"]


def test_a_line_a_record_and_a_goal_of_fits():
    peer = replace(ROW, provider="sklearn", ratio=4.0)
    shown = " ".join(fits.line(peer).split())
    assert shown == "iris 30 15 30 sklearn 4 50.0% 4.00x 0.950"
    (record,) = fits.records([peer], {"sklearn": "scikit-learn 1"}, "avx512")
    assert tuple(record) == fits.COLUMNS
    assert (record["rows"], record["features"], record["classes"]) == (150, 4, 3)
    (text,) = report.verdicts(goals.judged(goals.SPEED_GOALS, [ROW, peer]))
    assert text.startswith("misses fit of iris, scikit-learn")
    assert "least   4.00" in text


@pytest.mark.parametrize(
    "args",
    [("accuracy", "--filter", "nobody"), ("speed", "--filter", "nobody"),
     ("speed", "--providers", "abacus")],
)  # fmt: skip
def test_bad_arguments_are_one_line(args, capsys):
    with pytest.raises(SystemExit) as left:
        tables.parse(args)
    assert left.value.code == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"perf: {' '.join(args[1:])}:")
    assert captured.err.count("\n") == 1


def test_without_scikit_learn_there_is_a_line(capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "sklearn" else find(n))
    with pytest.raises(SystemExit) as left:
        tables.parse(["speed"])
    assert left.value.code == 2
    assert capsys.readouterr().err == (
        "perf: tables need scikit-learn: pip install 'jitprop[sklearn]'\n"
    )


@pytest.mark.ci
@pytest.mark.parametrize(("what", "columns"), [("accuracy", scores), ("speed", fits)])
def test_quick_run_writes_a_csv(what, columns, tmp_path):
    command = [sys.executable, "-m", "perf.tables", what, "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stderr
    assert columns.HEADER in done.stdout
    with (tmp_path / f"tables_{what}.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == columns.COLUMNS
    assert len(lines) == (2 if what == "accuracy" else 4)
