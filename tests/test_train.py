"""The command line: what it prints, writes and refuses."""

import html
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from runs import (
    LAST_LINE,
    ROOT,
    folder,
    process,
    refused,
    run,
    saved,
    write_idx,
)

from jitprop import kernels, train
from jitprop.cli import arguments
from jitprop.training.settings import PRESETS


@pytest.mark.parametrize(
    "args",
    [
        "--arch foo",
        "--arch linear --hidden 3",
        "--hidden 0",
        "--hidden 3,,4",
        "--hidden abc",
        "--hidden 10000000000",
        "--batch-size 0",
        "--batch-size -1",
        "--batch-size all",
        "--epochs -1",
        "--epochs 1.5",
        "--lr nan",
        "--lr -1",
        "--lr 0",
        "--lr inf",
        "--lr x",
        "--momentum 1.5",
        "--momentum -0.1",
        "--momentum nan",
        "--optimizer sgdm",
        "--betas 0.9,1",
        "--betas 0.9",
        "--betas 0.9;0.99",
        "--optimizer adam --eps 0",
        "--weight-decay -1",
        "--schedule cos",
        "--warmup -1",
        "--warmup 1000",
        "--schedule step --step-size 0",
        "--schedule step --gamma 2",
        "--dropout 1",
        "--dropout x",
        "--input-noise -0.1",
        "--input-noise nan",
        "--input-noise inf",
        "--input-noise x",
        "--label-smoothing 1.1",
        "--early-stopping --patience 0",
        "--seed -1",
        "--threads 0",
        "--threads 1000000",
        "--validation -1",
        "--metrics",
        "--batch 10",
        "surplus",
    ],
)
def test_refuses_arguments(args, capsys):
    out, err = refused(capsys, *args.split())
    assert out == ""
    *_, last = args.split()
    assert last in err or last.replace(",", ", ") in err or "not allowed with" in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--optimizer adam --momentum 0.5", "momentum is for the optimizer sgd, not for adam"),
        ("--momentum 0 --nesterov", "nesterov needs a momentum above 0"),
        ("--betas 0.8,0.9", "betas is for the optimizer adam and adamw, not for sgd"),
        ("--gamma 0.5", "gamma is for the schedule step, not for constant"),
        ("--patience 3", "patience is for early stopping, which is off"),
        ("--early-stopping", "early stopping needs images to validate on: --validation N"),
        ("--arch linear --dropout 0.5", "--dropout: there is no hidden layer"),
        ("--input sparse --input-noise 0.1", "--input: sparse is not for --input-noise, which"),
        ("--input sparse --input-dropout 0.1", "--input: sparse is not for --input-dropout, which"),
    ],
)
def test_refuses_what_does_not_go_together(folder, args, message, capsys):
    assert message in refused(capsys, "--data", folder, *args.split())[1]


def test_refuses_data(folder, tmp_path, capsys):
    for name in os.listdir(folder):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"no idx")
    assert "t10k-labels" in refused(capsys, "--data", tmp_path)[1]
    assert "none" in refused(capsys, "--data", tmp_path / "none")[1]
    assert "300" in refused(capsys, "--data", folder, "--validation", 300)[1]


def test_refuses_a_network_beyond_memory(folder, capsys, monkeypatch):
    def mlp(*args, **how):
        raise MemoryError("Unable to allocate 5.70 TiB")

    monkeypatch.setattr("jitprop.training.mlp", mlp)
    assert "memory: Unable" in refused(capsys, "--data", folder)[1]


def test_refuses_metrics_that_cannot_be_written_before_training(folder, tmp_path, capsys):
    path = tmp_path / "none" / "run.json"
    out, err = refused(capsys, "--data", folder, "--metrics", path)
    assert out == ""
    assert str(path) in err


