"""The benchmarks: their statistics, and that they time nothing wrong. No test looks at a time."""

import csv
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import reference

from jitprop import kernels
from jitprop.data import load_dataset
from perf import bench_matmul, catalogue, epoch, goals, report, runner, trainers
from perf.__main__ import parse
from perf.providers import DENSE, OURS, TRAINERS, Provider
from perf.runner import Row, Timing, WrongResult, expected, judge

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


@pytest.mark.parametrize("case", list(catalogue.every()), ids=str)
def test_cases_are_complete(case):
    assert {"jitprop", "numpy"} <= set(case.calls)
    assert case.flops > 0
    assert case.bytes(FLOAT32) > 0


def test_cases_are_told_apart_by_name_and_shape():
    keys = [(case.name, case.shape) for case in catalogue.every()]
    assert len(set(keys)) == len(keys)
    found = catalogue.find("gather", (100, 784))
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


@pytest.mark.ci  # which runs the command as well
def test_quick_run_writes_a_csv(tmp_path):
    args = ["--quick", "--filter", "scale", "--threads", "1", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "perf", *args]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3000)
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


EPOCH = Timing("epoch", "mlp200", 100, 2, OURS, 0.1, 0.09, 0.12, 9, 1.0, 60_000, 38e9, 400e9, 0.3)
SETTING = epoch.Setting("mlp200", 100, 0.1, below=0.4, slow=(("torch", 2000),))


def test_an_epoch_has_the_products_of_training():
    # 784 x 200 forwards and for dw, 200 x 10 forwards, for dw and for dx; two FLOP each.
    assert SETTING.flops == 60_000 * 2 * (784 * 200 * 2 + 200 * 10 * 3)


def test_over_floor_is_the_time_of_the_products_at_the_peak():
    assert EPOCH.over_floor == pytest.approx(0.1 / (38 / 400))
    assert math.isnan(replace(EPOCH, what="start", flops=0.0).over_floor)


def test_loss_of_parameters_is_that_of_the_reference():
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(7, 3, 2), dtype=np.uint8)
    labels = rng.integers(4, size=7)
    w1, b1, w2, b2 = (rng.standard_normal(s, np.float32) for s in ((6, 5), 5, (5, 4), 4))
    z = np.tanh(images.reshape(7, 6) / 255.0 @ w1 + b1) @ w2 + b2
    right = np.mean(reference.softmax_cross_entropy(z, reference.one_hot(labels, 4)))
    found = epoch.mean_loss([w1, b1, w2, b2], images, labels)
    assert found == pytest.approx(right, rel=1e-5)


class FakeTrainer:
    """Has learned what it was given, and takes a second."""

    def __init__(self, parameters):
        self.parameters = parameters
        self.measured = 0

    def ask(self, kind, *request):
        if kind == "prepare":
            return self.parameters
        self.measured += 1
        return 1.0


def epochs_with(workers, warn):
    """A run of three rounds with these workers, on two images: one of class 0, one of class 1."""
    one = object.__new__(epoch.Epochs)
    one.options = epoch.parse(["--rounds", "3"])
    one.warn, one.failed, one.most, one.workers = warn, False, 2, workers
    one.judged = np.array([[[0]], [[255]]], np.uint8), np.array([0, 1])

    class Runner:
        def machine(self, threads, nbytes):
            return 1e11, 1e9

    one.runner = Runner()
    return one


GOOD = [np.array([[-20.0, 20.0]], np.float32), np.array([10.0, -10.0], np.float32)]


def test_turns_over_fewer_images_are_scaled_to_an_epoch():
    workers = {(OURS, 2): FakeTrainer(GOOD), ("torch", 2): FakeTrainer(GOOD)}
    ours, torch = epochs_with(workers, pytest.fail).measure(SETTING)
    assert (ours.provider, ours.seconds, ours.images, ours.ratio) == (OURS, 1.0, 60_000, 1.0)
    assert (torch.provider, torch.seconds, torch.images, torch.ratio) == ("torch", 30, 2000, 30)
    assert ours.over_floor == pytest.approx(1e11 / SETTING.flops)


@pytest.mark.parametrize(
    "wrong", [[-w for w in GOOD], [w * 0 for w in GOOD], [w * np.nan for w in GOOD]]
)
def test_a_peer_that_did_not_learn_is_not_timed(wrong):
    lines = []
    workers = {(OURS, 2): FakeTrainer(GOOD), ("torch", 2): FakeTrainer(wrong)}
    one = epochs_with(workers, lines.append)
    assert [row.provider for row in one.measure(SETTING)] == [OURS]
    assert workers["torch", 2].measured == 0
    assert not one.failed
    assert len(lines) == 1
    assert lines[0].startswith("mlp200 100, 2 threads, torch: loss ")


def test_if_ours_did_not_learn_nothing_is_timed():
    lines = []
    workers = {(OURS, 2): FakeTrainer([-w for w in GOOD]), ("torch", 2): FakeTrainer(GOOD)}
    one = epochs_with(workers, lines.append)
    assert one.measure(SETTING) == []
    assert one.failed
    assert workers["torch", 2].measured == 0


