"""What a run keeps, goes on with, and looks at before: jitprop/cli/keep.py and request.py."""

import json
import os
import re

import numpy as np
import pytest
from runs import (
    LAST_LINE,
    folder,
    process,
    refused,
    run,
    saved,
)

from jitprop import train
from jitprop.cli import interrupt
from jitprop.training import load, read, weights_sha256
from jitprop.training.progress import Progress


def test_resume(run, saved, tmp_path):
    """What was given first is kept; the history is that of the whole run."""
    whole = run("--hidden 8 --epochs 5 --seed 2")
    again = run(f"--resume {saved} --epochs 5 --save {saved}")
    third = run(f"--resume {saved} --epochs 7 --threads 1 --quiet")
    assert again["weights_sha256"] == whole["weights_sha256"]
    assert third["weights_sha256"] == run("--hidden 8 --epochs 7 --seed 2")["weights_sha256"]
    for metrics in (again, whole, third):
        for epoch in metrics["epochs"]:
            del epoch["train_seconds"]
    assert again["epochs"] == whole["epochs"] == third["epochs"][:5]
    assert again["settings"] == whole["settings"]


def test_resume_with_fewer_epochs(run, folder, tmp_path, capsys):
    """The errors are those of the weights, which have gone on since the last whole epoch."""
    path = tmp_path / "run.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        epochs = [0]
        patch.setattr(Progress, "batch", lambda self, epoch, *_: epochs.append(epoch))
        asked = property(lambda self: epochs[-1] == 2, lambda *_: None)
        patch.setattr(interrupt.Interrupt, "asked", asked)
        given = f"--data {folder} --hidden 9 --batch-size 7 --epochs 3 --lr 0.005 --save {path}"
        assert train.main(given.split()) == 130
    assert "epoch 2, after batch" in capsys.readouterr().out
    metrics = run(f"--resume {path} --epochs 1")
    assert "\nnothing left to do: 1 of 1 epochs are done; " in capsys.readouterr().out
    (epoch,) = metrics["epochs"]
    assert train.main(["--evaluate", str(path), "--data", str(folder)]) == 0
    errors, *_ = LAST_LINE.search(capsys.readouterr().out).groups()
    assert metrics["test_errors"] == int(errors) != epoch["test_errors"]


def test_resume_where_all_is_done(run, saved, capsys):
    metrics = run(f"--resume {saved}")
    assert len(metrics["epochs"]) == 3
    out, err = capsys.readouterr()
    *_, line, last = out.splitlines()
    assert line == "nothing left to do: 3 of 3 epochs are done; --epochs N goes on"
    assert LAST_LINE.fullmatch(last + "\n")
    assert err == ""
    run(f"--resume {saved} --epochs 2 --save {saved}")
    assert "\nnothing left to do: 3 of 2 epochs are done; --epochs" in capsys.readouterr().out
    assert run(f"--resume {saved} --epochs 4")["epochs"][3]["epoch"] == 4


def test_checkpoint_every(folder, tmp_path, monkeypatch, capsys):
    from jitprop import training

    epochs, save = [], training.save

    def spy(path, net, session, **about):
        epochs.append(len(session.history))
        save(path, net, session, **about)

    monkeypatch.setattr("jitprop.training.save", spy)
    args = [f"--data={folder}", "--epochs=5", f"--save={tmp_path / 'run'}", "--checkpoint-every=2"]
    assert train.main(args) == 0
    assert epochs == [2, 4, 5]


def test_a_checkpoint_that_cannot_be_written(folder, tmp_path, monkeypatch, capsys):
    """A warning while training goes on, an error at the end."""

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "run"
    args = ("--data", folder, "--epochs", 2, "--save", path, "--checkpoint-every", 2)
    assert train.main(list(map(str, args))) == 1
    message = f"{path}: not saved: No space left on device\n"
    out, err = capsys.readouterr()
    assert LAST_LINE.fullmatch(out.splitlines(keepends=True)[-1])
    assert err == f"train.py: warning: {message}train.py: error: {message}"
    assert "2/2" in out


