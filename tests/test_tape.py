"""kernels/runtime/tape.py: a recorded call does what the call does, when the tape runs."""

import gc

import numpy as np
import outputs
import pytest
from plain import PLAIN
from reference import assert_same_bits

from jitprop import kernels
from jitprop.kernels.compiler.simd import LANES, load, store
from jitprop.kernels.runtime.kernel import kernel
from jitprop.kernels.runtime.threads import COUNT, HAVE_WORKERS, MOST_CALLS, pool

# Interpreted, a call for each branch is enough: there are no threads to share it out to.
WAYS = [(1, False)] if PLAIN else [(1, False), (2, False), (3, False), (3, True)]
PRODUCTS, SHAPES = ((5, 3, 18), (19, 3)) if PLAIN else ((33, 70, 211), (211, 113))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("threads", "alone"), WAYS)
def test_every_kernel_leaves_the_same_bits(dtype, threads, alone):
    """All calls of one tape, in their order, against the calls themselves."""
    sizes = {"products": [PRODUCTS, (7, 5, 3)], "shapes": [SHAPES, (5, 3)]}
    direct, recorded = (
        [call for call in outputs.calls(dtype, **sizes) if call[0] != "total"]  # no kernel
        for _ in range(2)
    )
    kernels.set_num_threads(threads)
    tape = kernels.Tape()
    with tape:
        for name, arguments in recorded:
            assert getattr(kernels, name)(*arguments) is None
    for name, arguments in direct:
        getattr(kernels, name)(*arguments)
    gc.collect()  # what only a handle of numba's kept is gone now
    assert tape.run(alone=alone) == 1
    assert len(tape) == len(direct) > 30
    for (_, expected), (_, found) in zip(direct, recorded, strict=True):
        for a, b in zip(expected, found, strict=True):
            if isinstance(a, np.ndarray):
                assert_same_bits(b, a)


@kernel("x(...) -> out(...)")
def triple(x, out, start, stop):
    for i in range(start, stop, LANES):
        store(out, i, load(x, i, stop - i) * 3, stop - i)


def test_a_kernel_of_ones_own():
    """It is not in the cache, from which the first run of a tape takes kernels."""
    x, out = np.arange(20, dtype=np.float32), np.zeros(20, np.float32)
    with kernels.Tape() as tape:
        triple(x, out)
        kernels.add(x, out, x)
    tape.run(2)
    assert_same_bits(x, np.arange(20, dtype=np.float32) * 16)


def test_recording_runs_nothing():
    x, out = np.ones(3), np.zeros(3)
    with kernels.Tape() as tape:
        kernels.scale(x, 2.0, out)
    np.testing.assert_array_equal(out, 0)
    assert len(tape) == 1
    kernels.scale(x, 3.0, out)  # outside, a call is a call again
    np.testing.assert_array_equal(out, 3)
    assert len(tape) == 1


def test_arrays_and_numbers_are_read_when_the_tape_runs():
    x, factor, out = np.ones(3), np.array(2.0), np.zeros(3)
    with kernels.Tape() as tape:
        kernels.scale(x, factor, out)
    x[:], factor[...] = 5, 7
    tape.run()
    np.testing.assert_array_equal(out, 35)


@pytest.mark.parametrize("times", [0, 1, 1000])
def test_times(times):
    x = np.ones(2)
    with kernels.Tape() as tape:
        kernels.sgd_update(x, np.ones(2), -1)
        kernels.sgd_update(x, np.ones(2), -1)
    assert tape.run(times) == times
    np.testing.assert_array_equal(x, 1 + 2 * times)


@pytest.mark.skipif(not HAVE_WORKERS or PLAIN, reason="no other threads")
def test_alone_opens_no_job():
    kernels.set_num_threads(2)
    x = np.ones((1000, 1000))
    with kernels.Tape() as tape:
        kernels.scale(x, 2.0, np.zeros_like(x))
    tape.run()
    jobs = pool.mailbox[COUNT]
    tape.run(10, alone=True)
    assert pool.mailbox[COUNT] == jobs
    tape.run(10)
    assert pool.mailbox[COUNT] == jobs + 10


