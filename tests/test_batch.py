"""layers/batch.py: buffers grow and are reused; the checks are tested with the layers."""

import numpy as np

from jitprop.layers.batch import Buffer


def test_a_buffer_grows_to_the_largest_batch():
    buffer = Buffer()
    small = buffer.rows((3, 5), np.float32)
    large = buffer.rows((8, 5), np.float32)
    assert not np.shares_memory(small, large)
    for batch in (0, 1, 3, 8):
        rows = buffer.rows((batch, 5), np.float32)
        assert rows.shape == (batch, 5)
        assert rows.dtype == np.float32
        assert rows.flags.c_contiguous
        assert batch == 0 or np.shares_memory(rows, large)


def test_a_buffer_follows_width_and_precision():
    buffer = Buffer()
    buffer.rows((8, 5), np.float32)
    for shape, dtype in [((8, 4), np.float32), ((8, 4), np.float64), ((0, 0), np.float32)]:
        rows = buffer.rows(shape, dtype)
        assert rows.shape == shape
        assert rows.dtype == dtype
