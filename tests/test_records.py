"""The table of records: it goes on where it stopped, and says what its lines say."""

import csv
import re
import shlex
import subprocess

import numpy as np
import pytest

from jitprop.cli import arguments
from jitprop.training.settings import PRESETS
from perf import records
from perf.records import RECORDS, Record

METRICS = {
    "test_errors": 90,
    "weights_sha256": "ab",
    "threads": 2,
    "epochs": [{"train_seconds": 1.5, "validation_errors": 7, "train_errors": 8}] * 2,
    "versions": {},
}


@pytest.fixture
def trained(monkeypatch):
    """What train.py would have been called with, all calls."""
    calls = []

    def train(words):
        calls.append(" ".join(words))
        return METRICS | {"test_errors": 90 + len(calls)}

    monkeypatch.setattr(records, "train", train)
    monkeypatch.setattr(records, "peak", lambda: 200.0)
    return calls


def lines(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_runs_go_on_where_they_stopped(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(RECORDS, "mine", Record(100, "--epochs 2", seeds=3))
    path = tmp_path / "records.csv"
    records.run("mine", 2, path, tmp_path)
    records.kept("mine", 2, tmp_path).touch()  # the checkpoint of a run that was interrupted
    records.run("mine", 0, path, tmp_path)
    records.run("mine", 0, path, tmp_path)
    assert len(trained) == 3
    assert trained[0].startswith("--epochs 2 --seed 0 --save ")
    assert trained[1].startswith("--epochs 2 --seed 1 --save ")
    assert trained[2].startswith(f"--resume {tmp_path}/mine-2.safetensors --save ")
    assert [line["seed"] for line in lines(path)] == ["0", "1", "2"]
    assert [line["test_errors"] for line in lines(path)] == ["91", "92", "93"]
    assert {line["seconds"] for line in lines(path)} == {"3"}


def test_an_ensemble_asks_the_networks_of_another(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(RECORDS, "mine", Record(100, "--epochs 2", seeds=5))
    monkeypatch.setitem(RECORDS, "all", Record(100, seeds=1, of="mine"))
    records.run("all", 0, tmp_path / "records.csv", tmp_path)
    files = [f"--evaluate {tmp_path}/mine-{seed}.safetensors" for seed in range(5)]
    assert trained == [" ".join(files)]


def test_sweeps_look_at_no_test_image(trained, tmp_path, capsys):
    path = tmp_path / "sweep.csv"
    records.sweep(["--lr 0.1", "--lr 0.2", "--lr 0.1"], 2, path)
    records.sweep(["--lr 0.2"], 3, path)
    words = "--validation 10000 --seed"
    assert trained == [
        *(f"--lr 0.1 {words} 0", f"--lr 0.1 {words} 1", f"--lr 0.2 {words} 0"),
        *(f"--lr 0.2 {words} 1", f"--lr 0.2 {words} 2"),
    ]
    assert {line["held_out_errors"] for line in lines(path)} == {"7"}
    assert "test" not in path.read_text()


@pytest.mark.parametrize(("code", "end"), [(2, 2), (0, "train.py --lr x: trained nothing")])
def test_where_train_fails_this_ends_with_its_code(monkeypatch, code, end):
    run = lambda command, **how: subprocess.CompletedProcess(command, code)  # noqa: E731
    monkeypatch.setattr(records.subprocess, "run", run)
    with pytest.raises(SystemExit) as stop:
        records.train(["--lr", "x"])
    assert stop.value.code == end


def test_what_makes_no_sense_is_refused(tmp_path, capsys):
    for words in (["sweep", "--seeds", "0", "x"], ["run", "errors50", "--seeds", "-1"]):
        with pytest.raises(SystemExit):
            records.main(words)
        assert "expected an integer of at least" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        records.main(["--out", str(tmp_path / "none"), "run", "errors50"])
    assert "none: no such folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        records.main(["--out", str(tmp_path), "table"])
    assert "no runs there yet" in capsys.readouterr().err


def test_how_certain_a_mean_is():
    pytest.importorskip("scipy")
    rng = np.random.default_rng(0)
    assert records.likelihood([99], 100) == 1
    assert records.likelihood([101, 99], 100) == pytest.approx(0.5)
    assert records.likelihood([90, 91, 92], 100) < 0.01 < records.likelihood([97, 99, 101], 100)
    # Of many means of numbers at the target, as many are below by that much as it says.
    found = [records.likelihood(rng.normal(100, 5, 10), 100) < 0.05 for _ in range(2000)]
    assert abs(np.mean(found) - 0.05) < 4 * (0.05 * 0.95 / 2000) ** 0.5


def line(record, seed, errors, seconds="10"):
    return {
        "record": record, "seed": str(seed), "test_errors": str(errors), "seconds": seconds,
        "peak_gflops": "200",
    }  # fmt: skip


def test_rows(monkeypatch):
    pytest.importorskip("scipy")
    targets = {"good": 100, "bad": 50, "one": 70, "none": 1}
    known = {name: Record(target, "") for name, target in targets.items()}
    monkeypatch.setattr(records, "RECORDS", known)
    found = records.rows([
        *(line("good", seed, 90 + seed) for seed in range(3)),
        *(line("bad", seed, 50 + seed) for seed in range(2)),
        line("one", 0, 60, ""),
    ])  # fmt: skip
    assert found[2:] == [
        "| any | 100 | 91.0 (90 to 92) | 3, p 2e-03 | 10 | 200 GFLOP/s | `good` |",
        "| any | 50, missed | 50.5 (50 to 51) | 2, not certain | 10 | 200 GFLOP/s | `bad` |",
        "| any | 70 | 60.0 | 1 |  | 200 GFLOP/s | `one` |",
    ]


def test_the_page_is_what_the_lines_say(tmp_path):
    pytest.importorskip("scipy")
    copies = [tmp_path / path.name for path in (records.PAGE, records.README)]
    for copy, path in zip(copies, (records.PAGE, records.README), strict=True):
        copy.write_text(path.read_text())
    records.table(records.RESULTS / "records.csv", *copies)
    assert copies[0].read_text() == records.PAGE.read_text()
    assert copies[1].read_text() == records.README.read_text()


def test_what_was_run_is_what_the_record_says():
    """A preset that is changed needs new runs."""
    for row in lines(records.RESULTS / "records.csv"):
        assert row["arguments"] == records.told(RECORDS[row["record"]])


@pytest.mark.parametrize("name", RECORDS)
def test_commands_make_sense(name):
    record = RECORDS[name]
    if record.of:
        assert not record.arguments
        assert RECORDS[record.of].seeds >= records.FIVE
    else:
        args = arguments.make_parser().parse_args(shlex.split(record.arguments))
        assert arguments.settings_of(args).epochs
    digits = re.fullmatch(r"errors(\d+)", name)
    assert not digits or float(digits[1]) == record.target


def test_presets_that_are_named_by_their_target_are_records():
    for preset in PRESETS:
        if preset.startswith("errors"):
            assert RECORDS[preset].arguments == f"--preset {preset}"
