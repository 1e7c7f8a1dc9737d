"""How a run ends before its end: Ctrl-C, signals, closed streams, full disks: cli/interrupt.py."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading

import pytest
from runs import (
    LAST_LINE,
    ROOT,
    folder,
    process,
    run,
    saved,
    started,
)

from jitprop import train
from jitprop.training import load, read


@pytest.mark.slow
def test_ctrl_c(folder, tmp_path):
    path = tmp_path / "run.json"
    with started("--data", folder, "--epochs", 10**9, "--metrics", path) as process:
        for line in process.stdout:
            if line.split()[:1] == [f"3/{10**9}"]:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, err) == (130, "")
    *_, interrupted, last = out.splitlines(keepends=True)
    assert re.fullmatch(r"interrupted in epoch \d+, after batch \d\n", interrupted)
    errors, images, _ = LAST_LINE.fullmatch(last).groups()
    metrics = json.loads(path.read_text())
    assert images == "100"
    assert int(errors) == metrics["test_errors"]
    assert len(metrics["epochs"]) >= 3
    assert metrics["interrupted"] is True


@pytest.mark.slow
def test_ctrl_c_with_save(folder, tmp_path, run):
    """Saved before it ends; the command line that it prints goes on, to the same bits."""
    path = tmp_path / "a run.safetensors"
    given = (
        "--hidden 8 --batch-size 7 --epochs 1000 --optimizer adam --schedule cosine --warmup 0.5"
    )
    given += " --dropout 0.2 --label-smoothing 0.1"
    args = ("--data", folder, *given.split(), "--save", path, "--threads", 1)
    with started(*args, "--checkpoint-every", 900) as process:
        for line in process.stdout:
            if line.split()[:1] == ["3/1000"]:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, err) == (130, "")
    command = re.search(r"^to go on: python train\.py (.*)$", out, re.M)[1]
    ways = "--checkpoint-every 900 --threads 1"
    assert command == f"--resume '{path}' --save '{path}' {ways}"
    whole = run(given)
    assert run(command)["weights_sha256"] == whole["weights_sha256"]


INTERRUPT = """
import os, signal
from jitprop import cli
from jitprop.cli.interrupt import Interrupt
def main():
    cli.interrupted = "train.py: interrupted before training"
    if {training}:
        with Interrupt("train.py") as interrupt:
            os.kill(os.getpid(), signal.SIGINT)
            assert interrupt.asked
            assert interrupt.code == 130
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGHUP)  # the same request, said again
            interrupt._since -= 1
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("still here")
    os.kill(os.getpid(), signal.SIGINT)
