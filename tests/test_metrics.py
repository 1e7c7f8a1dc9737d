"""The digest of the weights, and files that are written whole or not at all."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from jitprop.training import check_writable, cpu_model, mlp, versions, weights_sha256, write_json


def test_weights_sha256():
    net = mlp(3, (2,), 2, 0)
    net[2].b[...] = [0.5, -1]
    expected = b"".join(a.tobytes() for a in (net[0].w, net[0].b, net[2].w, net[2].b))
    assert weights_sha256(net) == hashlib.sha256(expected).hexdigest()
    net[2].b[1] = np.nextafter(net[2].b[1], np.float32(0))
    assert weights_sha256(net) != hashlib.sha256(expected).hexdigest()


def test_where_it_ran():
    assert cpu_model() == cpu_model().strip()
    assert len(cpu_model()) > 1
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and "model name" in cpuinfo.read_text():
        assert f": {cpu_model()}\n" in cpuinfo.read_text()
    assert set(versions()) == {"python", "numpy", "numba"}


def test_write_json(tmp_path):
    path = tmp_path / "run.json"
    for record in ({"a": [1, 2.5, None]}, {"b": "x"}):
        check_writable(path)
        write_json(path, record)
        assert json.loads(path.read_text()) == record
    assert os.listdir(tmp_path) == ["run.json"]


def test_json_is_strict(tmp_path):
    """No NaN, which other parsers refuse, and NumPy's numbers as plain ones."""
    record = {"loss": np.float32(0.5), "errors": np.int64(3), "all": (np.nan, [np.inf, 1])}
    record |= {"array": np.array([1.5, -np.inf]), "b": np.True_, "c": {"d": float("nan")}}
    write_json(tmp_path / "run.json", record)
    text = (tmp_path / "run.json").read_text()
    plain = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    expected = {"loss": 0.5, "errors": 3, "all": [None, [None, 1]], "array": [1.5, None]}
    assert plain == expected | {"b": True, "c": {"d": None}}


def test_check_writable_changes_nothing(tmp_path):
    path = tmp_path / "run.json"
    check_writable(path)
    assert os.listdir(tmp_path) == []
    path.write_text("old")
    check_writable(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["run.json"]


def test_the_file_behind_a_link_is_replaced(tmp_path):
    (tmp_path / "real.json").write_text("old")
    link = tmp_path / "link.json"
    link.symlink_to("real.json")
    write_json(link, {"a": 1})
    assert link.is_symlink()
    assert json.loads((tmp_path / "real.json").read_text()) == {"a": 1}


def test_a_device_is_written_to_and_not_replaced():
    check_writable(os.devnull)
    write_json(os.devnull, {"a": 1})
    assert not Path(os.devnull).is_file()


def test_what_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("old")
    for path in (tmp_path, tmp_path / "none" / "run.json", tmp_path / "file" / "run.json"):
        with pytest.raises(OSError, match=r"directory") as caught:
            check_writable(path)
        assert caught.value.strerror


def test_a_file_that_may_not_be_written(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    path.write_text("old")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anything
    with pytest.raises(PermissionError):
        check_writable(path)


def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    path.write_text("old")

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"a": 1})
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["run.json"]
