"""training/files.py: files are replaced whole, and stay what they were to their owner."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from jitprop.training import files
from jitprop.training.files import check_writable, same_file, write_bytes


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o666])
def test_a_file_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_the_mode_of_new_files(tmp_path):
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "file", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root gives away")
def test_a_file_keeps_its_owner(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.chown(path, 12345, 54321)
    path.chmod(0o600)
    write_bytes(path, b"new")
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 54321, 0o600)


def test_the_content_is_never_open_to_others(tmp_path, monkeypatch):
    """Not for a moment, not even under the name that the file has while it is written."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o600)
    seen = []
    flush = os.fsync

    def look(descriptor):
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    write_bytes(path, b"new")
    assert seen[0] == 0o600


@pytest.mark.parametrize("data", [b"", b"shorter", b"longer than what was there before"])
def test_where_something_is_mounted_on_the_file(tmp_path, monkeypatch, data):
    """As a container has single files of its host: written, since it cannot be replaced."""
    path = tmp_path / "file"
    path.write_bytes(b"what was there before")

    def busy(self, target):
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", busy)
    inode = path.stat().st_ino
    write_bytes(path, data)
    assert path.read_bytes() == data
    assert path.stat().st_ino == inode
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EIO])
def test_a_folder_that_cannot_be_flushed(tmp_path, monkeypatch, code):
    """The file is there, under its name: it is written."""
    flush = os.fsync

    def fail(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    write_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["x" * 255, "\N{LATIN SMALL LETTER E WITH ACUTE}" * 127, "a.b.c"])
def test_any_name_that_the_disk_takes(tmp_path, name):
    check_writable(tmp_path / name)
    write_bytes(tmp_path / name, b"new")
    assert os.listdir(tmp_path) == [name]


def test_what_killed_processes_left_is_removed(tmp_path):
    dead = 2**22 + 1  # beyond Linux' largest process number
    (tmp_path / f".file.01234567.{dead}.partial").write_bytes(b"half")
    (tmp_path / f".file.{dead}.partial").write_bytes(b"half, of an older version")
    alive = tmp_path / f".file.01234567.{os.getppid()}.partial"
    other = tmp_path / f".other.01234567.{dead}.partial"
    named = tmp_path / ".file.notes.partial"
    copy = tmp_path / f".file.copy.{dead}.partial"
    for path in (alive, other, named, copy):
        path.write_bytes(b"half")
    write_bytes(tmp_path / "file", b"new")
    assert {*tmp_path.iterdir()} == {tmp_path / "file", alive, other, named, copy}


def test_same_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "hard").hardlink_to("a")
    (tmp_path / "nowhere").symlink_to("new")
    (tmp_path / "there").symlink_to("folder")
    for path, other in (
        ("a", "a"),
        ("a", "./a"),
        ("a", tmp_path / "folder" / ".." / "a"),
        ("a", "link"),
        ("hard", "link"),
        ("new", "folder/../new"),
        ("new", "nowhere"),
        ("folder/new", "there/new"),
        ("folder", "there"),
    ):
        assert same_file(path, other)
        assert same_file(other, path)
    for path, other in (("a", "new"), ("new", "folder/new"), ("a", "folder"), (os.devnull,) * 2):
        assert not same_file(path, other)
        assert not same_file(other, path)


def test_two_threads_may_write_one_file(tmp_path):
    """Under names of their own, until one after the other gives its file the name."""
    with files._beside(tmp_path / "file") as one, files._beside(tmp_path / "file") as other:
        assert one != other


def test_a_stream_is_written_to_and_not_replaced(tmp_path):
    """`--metrics /dev/stdout >> log` adds to the log."""
    log = tmp_path / "log"
    log.write_text("precious\n")
    code = (
        "from jitprop.training.files import check_writable, write_bytes\n"
        "for path in ('/dev/stdout', '/dev/fd/1', '/dev/stderr'):\n"
        "    print('before'); check_writable(path); write_bytes(path, b'data\\n')"
    )
    with log.open("a") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, stderr=file, check=True)
    assert log.read_text() == "precious\n" + "before\ndata\n" * 3
    assert os.listdir(tmp_path) == ["log"]


@pytest.mark.skipif(not hasattr(os, "fork") or os.getuid() != 0, reason="root becomes another")
def test_a_group_is_kept_by_who_may_not_give_a_file_away(tmp_path):
    tmp_path.chmod(0o777)
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.chown(path, 2001, 3000)
    path.chmod(0o660)
    for folder in tmp_path.parents:
        if folder.owner() == "root" and folder != Path("/tmp") and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    child = os.fork()
    if child == 0:
        os.setgroups([3000])
        os.setgid(2002)
        os.setuid(2002)
        write_bytes(path, b"new")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (2002, 3000, 0o660)
