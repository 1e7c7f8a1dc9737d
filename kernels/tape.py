"""Kernel calls, recorded once and run again and again without Python.

    with Tape() as tape:
        kernels.tanh_fprop(x, y)      # checked and noted, not run
    tape.run(1000)

The first run compiles what is missing, and makes a record of each call. That holds what the call
would have run: the address of the kernel's trampoline, its units and a copy of its arguments, which
are addresses and sizes. So one loop, compiled once, runs any network, and what it runs are the very
cores that the calls would have run. Arrays are read and written where they are at the time of the
run; a number given as a float64 array of no dimensions is read then, too. CUDA graphs work this way
("stream capture").
"""

import numpy as np
from numba import types

from kernels.ahead import helper
from kernels.jit import DISABLED, compiled, pool, recorder
from kernels.threads import RECORD, replay

_replay = compiled("kernels.replay", types.int64(*[types.int64] * 5))(replay)


class Tape:
    """Kernel calls of this thread, recorded in a `with` block; `run` runs them in their order."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []  # keeps the arrays alive
        self._records = np.zeros((0, RECORD // 8), np.int64)

    def __enter__(self) -> "Tape":
        if recorder.tape is not None:
            raise RuntimeError("another tape is recording already")
        recorder.tape = self
        return self

    def __exit__(self, *exception) -> None:
        recorder.tape = None

    def __len__(self) -> int:
        return len(self.calls)

    @staticmethod
    def recording() -> bool:
        """Return whether this thread's calls are being recorded on a tape."""
        return recorder.tape is not None

    def run(self, times: int = 1, stop: np.ndarray | None = None, alone: bool = False) -> int:
        """Run all calls, `times` times.

        Parameters
        ----------
        times : 0 or more
        stop : int64 array; before each call but the first, an end is made if its first number is
            not 0
        alone : whether this thread does without the others; the results are the same bits

        Returns
        -------
        int, how many times all calls were run
        """
        if recorder.tape is not None:
            raise RuntimeError("a tape cannot run while one is recording")
        if stop is None:
            stop = np.zeros(1, np.int64)
        if DISABLED:
            for time in range(times):
                for kernel, args in self.calls:
                    kernel.run_plain(args)
                    if stop[0]:
                        return time
            return times
        if not pool.started:
            pool.start()
        if len(self._records) < len(self.calls):
            self._write_records()
        records = self._records.ctypes.data
        mailbox = pool.nobody.ctypes.data if alone else pool.address
        return _replay(mailbox, records, len(self.calls), times, stop.ctypes.data)

    def _write_records(self) -> None:
        """Compile what is still to be compiled, and write the records."""
        records = np.zeros((len(self.calls), RECORD // 8), np.int64)
        with helper(self.calls):
            for (kernel, args), record in zip(self.calls, records, strict=True):
                kernel.submit(record.ctypes.data, args)
        self._records = records  # whole: an error or Ctrl-C leaves none that were not written
