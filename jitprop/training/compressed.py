"""People's sparse matrices, above all SciPy's, become compressed rows.

SciPy is not imported: the matrix itself has the necessary methods.
"""

from typing import Any

import numpy as np

from jitprop.layers.sparse import Array, CompressedRows


def compressed(where: str, given: Any) -> CompressedRows:
    """Return a sparse matrix as compressed rows, with rising columns in each row.

    The caller's matrix stays as it is. Numbers in the right order are not copied. Places and
    columns are always copied, so that nobody can change them.

    Parameters
    ----------
    where : str
        The matrix, for messages.
    given : sparse matrix or array
        Any format with the method `tocsr`.

    Raises
    ------
    ValueError
        It does not have two dimensions, or its indices lead outside it.
    """
    if len(given.shape) != 2:
        raise ValueError(f"{where} has shape {given.shape}, expected (n, features)")
    if getattr(given, "format", "") == "csc":
        _places(where, given, *given.shape[::-1])  # SciPy would follow it anywhere
    matrix = given.tocsr()
    places, indices = _places(where, matrix, *matrix.shape)
    if not _rise(places, indices):
        matrix = matrix.copy()
        matrix.sum_duplicates()
        places, indices = _places(where, matrix, *matrix.shape)
    data = matrix.data[: len(indices)]
    return CompressedRows(data, indices, places[:-1], places[1:], matrix.shape[1])


def _places(where: str, matrix: Any, rows: int, features: int) -> tuple[Array, Array]:
    """Return indptr and indices of a csr matrix, copied and checked."""
    places, indices = (np.array(x, np.int64) for x in (matrix.indptr, matrix.indices))
    whole = len(places) == rows + 1 and places[0] == 0
    whole = whole and bool((places[1:] >= places[:-1]).all())
    if whole and places[-1] <= min(len(indices), len(matrix.data)):
        indices = indices[: places[-1]]
        if not len(indices) or (indices.min() >= 0 and indices.max() < features):
            return places, indices
    raise ValueError(
        f"{where} is a broken sparse matrix: its indptr or its indices lead outside it"
    )


def _rise(places: Array, indices: Array) -> bool:
    """Whether the columns of each row rise, so that no column comes twice."""
    rise = indices[1:] > indices[:-1]
    first = places[(places > 0) & (places < len(indices))]
    rise[first - 1] = True  # from one row to the next they need not
    return bool(rise.all())
