"""Arrays that notice when a kernel leaves them, and caches for a test alone."""

import ctypes
import mmap
import sys

import numpy as np
import pytest

from jitprop.kernels.compiler import cache

LONGEST = ("test_without_jit.py", "test_train.py", "test_types.py")
MARGIN = 67  # elements on either side: more than a vector, and no multiple of one


def pytest_collection_modifyitems(items):
    """Mark as quick the first case of each test that is not slow; begin with the longest files."""
    items.sort(key=lambda item: (*LONGEST, item.path.name).index(item.path.name))
    seen = set()
    for item in items:
        test = item.path, getattr(item, "originalname", item.name)
        slow = item.get_closest_marker("slow") or item.get_closest_marker("ci")
        if test not in seen and not slow:
            item.add_marker("quick")
        seen.add(test)


@pytest.fixture
def kernel_cache(tmp_path, monkeypatch):
    """The folder of an empty cache of compiled kernels, for this test."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    cache.folder.cache_clear()
    cache.say_once.cache_clear()
    yield tmp_path / "cache" / cache.NAME
    monkeypatch.undo()
    cache.folder.cache_clear()
    cache.say_once.cache_clear()


@pytest.fixture
def guarded():
    """Make copies of arrays inside larger buffers, checked when the test ends.

    Floats are surrounded by NaN: a kernel that reads outside shows it in its results. Nothing
    outside may have been written.
    """
    made = []

    def make(array):
        array = np.asarray(array)
        if array.dtype.kind == "f":
            sentinel = array.dtype.type(np.nan)
        else:
            sentinel = np.iinfo(array.dtype).max  # no valid label
        buffer = np.full(array.size + 2 * MARGIN, sentinel, array.dtype)
        inside = buffer[MARGIN : MARGIN + array.size].reshape(array.shape)
        inside[...] = array
        made.append((buffer, array.size, np.full(MARGIN, sentinel, array.dtype).tobytes()))
        return inside

    yield make
    for buffer, size, margin in made:
        assert buffer[:MARGIN].tobytes() == margin
        assert buffer[MARGIN + size :].tobytes() == margin


@pytest.fixture
def fenced():
    """Make copies of arrays that touch a page of memory nobody may read.

    `fenced(array)` ends where such a page begins, `fenced(array, before=True)` begins where one
    ends. A kernel that reads outside dies of SIGSEGV.
    """
    if not sys.platform.startswith("linux"):
        pytest.skip("mprotect as Linux has it")
    page = mmap.PAGESIZE
    mprotect = ctypes.CDLL(None, use_errno=True).mprotect
    mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    closed = []

    def make(array, before=False):
        array = np.asarray(array)
        room = max(page, -(-array.nbytes // page) * page)
        memory = np.frombuffer(mmap.mmap(-1, room + 2 * page), np.uint8)
        for at in (0, page + room):
            fence = memory.ctypes.data + at
            assert mprotect(fence, page, 0) == 0
            closed.append((memory, fence))
        start = page if before else page + room - array.nbytes
        inside = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        inside[...] = array
        return inside

    yield make
    for _, fence in closed:
        mprotect(fence, page, mmap.PROT_READ | mmap.PROT_WRITE)