cli.as_program(main)
"""


@pytest.mark.parametrize(
    ("training", "code", "message"),
    [(False, 130, "train.py: interrupted before training\n"), (True, -signal.SIGINT, "")],
)
def test_ctrl_c_before_training_and_twice_in_training(training, code, message):
    command = [sys.executable, "-c", INTERRUPT.format(training=training)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", message)


@pytest.mark.slow
def test_ctrl_c_in_a_long_batch():
    """It is answered, and the second one ends the process, though compiled code does not stop."""
    args = ("--hidden", 4000, "--batch-size", "full", "--threads", 1)  # seconds for a batch
    with started(*args) as process:
        for line in process.stdout:
            if "train loss" in line:
                break
        process.send_signal(signal.SIGINT)
        answer = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.wait()
    assert answer == "train.py: ends after this batch; Ctrl-C again ends at once\n"
    assert process.returncode == -signal.SIGINT  # by the second: it did not come to the end


@pytest.mark.slow
def test_a_closed_pipe(folder):
    with started("--data", folder, "--epochs", 10**9) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == -signal.SIGPIPE


@pytest.mark.slow
def test_a_terminal_shows_progress(folder):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 30, 100, 0, 0))
    shown = b""
    with started("--data", folder, "--epochs", 500, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        try:
            while chunk := os.read(ours, 4096):
                shown += chunk
        except OSError:  # what Linux says when the other end is closed
            pass
        os.close(ours)
        assert process.wait() == 0
    text = shown.decode()
    assert re.search(r"epoch \d+/500 +\d+% .* \d\d:\d\d left, loss \d", text)
    assert LAST_LINE.fullmatch(text.splitlines()[-1] + "\n")


def long_run(folder, path):
    """A run that ends when it is asked to, and prints as it goes."""
    return "--data", folder, "--epochs", 10**8, "--save", path, "--hidden", 3


def assert_goes_on(path, folder, run):
    """What was saved is whole: it goes on to the bits of a run that nobody disturbed."""
    done = len(read(path).record["history"])
    whole = run(f"--hidden 3 --epochs {done + 1}")
    assert run(f"--resume {path} --epochs {done + 1}")["weights_sha256"] == whole["weights_sha256"]


@pytest.mark.slow
def test_a_full_disk_ends_training_as_ctrl_c_does(folder, tmp_path, run):
    path = tmp_path / "net"
    with (
        open("/dev/full", "w") as full,
        started(*long_run(folder, path), stdout=full, stderr=subprocess.PIPE) as process,
    ):
        assert process.stderr.read() == "jitprop: error: cannot print: No space left on device\n"
        assert process.wait() == 1
    assert_goes_on(path, folder, run)


@pytest.mark.slow
def test_a_closed_pipe_ends_training_as_ctrl_c_does(folder, tmp_path, run):
    path = tmp_path / "net"
    with started(*long_run(folder, path)) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == -signal.SIGPIPE
    assert_goes_on(path, folder, run)


@pytest.mark.slow
def test_a_closed_terminal_ends_training_as_ctrl_c_does(folder, tmp_path, run):
    path = tmp_path / "net"
    ours, theirs = pty.openpty()
    with started(*long_run(folder, path), stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.read(ours, 100)
        os.close(ours)
        assert process.wait() == 1
    assert_goes_on(path, folder, run)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_training_as_ctrl_c_does(number, folder, tmp_path, run):
    """Also if they come twice: the system and a shell each tell of a closed terminal."""
    path = tmp_path / "net"
    with started(*long_run(folder, path)) as process:
        while "train loss" not in process.stdout.readline():
            pass
        process.send_signal(number)
        process.send_signal(number)
        out, err = process.communicate()
    assert process.returncode == 128 + number
    assert f"\nto go on: python train.py --resume {path} --save {path}\n" in out
    assert err == ""
    assert_goes_on(path, folder, run)


@pytest.mark.slow
def test_what_is_ignored_stays_so(folder, tmp_path):
    """As with nohup, where a closed terminal ends nothing."""
    code = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from jitprop import train\n"
        "from jitprop.training.progress import Progress\n"
        "Progress.start = lambda self: os.kill(os.getpid(), signal.SIGHUP)\n"
        "sys.exit(train.main(sys.argv[1:]))"
    )
    args = ["--data", folder, "--epochs", "2", "--quiet"]
    done = subprocess.run([sys.executable, "-c", code, *args], cwd=ROOT, timeout=3000)
    assert done.returncode == 0


def test_it_trains_in_another_thread(folder, capsys):
    codes = []
    args = ["--data", str(folder), "--epochs", "1", "--quiet"]
    thread = threading.Thread(target=lambda: codes.append(train.main(args)))
    thread.start()
    thread.join()
    assert codes == [0]


def test_a_handler_is_back_however_it_ends(folder, capsys, monkeypatch):
    """Also after an error that nobody expected; the fixture `process` looks at all of them."""

    def fail(self):
        raise RuntimeError("unexpected")

    monkeypatch.setattr("jitprop.training.Training.run", fail)
    with pytest.raises(RuntimeError, match="unexpected"):
        train.main(["--data", str(folder), "--epochs", "1", "--threads", "1"])


@pytest.mark.slow
@pytest.mark.parametrize("number", [*"12"])
def test_a_stream_that_is_closed(number, folder, tmp_path):
    """What would be printed is not written to the file that is opened next."""
    path = tmp_path / "net"
    command = f'exec "$@" {number}>&-'
    args = ["train.py", "--data", folder, "--epochs", "1", "--save", path]
    shell = ["sh", "-c", command, "sh", sys.executable, *map(str, args)]
    done = subprocess.run(shell, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert (done.stdout == "") == (number == "1")
    assert done.stderr == ""
    load(path)
