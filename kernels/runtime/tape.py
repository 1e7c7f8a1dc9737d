"""Kernel calls, recorded once and run again and again without Python.

    with Tape() as tape:
        kernels.tanh_fprop(x, y)      # checked and noted, not run
    tape.run(1000)

The first run compiles missing kernels, and makes a record of each call. It holds the address of the
kernel's trampoline (a small compiled function that loads the arguments from memory and calls the
core), the number of units, and a copy of the arguments: addresses and sizes. So one loop, compiled
once, runs any network, and it runs the same cores as the calls themselves. A run reads and writes
the arrays as they are at that time, and reads a number given as a float64 array of no dimensions.
CUDA graphs work this way ("stream capture"). The caller may have changed labels or indices since
the recording. So `run` checks their range before each job; if one is out of range, it stops and
raises ValueError.

`Tape.jobs` puts calls that stand close together into one job if none of them reads or writes what
another writes. The threads share out all calls of a job. Only at its end does the caller wait for
the workers.
"""

from operator import index

import numpy as np

from jitprop.kernels.compiler.ahead import helper
from jitprop.kernels.compiler.checks import ARRAYS
from jitprop.kernels.compiler.jit import DISABLED
from jitprop.kernels.runtime.intrinsics import RECORD
from jitprop.kernels.runtime.threads import MOST_CALLS, TOGETHER, here, pool, replay

_Span = tuple[int, int, bool]
_Written = tuple[list[tuple], np.ndarray, list[int], np.ndarray]


class Tape:
    """Kernel calls of this thread, recorded in a `with` block; `run` runs them in their order.

    Parameters
    ----------
    stop : array of int64, or None
        Its first number is 0 when a run begins. The run ends after a recorded call that changes
        it.
    """

    def __init__(self, stop: np.ndarray | None = None) -> None:
        self.stop = np.zeros(1, np.int64) if stop is None else stop
        if type(self.stop) not in ARRAYS:
            raise TypeError(f"stop is {type(stop).__name__}, expected an int64 array")
        kind = self.stop.dtype
        if kind != np.int64 or self.stop.ndim != 1 or not self.stop.size:
            raise ValueError(f"stop: {kind}{self.stop.shape}, expected at least one int64")
        if not self.stop.flags.aligned:
            raise ValueError("stop is not aligned in memory; pass a copy")
        self.calls: list[tuple] = []
        # The calls in the order in which they run (this keeps their arrays alive); their records;
        # the addresses that `replay` takes; the array where it reports what is wrong.
        none = np.zeros(1, np.int64)
        self._written: _Written = [], none, [none.ctypes.data] * 3, none

    def __enter__(self) -> "Tape":
        if here.tape is not None:
            raise RuntimeError("another tape is recording already")
        here.tape = self
        return self

    def __exit__(self, *exception) -> None:
        here.tape = None

    def __len__(self) -> int:
        return len(self.calls)

    @staticmethod
    def recording() -> bool:
        """Return whether this thread's calls are being recorded on a tape."""
        return here.tape is not None

    def run(self, times: int = 1, alone: bool = False) -> int:
        """Run all calls, `times` times.

        Parameters
        ----------
        times : int
            0 or more.
        alone : bool
            Whether only this thread computes; the bits are the same.

        Returns
        -------
        int
            How many times all calls were run.

        Raises
        ------
        ValueError
            The labels or indices of a call are out of range by now: that call and all after it
            are not run. Or `times` is out of range.
        RuntimeError
            A tape is recording.
        """
        if here.tape is not None:
            raise RuntimeError("a tape cannot run while one is recording")
        if type(times) is not int or times < 0:
            times = _times(times)
        if DISABLED:
            return self._run_plain(times)
        if not pool.started:
            pool.start()
        if len(self._written[0]) != len(self.calls):
            self._write_records()
        calls, _, addresses, wrong = self._written
        mailbox = pool.alone if alone else pool.address
        done = replay(mailbox, len(calls), min(times, 2**63 - 1), *addresses, here.scratch)
        if wrong[0]:
            kernel, args = calls[wrong[0] - 1]
            wrong[0] = 0
            kernel.refuse(args)
        return done

    def _run_plain(self, times: int) -> int:
        """Do without the compiler what `replay` does."""
        jobs = self.jobs()
        for time in range(times):
            for job in jobs:
                for kernel, args in job:
                    kernel.signature.explain_values(kernel.__name__, args)
                for kernel, args in job:
                    kernel.run_plain(args)
                if self.stop[0]:
                    return time
        return times

    def _write_records(self) -> None:
        """Compile kernels that are not compiled yet, and write the records."""
        records = np.zeros((len(self.calls), RECORD // 8), np.int64)
        jobs = self.jobs()
        calls = [call for job in jobs for call in job]
        with helper(calls):
            for (kernel, args), record in zip(calls, records, strict=True):
                kernel.submit(record.ctypes.data, args)
        at = 0
        for job in jobs:
            records[at, TOGETHER] = len(job)
            at += len(job)
        wrong = np.zeros(1, np.int64)
        addresses = [array.ctypes.data for array in (records, self.stop, wrong)]
        # All at once: an error or Ctrl-C leaves nothing half written.
        self._written = calls, records, addresses, wrong

    def jobs(self) -> list[list[tuple]]:
        """Return the calls in groups. The calls of one group may run at the same time.

        A call joins one of the last two groups: the earlier one if it collides with no call in
        both, the later one if it collides with no call there. Else it begins a group. Nothing
        moves across a call that writes to `stop`.
        """
        jobs: list[list[tuple]] = []
        spans: list[list[list[_Span]]] = []  # of the calls in these groups
        closed = 0  # groups that no call joins any more, since the run may end after them
        for call in self.calls:
            ends, own = writes(call, self.stop), _spans(call)
            place = len(jobs)
            first = max(closed, len(jobs) - (1 if ends else 2))
            for at in range(len(jobs) - 1, first - 1, -1):
                if any(_collide(own, others) for others in spans[at]):
                    break
                if len(jobs[at]) < MOST_CALLS:
                    place = at
            if place == len(jobs):
                jobs.append([])
                spans.append([])
            jobs[place].append(call)
            spans[place].append(own)
            if ends:
                closed = len(jobs)
        return jobs


def _times(given) -> int:
    """Return a number of times as an int; raise ValueError for anything else."""
    if isinstance(given, (bool, np.ndarray)) or not hasattr(given, "__index__") or given < 0:
        raise ValueError(f"times is {given!r}, expected an integer of at least 0")
    return index(given)


def writes(call: tuple, array: np.ndarray) -> bool:
    """Whether a call writes to the memory of `array`."""
    kernel, args = call
    return any(
        argument.output and np.may_share_memory(arg, array)
        for argument, arg in zip(kernel.signature.arguments, args, strict=True)
    )


def _spans(call: tuple) -> list[_Span]:
    """Where the arrays of a call lie: the first byte, the one behind, whether they are written."""
    kernel, args = call
    found = []
    for argument, array in zip(kernel.signature.arguments, args, strict=True):
        if isinstance(array, np.ndarray) and array.size:  # and C-contiguous, as all on a tape
            first = array.__array_interface__["data"][0]
            found.append((first, first + array.nbytes, argument.output))
    return found


def _collide(spans: list[_Span], others: list[_Span]) -> bool:
    """Whether one call writes what the other reads or writes."""
    return any(
        (written or other_written) and first < other_end and other_first < end
        for first, end, written in spans
        for other_first, other_end, other_written in others
    )