def drawn_calls(rng, count):
    """Calls among a few arrays and parts of them: (kernel, arguments)."""
    half = 20 if PLAIN else 20_000
    arrays = list(rng.standard_normal((5, 2 * half)))
    arrays += [array[start : start + half] for array in arrays for start in (0, half)]
    for _ in range(count):
        size = rng.choice([half, 2 * half])
        some = [array for array in arrays if array.size == size]
        x, y, out = (some[i] for i in rng.integers(0, len(some), 3))
        if rng.random() < 0.5:
            yield kernels.scale, (x, 0.5, out)
        else:
            yield kernels.subtract, (x, y, out)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_calls_that_run_together(seed, threads):
    """Whatever reads and writes what: the bits of one call after another."""
    kernels.set_num_threads(threads)
    recorded, direct = (list(drawn_calls(np.random.default_rng(seed), 40)) for _ in range(2))
    with kernels.Tape() as tape:
        for kernel, args in recorded:
            kernel(*args)
    for kernel, args in direct:
        kernel(*args)
    tape.run()
    assert 1 < max(map(len, tape.jobs())) < len(tape)
    for (_, expected), (_, found) in zip(direct, recorded, strict=True):
        for a, b in zip(expected, found, strict=True):
            assert_same_bits(np.asarray(b), np.asarray(a))


def test_jobs():
    """They end before a call that needs what is in them, or overwrites it; and behind `stop`."""
    a, b, c, d, stop = *np.ones((4, 9)), np.zeros(2, np.int64)
    history, none = np.zeros((9, 2)), np.zeros(0)
    with kernels.Tape(stop=stop[1:]) as tape:
        for x, out in [(a, b), (a, c), (b, d), (a, a[:]), (a, b), (c, b), (c, a)]:
            kernels.scale(x, 2.0, out)
        kernels.tally(none, none, stop, history)
        kernels.scale(c, 2.0, d)
        for _ in range(MOST_CALLS):
            kernels.scale(a, 2.0, np.zeros(9))
        kernels.next_numbers(np.ones((3, 2)), np.zeros(1, np.int64), d[:2])
        kernels.scale(a, d[1].reshape(()), b)  # a copy of the number
        kernels.scale(a, d[1:2].reshape(()), b)  # the number itself
    assert [len(job) for job in tape.jobs()] == [2, 2, 1, 3, MOST_CALLS, 3, 1]


def test_calls_join_the_job_before_the_last():
    """Where they collide with neither; but nothing moves across a call that may end the run."""
    a, b, c, d, e, last, stop = *np.ones((6, 9)), np.zeros(2, np.int64)
    history, none = np.zeros((9, 2)), np.zeros(0)
    with kernels.Tape(stop=stop[1:]) as tape:
        kernels.scale(a, 2.0, b)
        kernels.scale(b, 2.0, c)
        for out in (d, c, a):  # beside the first; beside none; beside the second
            kernels.scale(e, 2.0, out)
        kernels.tally(none, none, stop, history)
        kernels.scale(e, 2.0, last)
    names = {id(a): "a", id(b): "b", id(c): "c", id(d): "d", id(history): "end", id(last): "last"}
    jobs = [[names[id(args[-1])] for _, args in job] for job in tape.jobs()]
    assert jobs == [["b", "d"], ["c", "a"], ["c", "end"], ["last"]]


@pytest.mark.parametrize("stop", [np.zeros(0, np.int64), np.zeros(1)])
def test_what_cannot_stop_a_run(stop):
    with pytest.raises(ValueError, match=r"stop: .*expected at least one int64"):
        kernels.Tape(stop)


def test_an_empty_tape():
    with kernels.Tape() as tape:
        pass
    assert tape.run(5) == 5


