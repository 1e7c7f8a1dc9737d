"""The benchmarks: their statistics, and that they time nothing wrong. No test looks at a time."""

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from perf import bench_matmul, cases, goals, report, runner
from perf.__main__ import parse
from perf.runner import Row, WrongResult, expected, judge

ROOT = Path(__file__).parents[1]
FLOAT32 = np.dtype(np.float32)

ROW = Row(
    kernel="matmul_nn",
    shape=(500, 200, 784),
    dtype="float32",
    threads=2,
    provider="jitprop",
    seconds=1.0,
    quartile_1=0.9,
    quartile_3=1.2,
    rounds=9,
    flops=90.0,
    bytes=10.0,
    peak=100.0,
    copy=50.0,
    ratio=1.0,
)


def test_quartiles():
    assert runner.quartiles([4.0, 1.0, 2.0, 3.0, 5.0]) == (2.0, 3.0, 4.0)


def test_ratio_is_the_median_of_the_rounds_ratios():
    # The second round was slow for both: it says as much about the ratio as any other.
    assert runner.median_ratio([2.0, 20.0, 3.0], [1.0, 10.0, 1.0]) == 2.0


def test_share_is_of_the_roof_that_limits():
    assert (ROW.limited_by, ROW.share) == ("peak", 0.9)
    memory = replace(ROW, bytes=49.0)
    assert (memory.limited_by, memory.share, memory.share_of_peak) == ("copy", 0.98, 0.9)


@pytest.mark.parametrize("case", list(cases.every()), ids=str)
def test_cases_are_complete(case):
    assert {"jitprop", "numpy"} <= set(case.calls)
    assert case.flops > 0
    assert case.bytes(FLOAT32) > 0


def test_cases_are_told_apart_by_name_and_shape():
    keys = [(case.name, case.shape) for case in cases.every()]
    assert len(set(keys)) == len(keys)
    found = cases.find("gather", (100, 784))
    assert (found.name, found.shape) == ("gather", (100, 784))


def test_products_are_those_of_training():
    shapes = {(case.name, case.shape) for case in bench_matmul.cases()}
    assert {
        ("matmul_nn", (500, 200, 784)),
        ("matmul_tn", (784, 200, 500)),
        ("matmul_nt", (500, 200, 10)),
        ("matmul_nn", (4096, 4096, 4096)),
    } <= shapes
    assert ("matmul_nt", (500, 784, 200)) not in shapes  # the gradient of an image


def wrong_by(factor):
    """A product whose one element is off by `factor` of what the reference allows."""
    case = bench_matmul.nn((5, 7, 11))
    right = expected(case, FLOAT32)
    value, scale = right[0]
    result = value.copy()
    result[3, 4] += factor * case.tolerance * np.finfo(np.float32).eps * scale[3, 4]
    return case, [result], right


def test_a_result_within_the_bound_is_right():
    judge(*wrong_by(0.9), FLOAT32)


@pytest.mark.parametrize("factor", [1.1, -1.1, 1e6, np.nan, np.inf])
def test_a_result_beyond_the_bound_is_wrong(factor):
    with pytest.raises(WrongResult, match=r"1 of 35 results are wrong, first \[3, 4\]"):
        judge(*wrong_by(factor), FLOAT32)


def test_results_of_another_shape_or_number_are_wrong():
    case, (result,), right = wrong_by(0)
    with pytest.raises(WrongResult, match=r"shape \(7, 5\), expected \(5, 7\)"):
        judge(case, [result.T], right, FLOAT32)
    with pytest.raises(WrongResult, match="2 results, expected 1"):
        judge(case, [result, result], right, FLOAT32)


class FakeWorker:
    """Answers a request to prepare a case with some result; must never be asked to measure."""

    def __init__(self, results):
        self.results = results

    def ask(self, kind, *request):
        assert kind in ("prepare", "release")
        return self.results


def test_a_wrong_kernel_is_not_timed():
    case, results, _ = wrong_by(2)
    warnings = []
    one = object.__new__(runner.Runner)
    one.dtype, one.effort, one.threads = FLOAT32, runner.Effort(), [1]
    one.warn, one.failed = warnings.append, False
    one.providers = [runner.PROVIDERS["jitprop"]]
    one.workers = {("jitprop", 1): FakeWorker(results)}
    assert list(one.measure(case)) == []
    assert one.failed
    assert len(warnings) == 1
    assert warnings[0].startswith("matmul_nn 5x7x11 float32, 1 threads, jitprop: 1 of 35")


def test_goals_name_the_least_figure_and_whether_it_holds():
    peer = replace(ROW, provider="numpy", ratio=1.5)
    text = "\n".join(report.summary_lines([ROW, peer], "avx512"))
    assert "holds  matmul, share of peak" in text
    assert "misses matmul, NumPy as installed" in text
    assert "1.50" in text
    assert "PyTorch" not in text  # nothing measured, nothing said


def test_on_avx2_only_its_goals_are_judged():
    peer = replace(ROW, provider="numpy", ratio=1.5)
    found = [goal.text for goal, _ in goals.summary([ROW, peer], "avx2")]
    assert found == ["AVX2: matmul, NumPy as installed"]


def test_quick_run_writes_a_csv(tmp_path):
    args = ["--quick", "--filter", "scale", "--threads", "1", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "perf", *args]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "scale" in done.stdout
    with (tmp_path / "float32.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == report.COLUMNS
    assert [line["provider"] for line in lines] == ["jitprop", "numpy"]
    assert {line["kernel"] for line in lines} == {"scale"}
    assert float(lines[0]["ratio"]) == 1
    assert all(float(line["microseconds"]) > 0 for line in lines)


@pytest.mark.parametrize(
    "args",
    [
        ("--filter", "nosuchkernel"),
        ("--threads", "0"),
        ("--threads", "many"),
        ("--providers", "abacus"),
    ],
)
def test_bad_arguments_are_one_line(args, capsys):
    with pytest.raises(SystemExit) as left:
        parse(args)
    assert left.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"perf: {' '.join(args)}:")
    assert captured.err.count("\n") == 1