def test_metrics_that_cannot_be_written_after_training(folder, tmp_path, capsys, monkeypatch):
    def full(path, record):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jitprop.training.write_json", full)
    path = tmp_path / "run.json"
    out, err = refused(capsys, "--data", folder, "--epochs", 1, "--metrics", path, code=1)
    assert LAST_LINE.fullmatch(out.splitlines(keepends=True)[-1])
    assert "No space" in err


def test_a_loss_that_diverges(folder, tmp_path, capsys):
    path = tmp_path / "run.json"
    args = ("--data", folder, "--lr", 1e38, "--metrics", path)
    _, err = refused(capsys, *args, code=1)
    assert re.search(r"became (nan|-?inf) in epoch \d+, batch \d+.*lower --lr", err)
    assert not path.exists()


def test_a_failed_gradient_check(folder, capsys, monkeypatch):
    from jitprop.layers import Tanh

    right = Tanh.bprop
    monkeypatch.setattr(Tanh, "bprop", lambda self, dy, need_dx=True: -right(self, dy))
    for more in ((), ("--epochs", 1)):
        out, err = refused(capsys, "--data", folder, "--gradcheck", *more, code=1)
        assert "gradient check failed: Tanh(): d y[" in err
        assert re.search(r"^  Tanh\(\) .* WRONG$", out, re.M)
        assert "test errors" not in out