def test_evaluate(folder, saved, tmp_path, capsys):
    errors = "test errors: {test_errors} / {test_images} ({share:.2%})\n"
    path = tmp_path / "evaluated.json"
    assert train.main(["--evaluate", str(saved), "--metrics", str(path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    metrics = json.loads(path.read_text())
    confusion = np.array(metrics["confusion"])
    assert confusion.shape == (4, 4)
    assert confusion.sum() == metrics["test_images"] == 100
    assert metrics["test_errors"] == 100 - confusion.trace()
    assert out.endswith(errors.format(share=metrics["test_errors"] / 100, **metrics))
    *rows, empty, _ = out.splitlines()
    assert empty == ""
    for digit, row in enumerate(rows[-4:]):
        label, *counts, recall = row.split()
        assert int(label) == digit
        assert list(map(int, counts)) == metrics["confusion"][digit]
        assert recall == f"{confusion[digit, digit] / confusion[digit].sum():.2%}"
    assert train.main([f"--evaluate={saved}", "--quiet", f"--data={folder}", "--threads=1"]) == 0
    assert LAST_LINE.fullmatch(capsys.readouterr().out)


def test_evaluate_a_network_that_was_saved_without_train_py(folder, tmp_path, capsys):
    from jitprop import training

    training.save(tmp_path / "net", training.mlp(24, [], 4, 0))
    training.save(tmp_path / "wide", training.mlp(25, [], 4, 0))
    training.save(tmp_path / "narrow", training.mlp(24, [], 3, 0))
    training.save(tmp_path / "more", training.mlp(24, [], 6, 0))
    for name in ("net", "more"):
        assert train.main([f"--evaluate={tmp_path / name}", f"--data={folder}"]) == 0
        assert LAST_LINE.search(capsys.readouterr().out)
    for name, reason in (
        ("wide", "x has 24 features, the network takes 25"),
        ("narrow", "no outputs for 4 classes"),
    ):
        args = ("--evaluate", tmp_path / name, "--data", folder)
        assert re.search(f"{name}: does not take .*{reason}", refused(capsys, *args)[1])
    assert "not saved by train.py" in refused(capsys, "--resume", tmp_path / "net")[1]


@pytest.mark.slow
def test_checkpoints_that_are_refused(folder, saved, tmp_path, capsys):
    """In one line, before anything is printed."""
    other = tmp_path / "other"
    other.mkdir()
    for name in os.listdir(folder):
        (other / name).write_bytes((folder / name).read_bytes())
    images = bytearray((other / "train-images-idx3-ubyte").read_bytes())
    images[-1] ^= 1
    (other / "train-images-idx3-ubyte").write_bytes(images)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(saved.read_bytes()[:-1])
    for args, reason in (
        (("--resume", saved, "--lr", 0.2), r"trained with rate 0\.1, not 0\.2"),
        (("--resume", saved, "--batch-size", 7), "trained with batch_size 100, not 7"),
        (("--resume", saved, "--seed", 1), "--seed: not what .* was trained with"),
        (("--resume", saved, "--hidden", 9), "--hidden: not what"),
        (("--resume", saved, "--arch", "linear"), "--arch: not what"),
        (("--resume", saved, "--validation", 3), "--validation: not what"),
        (("--resume", saved, "--data", other), "trained on other data than other"),
        (("--resume", saved, "--evaluate", saved), "not allowed with --resume"),
        (("--save", saved, "--evaluate", saved), "not allowed with --save"),
        (("--gradcheck", "--evaluate", saved), "not allowed with --gradcheck"),
        (("--evaluate", saved, "--lr", 0.2), "--lr: not what"),
        (("--evaluate", damaged), "damaged: truncated"),
        (("--resume", damaged), "damaged: truncated"),
        (("--resume", tmp_path / "none"), "none: No such file"),
        (("--resume", tmp_path), "not a file"),
        (("--save", tmp_path), "not a file"),
        (("--save", tmp_path / "none" / "run"), "No such file"),
        (("--checkpoint-every", 3), "needs --save"),
        (("--checkpoint-every", 0, "--save", saved), "of at least 1"),
    ):
        out, err = refused(capsys, *args)
        assert out == ""
        assert re.search(reason, err)


def test_the_command_line_in_a_checkpoint_may_be_anything(saved, capsys):
    from jitprop.training import save

    checkpoint = read(saved)
    for command, reason in (
        (["--arch", "foo"], "its command line: argument --arch: invalid choice"),
        (["--help"], "not saved by train.py"),
        (["--resume", "x", "surplus"], "its command line: unrecognized arguments: surplus"),
        ("--arch", "not saved by train.py"),
        ([3], "not saved by train.py"),
        (None, "not saved by train.py"),
    ):
        save(saved, checkpoint.net(), command=command)
        out, err = refused(capsys, "--resume", saved)
        assert out == ""
        assert reason in err


def test_a_preset_goes_on(folder, tmp_path, capsys):
    def train_to(epochs, *args):
        path = tmp_path / f"{epochs}.json"
        given = ["--data", str(folder), "--metrics", str(path), "--epochs", str(epochs), *args]
        assert train.main([*given, "--quiet"]) == 0
        return json.loads(path.read_text())

    whole = train_to(4, "--preset", "best", "--schedule", "constant")
    saved = str(tmp_path / "net.safetensors")
    train_to(2, "--preset", "best", "--schedule", "constant", "--save", saved)
    assert train_to(4, "--resume", saved)["weights_sha256"] == whole["weights_sha256"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--save same --metrics same", "argument --metrics: {}/same is what --save writes"),
        ("--save same --metrics ./x/../same", "argument --metrics: {}/./x/../same is what --save"),
        ("--save same --metrics link", "argument --metrics: {}/link is what --save writes"),
        ("--save new --metrics nowhere", "argument --metrics: {}/nowhere is what --save writes"),
        ("--resume saved --metrics saved", "argument --metrics: {}/saved is what --resume reads"),
        ("--resume saved --save s2 --metrics saved", "--metrics: {}/saved is what --resume reads"),
        ("--evaluate saved --metrics saved", "--metrics: {}/saved is what --evaluate reads"),
        ("--report x --metrics x/index.html", "--report: {}/x/index.html is what --metrics writes"),
        ("--report x --save x/weights.png", "--report: {}/x/weights.png is what --save writes"),
        ("--save r --report r", "argument --report: {}/r/learning_curves.png and {}/r cannot both"),
        ("--metrics r --report r/x", "/r/x/learning_curves.png and {}/r cannot both be there"),
        ("--save r/x --metrics r", "argument --metrics: {}/r and {}/r/x cannot both be there"),
        ("--metrics data", "argument --metrics: {}/data is what --data reads"),
        ("--save data", "argument --save: {}/data is what --data reads"),
    ],
)
def test_no_file_is_written_that_a_run_reads_or_writes(
    args, message, folder, saved, tmp_path, capsys
):
    (tmp_path / "x").mkdir()
    (tmp_path / "same").write_bytes(b"a person's")
    (tmp_path / "link").symlink_to("same")
    (tmp_path / "nowhere").symlink_to("new")
    (tmp_path / "saved").write_bytes(saved.read_bytes())
    (tmp_path / "data").symlink_to(folder / "train-labels-idx1-ubyte")
    before = {path: path.read_bytes() for path in (*tmp_path.glob("*a*"), *folder.iterdir())}
    words = [f"{tmp_path}/{word}" if word[0] != "-" else word for word in args.split()]
    out, err = refused(capsys, *words, "--data", folder)
    assert out == ""
    assert message.format(tmp_path, tmp_path) in err
    assert {path: path.read_bytes() for path in before} == before
    assert not list((tmp_path / "x").iterdir())


@pytest.mark.parametrize("flag", ["save", "resume", "evaluate", "metrics", "report", "data"])
def test_an_unset_variable_is_no_file(flag, capsys):
    assert f"argument --{flag}: expected a path, not ''" in refused(capsys, f"--{flag}", "")[1]


@pytest.mark.slow
def test_a_network_that_cannot_be_saved_is_saved_elsewhere(folder, tmp_path, monkeypatch, capsys):
    """And all else that was asked for is given."""
    (tmp_path / "gone").mkdir()
    (tmp_path / "run").mkdir()
    path = tmp_path / "gone" / "net"
    monkeypatch.setattr(Progress, "start", lambda self: (tmp_path / "gone").rmdir())
    args = ["--data", folder, "--epochs", 1, "--save", path]
    args += ["--metrics", tmp_path / "run" / "run.json", "--report", tmp_path / "run"]
    assert train.main(list(map(str, args))) == 1
    out, err = capsys.readouterr()
    assert LAST_LINE.search(out)
    metrics = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (tmp_path / "run" / "index.html").exists()
    (rescued,) = (tmp_path / "run").glob("rescued-*-net")
    reason = f"train.py: error: {path}: not saved: No such file or directory"
    assert err == f"{reason}; it is saved to {rescued} instead\n"
    assert weights_sha256(load(rescued)) == metrics["weights_sha256"]
    (tmp_path / "gone").mkdir()
    assert train.main(["--resume", str(rescued), "--data", str(folder), "--epochs", "2"]) == 0


def test_without_metrics_it_is_saved_in_the_temporary_folder(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "gone").mkdir()
    monkeypatch.setattr(Progress, "start", lambda self: (tmp_path / "gone").rmdir())
    args = ["--data", folder, "--epochs", 1, "--save", tmp_path / "gone" / "net"]
    assert train.main(list(map(str, args))) == 1
    (rescued,) = tmp_path.glob("rescued-*-net")
    assert capsys.readouterr().err.endswith(f"; it is saved to {rescued} instead\n")
    load(rescued)


def test_what_resume_does_not_keep_is_said(folder, saved, capsys):
    args = ["--data", str(folder), "--resume", str(saved), "--epochs", "4", "--quiet"]
    assert train.main(args) == 0
    warning = f"train.py: warning: nothing will be kept; --save {saved} goes on in that file\n"
    assert capsys.readouterr().err == warning
    assert train.main([*args, "--save", str(saved)]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "step"])
def test_a_schedule_of_other_epochs_is_said(schedule, folder, tmp_path, capsys):
    path = str(tmp_path / "net")
    args = ["--data", str(folder), "--save", path, "--quiet"]
    assert train.main([*args, "--schedule", schedule, "--epochs", "2"]) == 0
    assert train.main([*args, "--resume", path, "--epochs", "2"]) == 0
    assert capsys.readouterr().err == ""
    assert train.main([*args, "--resume", path, "--epochs", "4"]) == 0
    said = (
        f"train.py: warning: the {schedule} schedule was made for 2 epochs; "
        "the rate goes on as if there had been 4 from the beginning\n"
    )
    assert capsys.readouterr().err == (said if schedule in ("cosine", "linear") else "")
