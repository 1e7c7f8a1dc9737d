"""jitprop/cli/sets.py: EMNIST's images upright, its letters, checkpoints from before."""

import re

import numpy as np
import pytest

from jitprop import train
from jitprop.data import load_dataset


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(header + array.tobytes())


@pytest.fixture
def letters(tmp_path):
    """60 + 40 images of 4 x 6 pixels, named as EMNIST's letters, with labels 1 to 4."""
    folder = tmp_path / "gzip"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for split, count in (("train", 60), ("test", 40)):
        labels = np.resize(np.arange(1, 5, dtype=np.uint8), count)
        write_idx(folder / f"emnist-letters-{split}-labels-idx1-ubyte", labels)
        images = rng.integers(0, 256, (count, 4, 6), np.uint8)
        write_idx(folder / f"emnist-letters-{split}-images-idx3-ubyte", images)
    return folder


def main(*args):
    return train.main([str(arg) for arg in args])


def refused(capsys, *args):
    with pytest.raises(SystemExit) as end:
        main(*args)
    out, err = capsys.readouterr()
    assert (end.value.code, out, err.count("\n")) == (2, "", 1)
    return err


def test_the_header_says_that_images_were_turned(letters, capsys):
    run = ("--data", letters, "--epochs", 1, "--hidden", 3)
    assert main(*run) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == (
        "data      emnist-letters: 60 train, 40 test, 6x4 pixels, 4 classes, "
        "labels 1 to 4 (output 0 is unused), turned upright"
    )
    assert "24-3-5, tanh" in second
    assert main(*run, "--transpose", "no") == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("(output 0 is unused)")


def test_a_checkpoint_from_before_says_how_to_go_on(letters, tmp_path, capsys):
    saved, again = tmp_path / "net", tmp_path / "again"
    run = ("--data", letters, "--epochs", 1, "--hidden", 3, "--save", saved)
    assert main(*run, "--transpose", "no") == 0
    # As a release that turned nothing has saved it: without the argument.
    from jitprop.training.checkpoints import read_arrays, write

    arrays, metadata = read_arrays(saved)
    before = metadata["about"]
    metadata["about"] = before.replace(', "--transpose", "no"', "")
    assert metadata["about"] != before
    write(saved, arrays, metadata)
    capsys.readouterr()

    hint = "net: trained on the images of emnist-letters as they lie in the files; --transpose no "
    more = ("--resume", saved, "--epochs", 2, "--save", again)
    assert hint in refused(capsys, *more)
    assert hint in refused(capsys, *more, "--transpose", "yes")
    assert hint in refused(capsys, "--evaluate", saved)
    assert main(*more, "--transpose", "no") == 0
    assert main("--resume", again, "--epochs", 3) == 0  # it remembers
    assert main("--evaluate", again) == 0
    assert main("--evaluate", saved, "--transpose", "no") == 0
    assert main("--evaluate", saved, "--transpose", "yes") == 0  # whoever asks for it
    capsys.readouterr()


def test_a_checkpoint_of_upright_images(letters, tmp_path, capsys):
    saved = tmp_path / "net"
    assert main("--data", letters, "--epochs", 1, "--hidden", 3, "--save", saved) == 0
    capsys.readouterr()
    assert main("--evaluate", saved) == 0
    assert "emnist-letters: 40 test, turned upright\n" in capsys.readouterr().out
    assert main("--resume", saved, "--epochs", 2, "--save", saved) == 0
    capsys.readouterr()
    message = refused(capsys, "--resume", saved, "--transpose", "no")
    assert "the images of emnist-letters transposed; --transpose yes reads them so" in message


def test_the_table_of_letters(letters, tmp_path, capsys):
    """Without images there is no share of them."""
    saved = tmp_path / "net"
    assert main("--data", letters, "--epochs", 1, "--hidden", 3, "--save", saved) == 0
    capsys.readouterr()
    assert main("--evaluate", saved) == 0
    out = capsys.readouterr().out
    assert "images of each class (rows)" in out
    assert "nan" not in out
    assert "digit" not in out
    rows = [line.split() for line in out.splitlines()[-7:-2]]
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4"]
    assert rows[0][1:] == ["0", "0", "0", "0", "0", "-"]
    assert all(re.fullmatch(r"\d+\.\d\d%", row[-1]) for row in rows[1:])


def test_several_sets(letters, capsys):
    for path in list(letters.iterdir()):
        (letters / path.name.replace("letters", "digits")).write_bytes(path.read_bytes())
    message = refused(capsys, "--data", letters)
    assert f"holds several sets (emnist-digits, emnist-letters); name one, as in {letters}" in (
        message
    )
    assert main("--data", letters / "emnist-digits", "--epochs", 0) == 0
    assert load_dataset(letters / "emnist-digits").name in capsys.readouterr().out


def test_any_set_can_be_transposed(letters, capsys):
    for path in list(letters.iterdir()):
        path.rename(letters / path.name.removeprefix("emnist-letters-"))
    assert main("--data", letters, "--epochs", 0, "--transpose", "yes") == 0
    assert "6x4 pixels" in capsys.readouterr().out
    assert "invalid choice: 'maybe'" in refused(capsys, "--transpose", "maybe")
