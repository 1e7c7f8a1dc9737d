"""A pool of threads that live inside compiled code and share out the ranges of kernels.

A kernel's serial core computes the units `start .. stop-1` of its output. `parallel` cuts
`0 .. n-1` into pieces of `grain` units. Each thread gets an equal share of them, always the same
one, so it finds in its caches what it wrote during the kernel before. (On two Zen 4 cores a step of
mlp200 at batch 100 takes 408 us; 785 us if each thread simply takes the next piece.) A thread that
is done helps the others: threads claim pieces with atomic counters. Every unit is computed alone,
by the same code, so the bits do not depend on the thread.

Threads share out one *job* at a time: one call of a kernel, or several that do not wait for each
other. Only at its end does one thread wait for another.

Each thread has scratch memory of its own, and hands its address to the cores that ask for it. A
stack may be too small: `ulimit -s` or `threading.stack_size` may limit it.

Why not `prange`? Here

- a launch costs a fraction of a microsecond, since workers read memory before they fall asleep;
- a worker that is late or descheduled only claims fewer pieces;
- a forked child simply has no workers (GNU OpenMP aborts there);
- two Python threads may call kernels at once (numba's own pool aborts there);
- a kernel needs nothing but a trampoline of its own.

The workers and the callers meet in the *mailbox*, one int64 array. Its slots lie a cache line
apart. Compiled code reads and writes them with sequentially consistent atomics.
"""

import atexit
import ctypes
import os
import sys
import threading
from operator import index
from typing import Any

import numba
import numpy as np
from numba import types

from jitprop.kernels.compiler.apart import apart
from jitprop.kernels.compiler.cache import PACKAGE
from jitprop.kernels.compiler.inline import inline
from jitprop.kernels.compiler.jit import compiled
from jitprop.kernels.runtime.intrinsics import (
    RECORD,
    RECORD_ARGS,
    call,
    fetch_add,
    on_stack,
    peek,
    poke,
    swap,
    trampoline,
)
from jitprop.kernels.runtime.memory import aligned_zeros

LINE = 8  # int64 per cache line, the distance between slots
JOB = 0 * LINE  # number of the open job; 0: none
CALLS = 1 * LINE  # the open job: address of the first call's record,
LENGTH = 2 * LINE  # number of calls
ACTIVE = 3 * LINE  # workers that may be looking at the open job
BUSY = 4 * LINE  # 1 while some thread has a job open
TAKEN = BUSY + 1  # 1 if that is `take`, which stops the workers
WORKERS = 5 * LINE  # number of workers
COUNT = 6 * LINE  # number of jobs so far
SHIFT = 7 * LINE  # number of the workers' shift: workers of another shift leave
SHARES = 8 * LINE  # the open job: into how many shares it is cut
CONTROL = 9 * LINE  # the slots before this are 0 in a forked child; those from here on stay
SUBMIT = 9 * LINE  # address of the trampoline of `submit`
SHARED = 9 * LINE + 2  # addresses of trampolines that several kernels share
# A line for each thread. It holds, for each call of the open job, the first piece of the thread's
# share that nobody has claimed.
NEXT = 11 * LINE
THREADS = 1024  # at most
SLOTS = NEXT + THREADS * LINE

MOST_CALLS = LINE  # in a job
# A record holds the trampoline, the address of its arguments, units, and units per piece.
FUNCTION, DATA, UNITS, GRAIN = range(4)
CHECK = 4  # trampoline that looks at values in the caller's memory, or 0
TOGETHER = 5  # number of calls in the job that this record begins

SCRATCH = 2**20  # bytes of each thread's scratch memory; the system provides only those in use

SPINS = 64  # reads before the first yield: a piece of work is often shorter than a system call
YIELDS = 1000  # yields before the first nap, 0.2 to 0.5 ms: the gap between two kernels in Python
NAP = 5000  # longest nap in microseconds: how late a worker may join after a long pause

# POSIX; where they are missing (Windows) kernels run on the calling thread.
HAVE_WORKERS = hasattr(ctypes.CDLL(None), "sched_yield") if os.name == "posix" else False
_sched_yield = types.ExternalFunction("sched_yield", types.int32())
_usleep = types.ExternalFunction("usleep", types.int32(types.uint32))


@inline
def _share(count, share, shares):
    """First of those of `count` pieces that belong to a share."""
    return count * share // shares