def test_a_gradient_check_alone_trains_nothing(capsys):
    assert train.main(["--arch", "mlp200", "--gradcheck", "--threads", "1"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    *_, head, first, tanh, second, loss, whole, empty, last = out.splitlines()
    assert head.split() == ["layer", "by", "derivatives", "worst", "relative", "error"]
    assert first.split()[:-1] == ["Linear(6,", "5)", "x,", "w,", "b", "795"]
    assert tanh.split()[:-1] == ["Tanh()", "x", "225"]
    assert second.split()[:-1] == ["Linear(5,", "4)", "x,", "w,", "b", "468"]
    assert loss.split()[:-1] == ["SoftmaxCrossEntropy()", "x", "12"]
    assert whole.split()[-2] == "924"
    assert all(float(row.split()[-1]) < 1e-6 for row in (first, tanh, second, loss, whole))
    assert empty == ""
    assert re.fullmatch(r"gradient check passed: worst \S+, tolerance 1e-06", last)
    assert "epoch" not in out
    assert train.main(["--gradcheck", "--quiet", "--dropout", "0.5", "--lr", "0.2"]) == 0
    assert capsys.readouterr().out.startswith("gradient check passed: worst ")


@pytest.mark.parametrize("more", ["--epochs=0", "--preset=speedrun --epochs=1", "--metrics={}/m"])
def test_a_gradient_check_before_training(folder, tmp_path, more, capsys):
    args = f"--data {folder} --arch linear {more}".replace("{}", str(tmp_path)).split()
    if "--preset" in more:
        args = [f"--data={folder}", *more.split()]
    assert train.main(["--gradcheck", *args]) == 0
    out = capsys.readouterr().out
    assert "gradient check passed" in out
    assert LAST_LINE.fullmatch(out.splitlines(keepends=True)[-1])


def test_what_it_prints(run, capsys):
    run("--hidden 8,5 --epochs 3 --batch-size 64 --validation 44 --gradcheck --threads 1")
    out, err = capsys.readouterr()
    lines = out.splitlines(keepends=True)
    assert err == ""
    assert "256 train, 44 validation, 100 test" in lines[0]
    assert "24-8-5-4" in lines[1]
    assert f"{24 * 8 + 8 + 8 * 5 + 5 + 5 * 4 + 4} parameters" in lines[1]
    assert "epochs 3, batch size 64" in lines[2]
    assert lines[3] == "input     dense\n"
    assert "threads 1" in lines[4]
    assert any(line.startswith("gradient check passed: worst ") for line in lines[5:-5])
    table = lines[-5:-1]
    assert re.split(r" {2,}", table[0].strip()) == [
        *("epoch", "train loss", "train errors", "validation errors", "test errors", "seconds")
    ]
    assert [line.split()[0] for line in table[1:]] == ["1/3", "2/3", "3/3"]
    assert len({len(line) for line in table}) == 1
    errors, images, share = LAST_LINE.fullmatch(lines[-1]).groups()
    assert images == "100"
    assert float(share) == int(errors)


def test_metrics(run, capsys):
    metrics = run("--hidden 8 --epochs 3 --batch-size full --lr 0.5 --seed 4")
    out = capsys.readouterr().out
    assert int(LAST_LINE.search(out)[1]) == metrics["test_errors"]
    assert metrics["settings"] == {
        "arch": None,
        "hidden": [8],
        "data": metrics["settings"]["data"],
        "transposed": False,
        "activation": "tanh",
        "input_dropout": 0,
        "input_noise": 0,
        "max_norm": 0,
        "average": 0,
        "dropout": 0,
        "label_smoothing": 0,
        "validation": 0,
        "epochs": 3,
        "batch_size": "full",
        "lr": 0.5,
        "momentum": 0.9,
        "nesterov": False,
        "optimizer": "sgd",
        "betas": [0.9, 0.999],
        "eps": 1e-8,
        "weight_decay": 0,
        "schedule": "constant",
        "warmup": 0,
        "step_size": 5,
        "gamma": 0.1,
        "early_stopping": False,
        "patience": 5,
        "seed": 4,
        "input": "dense",
    }
    assert [epoch["epoch"] for epoch in metrics["epochs"]] == [1, 2, 3]
    for epoch in metrics["epochs"]:
        assert epoch.keys() == {
            *("epoch", "train_loss", "train_errors", "train_seconds", "test_loss", "test_errors")
        }
    assert metrics["test_errors"] == metrics["epochs"][-1]["test_errors"]
    assert metrics["test_images"] == 100
    assert metrics["interrupted"] is False
    assert re.fullmatch("[0-9a-f]{64}", metrics["weights_sha256"])
    assert metrics["compile_seconds"] == 0
    assert metrics["threads"] == kernels.get_num_threads()
    assert metrics["cpu"]
    assert metrics["versions"].keys() == {"python", "numpy", "numba"}


def test_input(run, capsys):
    dense, sparse = (run(f"--hidden 8 --epochs 2 --input {kind}") for kind in ("dense", "sparse"))
    assert dense["weights_sha256"] == sparse["weights_sha256"]
    assert (dense["settings"]["input"], sparse["settings"]["input"]) == ("dense", "sparse")
    assert re.search(
        r"^input     sparse, \d+% of the pixels are not zero$", capsys.readouterr().out, re.M
    )


def test_the_input_is_that_of_the_images_trained_on(tmp_path, capsys):
    """Not of all there are: here the ones held out are much denser."""
    rng = np.random.default_rng(1)
    for split, count in (("train", 100), ("t10k", 10)):
        images = rng.integers(1, 256, (count, 4, 5), np.uint8)
        images[:50, :, 1:] = 0
        write_idx(tmp_path / f"{split}-images-idx3-ubyte", images)
        write_idx(tmp_path / f"{split}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 3)
    args = f"--data {tmp_path} --epochs 1 --hidden 3 --validation".split()
    for held_out, expected in (("50", "sparse, 20% of the pixels are not zero"), ("0", "dense")):
        assert train.main([*args, held_out]) == 0
        assert f"\ninput     {expected}\n" in capsys.readouterr().out


@pytest.mark.slow
def test_report(folder, tmp_path, capsys):
    path = tmp_path / "new" / "report"
    args = ["--data", str(folder), "--report", str(path), "--epochs", "2", "--validation", "50"]
    assert train.main(args) == 0
    out, err = capsys.readouterr()
    errors = LAST_LINE.search(out)[1]
    assert out.endswith(f"report: {path / 'index.html'}\n")
    assert err == ""
    page = (path / "index.html").read_text()
    assert f"{errors} of 100" in page
    assert "mlp200" in page
    assert html.escape(shlex.join(["python", "train.py", *args])) in page
    assert len((path / "history.csv").read_text().splitlines()) == 3
    assert train.main([*args, "--quiet"]) == 0
    assert LAST_LINE.fullmatch(capsys.readouterr().out)


def test_refuses_a_report_that_cannot_be_written_before_training(
    folder, tmp_path, capsys, monkeypatch
):
    path = tmp_path / "file"
    path.write_text("old")
    out, err = refused(capsys, "--data", folder, "--report", path)
    assert out == ""
    assert f"--report: {path}: " in err
    monkeypatch.delitem(sys.modules, "jitprop.reporting.pictures", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    out, err = refused(capsys, "--data", folder, "--report", tmp_path)
    assert out == ""
    assert "jitprop[plots]" in err


def test_a_report_that_cannot_be_written_after_training(folder, tmp_path, capsys, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jitprop.reporting.write_report", full)
    _, err = refused(
        capsys, "--data", folder, "--epochs", 1, "--report", tmp_path / "report", code=1
    )
    assert "No space" in err


def test_one_seed_one_result(run):
    """Twice, by any number of threads, and whatever else is looked at meanwhile."""
    common = "--hidden 8 --epochs 2 "
    digest = run(common)["weights_sha256"]
    for more in ("", "--threads 1", "--threads 2", "--gradcheck --quiet", "--momentum 0.9"):
        assert run(common + more)["weights_sha256"] == digest
    assert run(common + "--seed 1")["weights_sha256"] != digest


def test_every_way_to_train(run, capsys):
    """Each option changes the network, and is told."""
    common = "--hidden 8 --epochs 3 "
    digests = [run(common)["weights_sha256"]]
    capsys.readouterr()
    for option, line in (
        ("--nesterov", "Nesterov momentum 0.9"),
        ("--optimizer adam", "learning rate 0.001, adam"),
        ("--optimizer adamw", "learning rate 0.001, adamw, weight decay 0.01"),
        ("--optimizer adam --lr 0.01 --betas 0.5,0.9 --eps 0.1", "learning rate 0.01, adam"),
        ("--weight-decay 0.1", "momentum 0.9, weight decay 0.1"),
        ("--schedule linear", "linear schedule"),
        ("--schedule cosine --warmup 0.5", "cosine schedule, warm-up 0.5"),
        ("--schedule step --step-size 1 --gamma 0.5", "step schedule"),
        ("--dropout 0.3", "dropout 0.3"),
        ("--input-noise 0.3", "input noise 0.3"),
        ("--label-smoothing 0.2", "label smoothing 0.2"),
        ("--label-smoothing 1", "label smoothing 1"),
    ):
        digests.append(run(common + option)["weights_sha256"])
        assert f" {line}, seed 0\n" in capsys.readouterr().out
    assert len(set(digests)) == 13


def test_what_was_trained_with_noise_is_evaluated_without(run, tmp_path):
    """So any input will do."""
    path = tmp_path / "net.safetensors"
    trained = run(f"--hidden 8 --epochs 2 --input-noise 0.3 --input-dropout 0.1 --save {path}")
    given = run(f"--evaluate {path} --input sparse")
    assert given["test_errors"] == trained["test_errors"]


def test_early_stopping(run, capsys):
    given = "--hidden 8 --epochs 200 --validation 44 --early-stopping --patience 2 --dropout 0.8"
    metrics = run(given)
    out = capsys.readouterr().out
    assert "early stopping with patience 2" in out
    epochs = metrics["epochs"]
    scores = [(epoch["validation_errors"], epoch["validation_loss"]) for epoch in epochs]
    best = scores.index(min(scores))
    assert len(epochs) == best + 3 < 200
    assert metrics["test_errors"] == epochs[best]["test_errors"]
    assert int(LAST_LINE.search(out)[1]) == metrics["test_errors"]


def test_validation_images_are_not_trained_on(run):
    assert run("--validation 50")["epochs"][-1]["validation_errors"] <= 5
    assert run("--validation 50")["weights_sha256"] != run("")["weights_sha256"]


def test_no_epochs(run):
    metrics = run("--epochs 0")
    assert metrics["epochs"] == []
    assert metrics["test_errors"] > 25


@pytest.mark.parametrize("arch", ["linear", "mlp800"])
def test_architectures(run, arch):
    metrics = run(f"--arch {arch} --epochs 1 --lr 0.01")
    assert metrics["settings"]["arch"] == arch
    assert metrics["test_errors"] < 75


def test_quiet(folder, capsys):
    assert train.main(["--data", str(folder), "--quiet", "--gradcheck", "--epochs=2"]) == 0
    out, err = capsys.readouterr()
    assert LAST_LINE.fullmatch(out)
    assert err == ""


@pytest.mark.slow
def test_mnist(capsys):
    """The figure of slide 14: about 250 errors with 200 hidden units."""
    assert train.main(["--arch", "mlp200", "--quiet"]) == 0
    errors, images, _ = LAST_LINE.fullmatch(capsys.readouterr().out).groups()
    assert images == "10000"
    assert int(errors) <= 250


def test_help_needs_no_numba():
    code = (
        "import sys, train\ntry: train.main(['--help'])\nfinally: assert 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""
    for word in ("--batch-size N|full", "0.01 to 0.1", "100 to 1000", "mlp200", "--gradcheck"):
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    headings = [line for line in done.stdout.splitlines() if re.fullmatch(r"[a-z ]+:", line)]
    assert len(headings) == 11
    assert done.stdout.count(":\n  python train.py ") == len(headings) - 1  # all but "options:"


def test_the_examples_of_the_page_of_help_are_good(capsys):
    with pytest.raises(SystemExit):
        train.main(["--help"])
    examples = re.findall(r"^  python train.py (.*?)(?:   .*)?$", capsys.readouterr().out, re.M)
    for example in examples:
        args = arguments.make_parser().parse_args(example.split())
        assert arguments.settings_of(args).epochs >= 1


@pytest.mark.parametrize("preset", PRESETS)
def test_presets(run, preset, capsys):
    """As if its arguments were typed; what is typed beside it wins."""
    typed = run(f"{PRESETS[preset]} --epochs 2")
    chosen = run(f"--preset {preset} --epochs 2")
    assert chosen["settings"] == typed["settings"]
    assert chosen["weights_sha256"] == typed["weights_sha256"]
    assert f"--lr {chosen['settings']['lr']} " in f"{PRESETS[preset]} "


@pytest.mark.slow
def test_names_that_nothing_can_show(folder, tmp_path):
    """Bytes that are no UTF-8, letters that the terminal does not have: written as escapes."""
    data = os.fsencode(tmp_path) + b"/r\xff\xc3\xa9\x1b[31m"
    os.mkdir(data)
    for name in os.listdir(folder):
        os.symlink(os.fsencode(folder / name), data + b"/" + os.fsencode(name))
    out = os.fsencode(tmp_path) + b"/out\xff"
    args = [b"--data", data, b"--epochs", b"1", b"--report", out, b"--save", out + b".net"]
    args += [b"--metrics", out + b".json"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    command = [sys.executable, "train.py", *args]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\x1b" not in done.stdout
    assert os.path.getsize(out + b"/index.html") > 10_000
    assert json.loads(Path(os.fsdecode(out + b".json")).read_text())["test_images"] == 100


@pytest.mark.parametrize("epochs", ["1" + "0" * 400, "1" + "0" * 5000, "1000000001"])
def test_far_too_many_epochs(epochs, capsys):
    _, err = refused(capsys, "--epochs", epochs)
    assert "epochs" in err


@pytest.mark.parametrize(
    "args",
    [
        "--weight-decay 1e42",
        "--lr 1e42",
        "--optimizer adam --eps 1e42",
        "--lr 1e400",
        "--schedule cosine --warmup 1e42",
    ],
)
def test_numbers_beyond_float32(args, capsys):
    refused(capsys, *args.split())
