"""Two recorded calls become one if nothing else reads what the first writes for the second."""

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from jitprop.kernels.runtime.kernel import Kernel
from jitprop.kernels.runtime.tape import Tape, writes

Pairs = dict[tuple[Kernel, Kernel], tuple[int, Kernel, Callable[..., tuple]]]


def fuse(tape: Tape, pairs: Pairs, kept: Sequence[np.ndarray] = ()) -> Tape:
    """Return a tape with the same results, except in arrays that nothing else reads.

    Parameters
    ----------
    tape : Tape
        The recorded calls.
    pairs : dict
        For (first call, second call): the place, among the arguments of the second, of what the
        first writes; the call that replaces both; and a function that makes its arguments from what
        the first reads, what it writes, and what the second takes.
    kept : sequence of arrays
        Arrays that somebody reads after the tape has run.
    """
    calls: list[tuple] = list(tape.calls)
    users: dict[int, list[int]] = {}  # for each piece of memory, the places of the calls
    for place, (_, args) in enumerate(calls):
        for memory in {id(_memory(arg)) for arg in args if isinstance(arg, np.ndarray)}:
            users.setdefault(memory, []).append(place)
    firsts = {first for first, _ in pairs}
    read = {id(_memory(array)) for array in kept}
    for at, (first, args) in enumerate(tape.calls):
        if first not in firsts:
            continue
        *operands, middle = args
        then = users[id(_memory(middle))][-1]
        second, later = calls[then]
        if (first, second) not in pairs or users[id(_memory(middle))] != [at, then]:
            continue
        if id(_memory(middle)) in read:
            continue
        place, both, arguments = pairs[first, second]
        shared = [i for i, arg in enumerate(later) if _memory(arg) is _memory(middle)]
        whole = later[place].ctypes.data == middle.ctypes.data and later[place].size == middle.size
        between = [call for call in calls[at + 1 : then + 1] if call[0]]
        changed = any(writes(call, operand) for call in between for operand in operands)
        if shared != [place] or not whole or changed:
            continue
        args = arguments(operands, middle, later)
        with suppress(ValueError):  # an output overlaps what `both` still has to read
            both.signature.explain(both.__name__, args)
            calls[at], calls[then] = (None, ()), (both, args)
    result = Tape(tape.stop)
    result.calls = [call for call in calls if call[0]]
    return result


def _memory(array):
    """The object that owns the memory of an array."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array