def test_a_peer_that_is_not_installed_is_left_out():
    lines = []
    one = epochs_with({}, lines.append)
    one._start(Provider("abacus", "abacus_of_no_index"), 2)
    assert one.workers == {}
    assert lines == ["abacus: not installed; left out"]


def test_epoch_goals_name_the_most_and_the_least():
    dense = replace(EPOCH, provider=DENSE)
    rows = [
        dense,
        replace(EPOCH, provider="jax", ratio=2.0),
        replace(EPOCH, threads=1, provider="jax", ratio=9.0),  # only all processors count
        replace(dense, batch=500, seconds=0.2),
        replace(EPOCH, what="start", net="first", seconds=0.04, flops=0.0),
    ]
    lines = list(report.verdicts(goals.judged(goals.EPOCH_GOALS, rows)))
    assert [line[:30].split()[0] for line in lines] == ["holds", "misses", "misses", "holds"]
    assert "batch 100, over floor" in lines[0]
    assert "1.35  most   1.05" in lines[0]
    assert "3.00  least   2.00" in lines[2]  # nothing measured of others, nothing said


def reference_steps(images, labels, parameters, rate, steps):
    """Gradient descent on the mean loss over all images at once, in float64."""
    x = images.reshape(len(images), -1) / 255.0
    targets = reference.one_hot(labels, 10)
    w1, b1, w2, b2 = (p.astype(np.float64) for p in parameters)
    for _ in range(steps):
        h = np.tanh(x @ w1 + b1)
        dz = reference.softmax_cross_entropy_bprop(h @ w2 + b2, targets, 1 / len(x))
        da = reference.tanh_bprop(h, dz @ w2.T)
        gradients = x.T @ da, da.sum(axis=0), h.T @ dz, dz.sum(axis=0)
        w1, b1, w2, b2 = (p - rate * dp for p, dp in zip((w1, b1, w2, b2), gradients, strict=True))
    return [w1, b1, w2, b2]


@pytest.mark.parametrize("name", TRAINERS)
def test_everybody_computes_the_same_training(name):
    """In one batch of all images the order does not matter: two passes are two known steps."""
    pytest.importorskip({OURS: "jitprop", DENSE: "jitprop"}.get(name, name))
    dataset = load_dataset()
    images, labels = dataset.train_images[:50], dataset.train_labels[:50]
    parameters = SETTING.parameters()
    library = trainers.LIBRARIES[name](kernels.get_num_threads())
    library.build(images, labels, 50, 0.1, [p.copy() for p in parameters])
    library.learn()
    right = reference_steps(images, labels, parameters, 0.1, steps=2)
    for found, value, first in zip(library.parameters(), right, parameters, strict=True):
        assert found.shape == value.shape
        # Two steps change parameters by 1e-2; float32 sums of 784 terms are good to 1e-5 of that.
        assert np.abs(found - value).max() < 1e-6 < np.abs(found - first).max()


def test_start_ends_with_the_first_batch():
    dataset = load_dataset()
    library = trainers.Jitprop(kernels.get_num_threads())
    parameters = SETTING.parameters()
    library.build(dataset.train_images[:50], dataset.train_labels[:50], 10, 0.1, parameters)
    seen = []
    train = library.train
    library.train = lambda **options: train(
        **{**options, "on_batch": lambda *args: (seen.append(args), options["on_batch"](*args))}
    )
    assert library.start() > 0
    assert len(seen) == 1


@pytest.mark.ci
def test_quick_run_of_epochs_writes_a_csv(tmp_path):
    args = ["--quick", "--filter", "mlp200 500", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "perf.epoch", *args]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "epoch.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == epoch.COLUMNS
    assert {(line["what"], line["network"], line["batch"]) for line in lines} == {
        ("epoch", "mlp200", "500")
    }
    assert {line["provider"] for line in lines} == {OURS}
    assert float(lines[0]["ratio"]) == 1
    assert all(float(line["seconds"]) > 0 for line in lines)


def test_a_case_is_chosen_by_its_name_or_part_of_it():
    assert epoch.chosen("mlp200 1") == ["mlp200 1"]
    assert epoch.chosen("mlp200") == ["mlp200 100", "mlp200 500", "mlp200 1"]
    assert epoch.chosen("start") == ["start"]


@pytest.mark.parametrize("args", [("--filter", "nosuchnet"), ("--providers", "abacus")])
def test_bad_arguments_of_epochs_are_one_line(args, capsys):
    with pytest.raises(SystemExit) as left:
        epoch.parse(args)
    assert left.value.code == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"perf: {' '.join(args)}:")
    assert captured.err.count("\n") == 1


def test_the_picture_has_a_bar_for_everybody():
    pytest.importorskip("matplotlib")
    from perf import pictures

    rows = [EPOCH, replace(EPOCH, threads=1), replace(EPOCH, provider="torch", seconds=0.5)]
    figure = pictures.epochs(rows)
    bars = [(bar.get_label(), *bar.datavalues) for bar in figure.axes[0].containers]
    assert bars == [("jitprop", EPOCH.over_floor), ("PyTorch", rows[2].over_floor)]
    pictures.plt.close(figure)
    assert pictures.epochs([replace(EPOCH, what="start", flops=0.0)]) is None