@inline
def _pieces(record):
    """Number of pieces of a call. One piece is in the last share."""
    return -(-peek(record, UNITS) // peek(record, GRAIN))


@inline
def _claim(mailbox, thread, scratch):
    """Compute pieces of the open job until none is left.

    First this thread's own share: it had the same one in the job before, so it is in its caches.
    Then pieces that the other threads have not reached.
    """
    records, count = peek(mailbox, CALLS), peek(mailbox, LENGTH)
    shares = peek(mailbox, SHARES)  # not WORKERS: some may be leaving
    for turn in range(shares):
        owner = (thread + turn) % shares
        for place in range(count):
            record = records + place * RECORD
            end = _share(_pieces(record), owner + 1, shares)
            units, grain = peek(record, UNITS), peek(record, GRAIN)
            while True:
                piece = fetch_add(mailbox, NEXT + LINE * owner + place, 1)
                if piece >= end:
                    break
                start, stop = piece * grain, min((piece + 1) * grain, units)
                call(peek(record, FUNCTION), peek(record, DATA), start, stop, scratch)


@inline
def parallel(mailbox, records, count, scratch):
    """Run `count` calls that do not wait for each other, recorded from the address `records` on.

    They run one after another, each in one piece, if there are no workers, if there is nothing to
    share, or if a job is open already.
    """
    several = False
    for record in range(records, records + count * RECORD, RECORD):
        several |= peek(record, UNITS) > peek(record, GRAIN)
    if not several or peek(mailbox, WORKERS) == 0 or swap(mailbox, BUSY, 1) == 1:
        for record in range(records, records + count * RECORD, RECORD):
            call(peek(record, FUNCTION), peek(record, DATA), 0, peek(record, UNITS), scratch)
        return
    shares = peek(mailbox, WORKERS) + 1
    poke(mailbox, CALLS, records)
    poke(mailbox, LENGTH, count)
    poke(mailbox, SHARES, shares)
    for share in range(shares):
        for place in range(count):
            first = _share(_pieces(records + place * RECORD), share, shares)
            poke(mailbox, NEXT + LINE * share + place, first)
    poke(mailbox, JOB, fetch_add(mailbox, COUNT, 1) + 1)
    _claim(mailbox, 0, scratch)
    poke(mailbox, JOB, 0)
    spins = 0
    while peek(mailbox, ACTIVE) > 0:  # then nobody reads the arguments, and every piece is done
        spins += 1
        if spins > SPINS:
            _sched_yield()
    poke(mailbox, BUSY, 0)


@inline
def submit(mailbox, record, function, check, units, grain, data, size, start, stop, scratch):
    """Run a trampoline for its units, or write down what `replay` needs to do so.

    If the address `record` is not 0, it writes there. Every kernel ends here: it finds the address
    of this function in the mailbox. `data` is the address of the arguments, `size` how many int64
    they take.
    """
    if record == 0:
        parallel(mailbox, on_stack((function, data, units, grain)), 1, scratch)
        return
    for word, value in enumerate((function, record + RECORD_ARGS, units, grain, check)):
        poke(record, word, value)
    for word in range(size):
        poke(record, RECORD_ARGS // 8 + word, peek(data, word))


@compiled(f"{PACKAGE}.submit", types.int64())
def _address_of_submit():
    return trampoline(submit, (0,) * 8)


@compiled(f"{PACKAGE}.replay", types.int64(*[types.int64] * 7))
def replay(mailbox, count, times, records, stop, wrong, scratch):
    """Run `count` records, job after job, `times` times; return how often they were run.

    `records` is the address of the first. The function ends early in two cases. After a job, the
    number at the address `stop` is not 0. Or a label or an index of the next job is out of range,
    because the caller has changed it. Then the number at the address `wrong`, 0 before, becomes
    that record's number, counted from 1. (No call of a job writes what another reads.)
    """
    end = records + count * RECORD
    for time in range(times):
        record = records
        while record < end:
            together = peek(record, TOGETHER)
            for checked in range(record, record + together * RECORD, RECORD):
                if peek(checked, CHECK) != 0:
                    number = (checked - records) // RECORD + 1
                    call(peek(checked, CHECK), peek(checked, DATA), wrong, number, scratch)
            if peek(wrong, 0) != 0:
                return time
            parallel(mailbox, record, together, scratch)
            if peek(stop, 0) != 0:
                return time
            record += together * RECORD
    return times


@compiled(f"{PACKAGE}.serve", types.void(*[types.int64] * 4))
def serve(mailbox, thread, shift, scratch):
    """A worker: help with each job. While none opens, sleep longer and longer."""
    seen = 0
    waited = 0
    while peek(mailbox, SHIFT) == shift:
        job = peek(mailbox, JOB)
        if job in (0, seen):
            waited += 1
            if waited > SPINS + YIELDS:
                _usleep(min(50 * (waited - SPINS - YIELDS), NAP))
            elif waited > SPINS:
                _sched_yield()
            continue
        fetch_add(mailbox, ACTIVE, 1)
        if peek(mailbox, JOB) == job:  # else it closed before we were counted
            _claim(mailbox, thread, scratch)
        fetch_add(mailbox, ACTIVE, -1)
        seen = job
        waited = 0


@compiled(f"{PACKAGE}.take", types.void(types.int64))
def take(mailbox):
    """Wait until no job is open. From then on none opens, and callers compute alone."""
    if peek(mailbox, TAKEN) == 0:
        while swap(mailbox, BUSY, 1) == 1:
            _sched_yield()
        poke(mailbox, TAKEN, 1)


def scratch_memory():
    """Scratch memory for a thread."""
    return aligned_zeros((SCRATCH,), np.uint8)


class Pool:
    """The worker threads of this process, started when the first kernel runs.

    An exception such as KeyboardInterrupt may end any line here. Then nothing counts as started:
    the next call of a kernel dismisses the workers that there are, and starts anew.
    """

    def __init__(self):
        self.threads = int(numba.config.NUMBA_NUM_THREADS)  # the variable, or the CPUs we may use
        self.workers: list[threading.Thread] = []
        self.started = False
        self.memory = np.zeros(SLOTS + LINE, np.int64)
        skip = -self.memory.ctypes.data // 8 % LINE  # to the next multiple of 64 bytes
        self.mailbox = self.memory[skip : skip + SLOTS]
        self.address = self.mailbox.ctypes.data
        self.nobody = np.zeros(SLOTS, np.int64)  # a mailbox without workers
        self.alone = self.nobody.ctypes.data
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def start(self):
        """Start the workers, unless they are there."""
        apart(self._start)

    def resize(self, threads):
        """Use `threads` threads from the next kernel on."""
        apart(self._resize, threads)

    def close(self):
        """End: finish what has begun, dismiss the workers, and never start any again."""
        apart(self._close)

    def _start(self):
        if self.started:
            return
        self._retire()
        count = min(self.threads, THREADS) - 1 if HAVE_WORKERS and not sys.is_finalizing() else 0
        if count:
            serve.compile()  # not in a worker: a fork must not copy a locked compiler
        self.mailbox[SUBMIT] = _address_of_submit()
        while not self._hire(count):
            count //= 2
        self.mailbox[WORKERS] = count
        self.mailbox[BUSY : TAKEN + 1] = 0  # what `_retire` took
        self.started = True

    def _resize(self, threads):
        self.threads = threads
        self.started = False
        self._retire()

    def _close(self):
        self._dismiss()
        self.threads = 1

    def _hire(self, count):
        """Start workers; return whether the system has so many threads.

        If not, it keeps none: the last of them would take the memory that the work itself needs.
        """
        shift = int(self.mailbox[SHIFT])
        try:
            for number in range(1, count + 1):
                arguments = (number, shift, scratch_memory())
                worker = threading.Thread(target=self._work, args=arguments, daemon=True)
                self.workers.append(worker)
                worker.start()
        except RuntimeError:
            self._dismiss()
            return False
        except BaseException:
            self._dismiss()
            raise
        return True

    def _work(self, number, shift, scratch):
        serve(self.address, number, shift, scratch.ctypes.data)

    def _retire(self):
        """Dismiss the workers while no job is open; none opens until `start`."""
        if self.workers:
            take(self.address)
            self._dismiss()

    def _dismiss(self):
        self.mailbox[WORKERS] = 0
        self.mailbox[SHIFT] += 1  # a job that is open now ends without those that leave
        workers, self.workers = self.workers, []
        for worker in workers:
            if worker.ident is not None:  # else it was never begun, or sees at once that it is late
                worker.join()

    def _forget(self):
        """In a forked child: the workers did not come along."""
        self.workers = []
        self.started = False
        self.mailbox[:CONTROL] = 0


class _Here(threading.local):
    """What belongs to the calling thread.

    `tape` takes its kernel calls instead of running them, or is None. `scratch` is the address of
    its scratch memory.
    """

    def __init__(self):
        self.tape: Any = None
        self.memory = scratch_memory()
        self.scratch = self.memory.ctypes.data


here = _Here()
pool = Pool()


def get_num_threads() -> int:
    """Return how many threads a kernel may use; at first, the CPUs this process may run on."""
    return pool.threads


def set_num_threads(threads: int) -> None:
    """Let kernels use `threads` threads. Results do not depend on it, to the bit.

    Raises
    ------
    ValueError
        `threads` is not an integer of at least 1.
    """
    if isinstance(threads, bool) or not hasattr(threads, "__index__") or index(threads) < 1:
        raise ValueError(f"threads is {threads!r}, expected an integer of at least 1")
    threads = index(threads)
    if threads != pool.threads:
        pool.resize(threads)
