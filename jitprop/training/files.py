"""Files that are replaced at once: a reader finds the old or the new, even after a kill."""

import contextlib
import errno
import glob
import os
import re
import stat
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from jitprop.training.text import printable

AnyPath = str | os.PathLike[str]
LONGEST = 1000  # characters of a message
_STREAM = re.compile(r"/dev/(stdout|stderr)|(?:/dev|/proc/self)/fd/([1-9]\d*)")


class FileError(ValueError):
    """A file cannot be written, read or used; the message, one line, names it."""

    def __init__(self, path: AnyPath, message: object) -> None:
        text = printable(" ".join(str(message).split()))
        if len(text) > LONGEST:  # names in a file may be of any length
            text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 4 :]}"
        super().__init__(f"{printable(os.fspath(path))}: {text}")


def check_writable(path: AnyPath) -> None:
    """Raise OSError if `write_bytes` could not write to `path`; a file there stays as it is."""
    if _stream(path) is not None:
        return
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if not _is_special(path):
        with _beside(path.resolve()) as beside:
            beside.touch()


def write_bytes(path: AnyPath, data: bytes) -> None:
    """Write a file beside the old one, flush it to the disk, and rename it.

    It gets the mode and the owner of the old file. A file on which something is mounted cannot be
    replaced: then this writes into it. /dev/stdout and the like are written as streams.
    """
    stream = _stream(path)
    if stream is not None:
        sys.stdout.flush()
        with open(os.dup(stream), "wb") as file:
            file.write(data)
        return
    path = Path(path)
    if _is_special(path):
        path.write_bytes(data)
        return
    target = path.resolve()  # a link stays a link; the file that it names is replaced
    before = target.stat() if target.exists() else None
    with _beside(target) as beside:
        # If only the owner may read the old file, nobody else may read the new content.
        descriptor = os.open(
            beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if before else 0o666
        )
        with open(descriptor, "wb") as file:
            if before and hasattr(os, "fchown"):
                for owner in (-1, before.st_uid):  # without the right to both, set the group
                    with contextlib.suppress(PermissionError):
                        os.fchown(descriptor, owner, before.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
            _write(file, data)
        try:
            beside.replace(target)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            with target.open("r+b") as file:
                file.truncate(len(data))
                _write(file, data)
    _flush_folder(target.parent)


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def same_file(path: AnyPath, other: AnyPath) -> bool:
    """Whether two paths lead to one file, which need not exist yet. Devices are not files."""
    if _stream(path) is not None or _stream(other) is not None:
        return False
    if _is_special(Path(path)) or _is_special(Path(other)):
        return False
    try:
        return os.path.samefile(path, other)
    except OSError:
        return os.path.normcase(os.path.realpath(path)) == os.path.normcase(os.path.realpath(other))


def within(path: AnyPath, file: AnyPath) -> bool:
    """Whether `path` would lie in `file` if that were a folder."""
    return Path(os.path.realpath(file)) in Path(os.path.realpath(path)).parents


def _stream(path: AnyPath) -> int | None:
    """Return the number of an open stream for output that a path names, such as /dev/stdout."""
    found = _STREAM.fullmatch(os.fsdecode(path))
    if found is None:
        return None
    return {"stdout": 1, "stderr": 2}.get(found[1]) or int(found[2])


def _is_special(path: Path) -> bool:
    """Whether `path` is a device or a pipe, which must not be replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Give a name to write to, in the same folder, and remove it afterwards.

    Killed processes could not clean up: their files are removed, too.
    """
    start = f".{target.name[:40]}"  # short, since the name may be as long as the disk takes
    for left in target.parent.glob(f"{glob.escape(start)}.*.partial"):
        ours = re.fullmatch(r"(?:\.[0-9a-f]{8})?\.(\d+)\.partial", left.name[len(start) :])
        if ours and not _runs(int(ours[1])):
            left.unlink(missing_ok=True)
    beside = target.with_name(f"{start}.{uuid.uuid4().hex[:8]}.{os.getpid()}.partial")
    try:
        yield beside
    finally:
        beside.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    if os.name == "nt":  # there, this would be Ctrl-C
        return process != os.getpid()
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is someone else's
        return True
    return True


def _flush_folder(folder: Path) -> None:
    """Flush the new name to the disk, too, where folders can be opened and flushed."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
