"""Files that are replaced at once: who reads one, also after a kill, finds the old or the new."""

import contextlib
import errno
import glob
import os
from pathlib import Path
from typing import Any

AnyPath = str | os.PathLike[str]


def check_writable(path: AnyPath) -> None:
    """Raise OSError if `write_bytes` could not write to `path`; a file there stays as it is."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if not _is_special(path):
        with _beside(path.resolve()) as beside:
            beside.touch()


def write_bytes(path: AnyPath, data: bytes) -> None:
    """Write a file beside, have the disk hold it, and give it the name."""
    path = Path(path)
    if _is_special(path):
        path.write_bytes(data)
        return
    target = path.resolve()  # a link stays a link, the file that it names is replaced
    with _beside(target) as beside:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    _flush_folder(target.parent)


def _is_special(path: Path) -> bool:
    """Whether `path` is a device or a pipe, which has to be written to and not replaced."""
    return path.exists() and not path.is_file()


@contextlib.contextmanager
def _beside(target: Path) -> Any:
    """Give a name to write to, in the same folder, and leave nothing there.

    Processes that were killed could not clean up; what they left is removed, too.
    """
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.partial"):
        process = left.name.split(".")[-2]
        if not (process.isdecimal() and _runs(int(process))):
            left.unlink(missing_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield beside
    finally:
        beside.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    if os.name == "nt":  # where this would be Ctrl-C
        return process != os.getpid()
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is someone else's
        return True
    return True


def _flush_folder(folder: Path) -> None:
    """Have the disk hold the new name, too, where folders can be opened."""
    with contextlib.suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
