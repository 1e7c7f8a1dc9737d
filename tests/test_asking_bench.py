"""The benchmark of answers: it times nothing wrong. No test looks at a time."""

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jitprop import kernels
from perf import askers, asking, goals, report
from perf.providers import ASKERS, OURS
from perf.runner import Asked, WrongResult

ROOT = Path(__file__).parents[1]
PARAMETERS = asking.trained()
ROW = Asked(1, "image", "float32", 1, OURS, 4e-6, 3e-6, 5e-6, 9, 1.0)


@pytest.mark.parametrize(
    "name",
    [n if n in (OURS, "numpy") else pytest.param(n, marks=pytest.mark.slow) for n in ASKERS],
)
@pytest.mark.parametrize(
    "case", [asking.Case(1), asking.Case(1, "no zeros"), asking.Case(20)], ids=str
)
def test_everybody_gives_the_same_answers(name, case):
    pytest.importorskip(name)
    if name == "onnxruntime":
        pytest.importorskip("onnx")
    library = askers.LIBRARIES[name](kernels.get_num_threads())
    pixels = case.pixels()
    right = asking.expected(PARAMETERS, pixels)
    forms = [asking.as_floats(pixels), pixels] if name == OURS else [asking.as_floats(pixels)]
    for x in forms:
        asking.judge(askers.answer(library, {}, ("prepare", "x", PARAMETERS, x, 0.0)), right)


def test_rows_without_zeros_have_none():
    assert asking.Case(1, "no zeros").pixels().all()
    assert not asking.Case(1).pixels().all()


def test_a_wrong_answer_is_seen():
    right = np.array([[1.0, 1.00001]])
    asking.judge(right + 0.9 * asking.BOUND, right)
    for wrong in (right + 2 * asking.BOUND, right * np.nan):
        with pytest.raises(WrongResult, match="a logit is off by"):
            asking.judge(wrong, right)
    with pytest.raises(WrongResult, match="1 of 1 rows have another class"):
        asking.judge(right[:, ::-1], right)
    with pytest.raises(WrongResult, match=r"shape \(2, 1\), expected \(1, 2\)"):
        asking.judge(right.T, right)


class FakeAsker:
    """Gives the right answer, or one that is off; takes a second, or more."""

    def __init__(self, seconds=1.0, off=0.0):
        self.seconds, self.off = seconds, off
        self.measured = 0

    def ask(self, kind, *request):
        if kind == "prepare":
            _, parameters, x, _ = request
            pixels = x if x.dtype == np.uint8 else x * 255
            return asking.expected(parameters, pixels) + self.off
        self.measured += kind == "measure"
        return self.seconds


def asking_with(workers, warn):
    one = object.__new__(asking.Asking)
    one.options = asking.parse(["--rounds", "3", "--threads", "1"])
    one.warn, one.failed, one.workers, one.parameters = warn, False, workers, PARAMETERS
    return one


def test_ours_is_asked_in_both_forms_and_peers_in_one():
    workers = {(OURS, 1): FakeAsker(), ("numpy", 1): FakeAsker(2.0), ("torch", 2): FakeAsker()}
    rows = asking_with(workers, pytest.fail).measure(asking.Case(1), 1)
    assert [(row.provider, row.form, row.ratio) for row in rows] == [
        (OURS, "float32", 1),
        (OURS, "bytes", 1),
        ("numpy", "float32", 2),
    ]
    assert workers["torch", 2].measured == 0


def test_a_wrong_peer_is_not_timed():
    lines = []
    workers = {(OURS, 1): FakeAsker(), ("numpy", 1): FakeAsker(off=1.0)}
    one = asking_with(workers, lines.append)
    assert {row.provider for row in one.measure(asking.Case(1), 1)} == {OURS}
    assert workers["numpy", 1].measured == 0
    assert not one.failed
    assert len(lines) == 1
    assert lines[0].startswith("1 image float32, 1 threads, numpy: a logit is off by 1")


def test_if_ours_is_wrong_nothing_is_timed():
    lines = []
    workers = {(OURS, 1): FakeAsker(off=1.0), ("numpy", 1): FakeAsker()}
    one = asking_with(workers, lines.append)
    assert one.measure(asking.Case(1), 1) == []
    assert one.failed
    assert len(lines) == 1


def test_goals_compare_with_the_fastest_peer():
    rows = [
        ROW,
        replace(ROW, form="bytes", ratio=0.5),
        replace(ROW, provider="numpy", ratio=2.0),
        replace(ROW, provider="torch", ratio=0.1),  # not asked about one row
        replace(ROW, rows=10),
        replace(ROW, rows=10, provider="torch", ratio=0.8),
        replace(ROW, rows=10, provider="numpy", ratio=3.0),
    ]
    first, second = report.verdicts(goals.judged(goals.ASKING_GOALS, rows))
    assert first.startswith("holds  one image")
    assert "most   0.50  median   0.38  2 of 2  (1 row, image, float32, 1 thread)" in first
    assert second.startswith("misses 10 rows and more, 1 thread")
    assert "most   1.25" in second


def test_a_line_and_a_record_of_an_answer():
    row = replace(ROW, picture="no zeros", provider="numpy", ratio=2.5)
    shown = " ".join(asking.line(row).split())
    assert shown == "1 float32 no zeros 1 numpy 4.00 50.0% 2.50x"
    (record,) = asking.records([row], {"numpy": "numpy 2"}, "avx512")
    assert tuple(record) == asking.COLUMNS
    assert (record["input"], record["microseconds"], record["ratio"]) == (
        "float32 no zeros",
        "4",
        "2.5",
    )


@pytest.mark.parametrize("args", [("--rows", "7"), ("--threads", "0"), ("--providers", "abacus")])
def test_bad_arguments_are_one_line(args, capsys):
    with pytest.raises(SystemExit) as left:
        asking.parse(args)
    assert left.value.code == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"perf: {' '.join(args)}:")
    assert captured.err.count("\n") == 1


@pytest.mark.ci
def test_quick_run_writes_a_csv(tmp_path):
    args = ["--quick", "--rows", "1", "--threads", "1", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "perf.asking", *args]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stderr
    assert asking.HEADER in done.stdout
    with (tmp_path / "asking.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == asking.COLUMNS
    assert [(line["input"], line["provider"]) for line in lines] == [
        ("float32", OURS),
        ("bytes", OURS),
        ("float32", "numpy"),
        ("float32 no zeros", OURS),
        ("bytes no zeros", OURS),
        ("float32 no zeros", "numpy"),
    ]
    assert float(lines[0]["ratio"]) == 1
    assert all(float(line["microseconds"]) > 0 for line in lines)
