"""Work that nothing may interrupt: to compile, and to start or stop the workers.

A signal handler or a `__del__` may run after any line of its thread, and Ctrl-C may raise there.
But numba's compiler cannot begin a function while it compiles another. So such work runs on a
thread of its own, where Python runs no handlers, and with garbage collection put off. The caller
waits for it. A handler that needs a kernel meanwhile waits, too, and gets it.

One lock, numba's own, lets only one such piece of work run at a time, and no fork meanwhile: the
child has only the thread that forked, so no other thread may leave anything half done.
"""

import _thread
import gc
import os
import sys
from collections.abc import Callable
from typing import Any

from jitprop.kernels.compiler.numba_private import compiler_lock, llvm_lock


class _Job:
    """A call that runs on its own thread."""

    def __init__(self, function: Callable[..., Any], args: tuple) -> None:
        self.function, self.args = function, args
        self.result: Any = None
        self.error: BaseException | None = None
        self.lost = False  # True in a child if a fork lost the thread
        self.done = _thread.allocate_lock()
        self.done.acquire()

    def run(self) -> None:
        try:
            with compiler_lock:
                collects = gc.isenabled()
                gc.disable()
                try:
                    self.result = self.function(*self.args)
                finally:
                    if collects:
                        gc.enable()
        except BaseException as error:
            self.error = error
        self.done.release()


_awaited: list[_Job] = []


def apart(function: Callable[..., Any], *args: Any) -> Any:
    """Return `function(*args)`, run from beginning to end without interruption.

    Ctrl-C ends the wait, not the work.
    """
    if compiler_lock.is_locked():  # by this thread: it need not wait for another
        return function(*args)
    job = _Job(function, args)
    _awaited.append(job)
    try:
        if sys.is_finalizing():  # a new thread would never run
            job.run()
        else:
            try:
                # Not of `threading`: a handler may find its locks taken by the handler's thread.
                _thread.start_new_thread(job.run, ())
            except RuntimeError:  # there are no more threads
                job.run()
        job.done.acquire()
    finally:
        _awaited.remove(job)
    if job.lost:
        return apart(function, *args)
    if job.error is not None:
        error, job.error = job.error, None
        raise error
    return job.result


def _before_fork() -> None:
    compiler_lock.acquire()
    llvm_lock.__enter__()


def _after_fork() -> None:
    llvm_lock.__exit__(None, None, None)
    compiler_lock.release()


def _in_the_child() -> None:
    """Let a thread that waited, and forked in a handler, do the work itself."""
    for job in _awaited:
        if job.done.locked():
            job.lost = True
            job.done.release()
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_the_child
    )