def test_stop_ends_before_the_next_call():
    """The loss is infinite from the start: what follows is not run."""
    losses, place, history = np.array([np.inf]), np.zeros(2, np.int64), np.zeros((9, 2))
    before, after = np.ones(1), np.ones(1)
    with kernels.Tape(stop=place[1:]) as tape:
        kernels.scale(before, 2, before)
        kernels.tally(losses, losses[:0], place, history)
        kernels.scale(after, 2, after)
    assert tape.run(5) == 0
    assert (before, after) == (2, 1)
    losses[0] = 1
    place[1] = 0
    assert tape.run(5) == 5
    assert (before, after) == (64, 32)


def test_wrong_calls_are_refused_while_recording_too():
    x, y = np.ones(3), np.ones(4)
    with kernels.Tape() as tape:
        with pytest.raises(ValueError, match=r"tanh_fprop: out has shape \(4,\)"):
            kernels.tanh_fprop(x, y)
        with pytest.raises(TypeError, match="scale: factor is str"):
            kernels.scale(x, "2", x)
        kernels.scale(x, 2, x)
    assert len(tape) == 1
    tape.run()
    np.testing.assert_array_equal(x, 2)


@pytest.mark.skipif(PLAIN, reason="nothing is checked before it runs")
def test_a_first_run_that_failed_is_begun_anew():
    """No record is run that was not written."""
    labels, index, out = np.arange(5), np.arange(3), np.zeros(3, int)
    with kernels.Tape() as tape:
        kernels.gather_labels(labels, index, out)
        kernels.gather_labels(labels, index, out)
    index[2] = 9
    for _ in range(2):
        with pytest.raises(ValueError, match="index holds 9"):
            tape.run()
    index[2] = 4
    tape.run()
    np.testing.assert_array_equal(out, [0, 1, 4])


@pytest.mark.parametrize("alone", [False, True])
def test_an_index_out_of_range_ends_the_run(alone):
    """Also where a call of the tape wrote it. What came before was run, of that job nothing."""
    kernels.set_num_threads(2)
    order, position, index = np.array([4, 0, 1, 9, 3]), np.zeros(1, np.int64), np.zeros(2, int)
    labels, one, other = np.arange(5), np.zeros(2, int), np.zeros(2, int)
    with kernels.Tape() as tape:
        kernels.next_index(order, position, index)
        kernels.gather_labels(labels, index[:1], one[:1])
        kernels.gather_labels(labels, index, other)
    assert [len(job) for job in tape.jobs()] == [1, 2]
    with pytest.raises(ValueError, match=r"gather_labels: index holds 9, expected .* 0 \.\. 4"):
        tape.run(2, alone=alone)
    assert position == 4
    np.testing.assert_array_equal(index, [1, 9])
    np.testing.assert_array_equal(one, [4, 0])
    np.testing.assert_array_equal(other, [4, 0])
    order[3], position[0] = 2, 0
    assert tape.run(2, alone=alone) == 2
    np.testing.assert_array_equal(other, [1, 2])


def test_calls_that_were_taken_away():
    """A tape runs what it holds by then."""
    x, y = np.ones(3), np.ones(3)
    with kernels.Tape() as tape:
        kernels.scale(x, 2, x)
        kernels.scale(y, 2, y)
    tape.run()
    del tape.calls[0]
    tape.run()
    assert (x[0], y[0]) == (2, 4)


def test_an_error_ends_the_recording():
    with pytest.raises(KeyError), kernels.Tape():
        raise KeyError
    x = np.ones(1)
    kernels.scale(x, 2, x)
    assert x == 2


def test_one_tape_at_a_time():
    x = np.ones(1)
    with kernels.Tape() as tape:
        kernels.scale(x, 2, x)
        with pytest.raises(RuntimeError, match="recording"), kernels.Tape():
            pass
        with pytest.raises(RuntimeError, match="recording"):
            tape.run()
        kernels.scale(x, 2, x)
    tape.run()
    assert x == 4
