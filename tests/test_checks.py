"""kernels/compiler/checks.py: every argument that does not fit is named, and nothing is written.

One file: each check is tried on every kernel, with arguments from one table.
"""

import numpy as np
import pytest
from plain import PLAIN
from reference import assert_same_bits

from jitprop import kernels
from jitprop.kernels.compiler.checks import PREDICATES, Signature

FLOATS = (np.float32, np.float64)


MORE = 7  # columns that hold others


def arguments(name, dtype=np.float32):
    """Names and values of a call that works."""
    rng = np.random.default_rng(1)

    def floats(*shape):
        return rng.uniform(0.1, 0.9, shape).astype(dtype)

    batch, n, k = 5, 4, 3
    x, labels, row = floats(batch, n), rng.integers(0, n, batch), floats(n)
    y, losses = floats(batch, n), floats(batch)
    columns, key = np.arange(2, 2 + k), np.array([7, 8, 2**10])
    sparse = {"images": rng.integers(0, 2, (7, k), np.uint8), "values": floats(256)}
    ends = np.array([0, 2, 3, 3, 5, 6, 8])
    places = {"starts": np.append(0, ends[:-1]), "ends": ends}
    csr = {"data": floats(8), "indices": rng.integers(0, k, 8), **places}
    return {
        "matmul_nn": {"a": floats(batch, k), "b": floats(k, n), "out": x},
        "matmul_nt": {"a": floats(batch, k), "b": floats(n, k), "out": x},
        "matmul_nt_tanh_bprop": {
            "a": floats(batch, k), "b": floats(n, k), "y": y, "out": x,
        },
        "matmul_tn": {"a": floats(k, batch), "b": floats(k, n), "out": x},
        "linear_fprop": {"x": floats(batch, k), "w": floats(k, n), "b": row, "out": x},
        "linear_tanh_fprop": {"x": floats(batch, k), "w": floats(k, n), "b": row, "out": x},
        "bias_fprop": {"x": floats(batch, n), "b": row, "out": x},
        "bias_bprop": {"dy": floats(batch, n), "out": row},
        "tanh_fprop": {"x": floats(batch, n), "out": x},
        "tanh_bprop": {"y": floats(batch, n), "dy": floats(batch, n), "out": x},
        "softmax_fprop": {"x": floats(batch, n), "out": x},
        "softmax_bprop": {"y": floats(batch, n), "dy": floats(batch, n), "out": x},
        "sigmoid_fprop": {"x": floats(batch, n), "out": x},
        "sigmoid_bprop": {"y": floats(batch, n), "dy": floats(batch, n), "out": x},
        "relu_fprop": {"x": floats(batch, n), "out": x},
        "relu_bprop": {"y": floats(batch, n), "dy": floats(batch, n), "out": x},
        "log_softmax_fprop": {"x": floats(batch, n), "out": x},
        "log_softmax_bprop": {"y": floats(batch, n), "dy": floats(batch, n), "out": x},
        "subtract": {"a": floats(batch, n), "b": floats(batch, n), "out": x},
        "multiply": {"a": floats(batch, n), "b": floats(batch, n), "out": x},
        "concatenate_fprop": {
            "x": floats(batch, k), "columns": columns, "out": floats(batch, MORE),
        },
        "concatenate_bprop": {
            "dy": floats(batch, MORE), "columns": columns, "out": floats(batch, k),
        },
        "dropout_step": {"state": key[:2].copy(), "key": key},
        "dropout": {"x": y, "key": key, "scale": 1.5, "out": x},
        "gaussian_noise": {"x": y, "key": key, "scale": 1.5, "out": x},
        "mean_squared_error_fprop": {"z": y, "t": floats(batch, n), "losses": losses},
        "mean_squared_error_bprop": {"z": y, "t": floats(batch, n), "scale": 0.5, "out": x},
        "sigmoid_cross_entropy": {
            "z": y, "t": floats(batch, n), "scale": 0.5, "out": x, "losses": losses,
        },
        "poisson_loss": {
            "z": y, "t": floats(batch, n), "scale": 0.5, "out": x, "losses": losses,
        },
        "cross_entropy_fprop": {"p": floats(batch, n), "labels": labels, "losses": losses},
        "cross_entropy_bprop": {"p": floats(batch, n), "labels": labels, "scale": 0.5, "out": x},
        "softmax_cross_entropy": {
            "logits": floats(batch, n), "labels": labels, "scale": 0.5, "out": x,
            "losses": losses,
        },
        "sgd_update": {"w": x, "dw": floats(batch, n), "rate": 0.5},
        "momentum_update": {
            "w": x, "dw": floats(batch, n), "velocity": floats(batch, n), "rate": 0.5,
            "momentum": 0.9, "weight_decay": 0.01,
        },
        "nesterov_update": {
            "w": x, "dw": floats(batch, n), "velocity": floats(batch, n), "rate": 0.5,
            "momentum": 0.9, "weight_decay": 0.01,
        },
        "adam_update": {
            "w": x, "dw": floats(batch, n), "m": floats(batch, n), "v": np.abs(floats(batch, n)),
            "step": 0.5, "root": 2.0, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8,
            "weight_decay": 0.01,
        },
        "adam_update_above": {
            "w": x, "dw": floats(batch, n), "m": floats(batch, n), "v": np.abs(floats(batch, n)),
            "step": 0.5, "root": 2.0, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8,
            "weight_decay": 0.01, "least": 0.1,
        },
        "adamw_update": {
            "w": x, "dw": floats(batch, n), "m": floats(batch, n), "v": np.abs(floats(batch, n)),
            "step": 0.5, "root": 2.0, "decay": 0.01, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8,
        },
        "smoothed_cross_entropy": {
            "logits": x, "labels": labels, "smoothing": 0.1, "scale": 0.5,
            "out": floats(batch, n), "losses": floats(batch),
        },
        "next_numbers": {"table": np.ones((5, 3)), "place": np.array([2]), "out": np.zeros(3)},
        "scale": {"x": floats(batch, n), "factor": 2.0, "out": x},
        "add": {"a": floats(batch, n), "b": floats(batch, n), "out": x},
        "gather": {
            "images": rng.integers(0, 256, (7, n), np.uint8), "index": labels, "out": x,
        },
        "distort": {
            "images": rng.integers(0, 256, (7, n), np.uint8), "index": labels,
            "key": np.array([7, 8, 2]), "alpha": 3.0, "sigma": 1.0, "rotate": 0.1, "shear": 0.1,
            "scale": 0.1, "shift": 1.0, "out": np.zeros((batch, n), np.uint8),
        },
        "average": {"w": x.copy(), "mean": x, "keep": 0.5},
        "max_norm": {"w": x, "most": 1.0},
        "zero": {"out": row},
        "weigh": {"x": y, "weights": floats(batch), "out": x},
        "share": {"weights": floats(batch), "out": np.zeros(1)},
        "pixels_of": {
            "x": floats(batch, n), "strange": np.zeros(batch, int),
            "images": np.zeros((batch, n), np.uint8),
        },
        "gather_rows": {"x": floats(7, n), "index": labels, "out": x},
        "gather_labels": {"labels": np.arange(7), "index": labels, "out": np.zeros(batch, int)},
        "next_index": {
            "order": np.arange(9), "position": np.zeros(1, int), "index": labels,
        },
        "misses": {"z": floats(batch, n), "labels": labels, "out": x[:, 0].copy()},
        "squares": {"w": floats(n), "out": row.copy()},
        "tally": {
            "losses": floats(batch), "misses": floats(batch), "place": np.zeros(2, int),
            "history": np.zeros((3, 2)),
        },
        "sparse_linear_fprop": {
            **sparse, "index": labels, "w": floats(k, n), "b": row, "out": x,
        },
        "sparse_linear_tanh_fprop": {
            **sparse, "index": labels, "w": floats(k, n), "b": row, "out": x,
        },
        "csr_linear_fprop": {**csr, "index": labels, "w": floats(k, n), "b": row, "out": x},
        "csr_tn": {**csr, "index": labels, "dy": floats(batch, n), "out": floats(k, n)},
        "csr_tn_sgd": {
            **csr, "index": labels, "dy": floats(batch, n), "w": floats(k, n), "rate": 0.5,
        },
        "csr_gather": {**csr, "index": labels, "out": floats(batch, k)},
        "sparse_rows_fprop": {"x": floats(batch, k), "w": floats(k, n), "b": row, "out": x},
        "sparse_rows_tanh_fprop": {"x": floats(batch, k), "w": floats(k, n), "b": row, "out": x},
        "sparse_tn": {
            **sparse, "index": labels, "dy": floats(batch, n), "out": floats(k, n),
        },
        "sparse_tn_sgd": {
            **sparse, "index": labels, "dy": floats(batch, n), "w": floats(k, n), "rate": 0.5,
        },
        "sparse_tn_momentum": {
            **sparse, "index": labels, "dy": floats(batch, n), "w": floats(k, n),
            "velocity": floats(k, n), "rate": 0.5, "momentum": 0.5, "weight_decay": 0.5,
        },
    }[name]  # fmt: skip


# Kernels with a second form: (batch, n) targets in the place of labels.
WITH_TARGETS = ("cross_entropy_fprop", "cross_entropy_bprop", "softmax_cross_entropy")
NAMES = (
    "matmul_nn", "matmul_nt", "matmul_nt_tanh_bprop", "matmul_tn", "linear_fprop",
    "linear_tanh_fprop", "bias_fprop", "bias_bprop", "tanh_fprop", "tanh_bprop", "softmax_fprop",
    "softmax_bprop", *WITH_TARGETS,
    "sgd_update", "momentum_update", "nesterov_update", "adam_update", "adamw_update",
    "adam_update_above",
    "next_numbers", "smoothed_cross_entropy", "scale", "gather", "sigmoid_fprop", "sigmoid_bprop",
    "relu_fprop", "relu_bprop", "log_softmax_fprop", "log_softmax_bprop", "add", "subtract",
    "multiply", "concatenate_fprop", "concatenate_bprop", "dropout_step", "dropout",
    "gaussian_noise",
    "mean_squared_error_fprop", "mean_squared_error_bprop",
    "sigmoid_cross_entropy", "poisson_loss",
    "gather_rows", "gather_labels", "next_index", "misses", "tally", "weigh", "share", "zero",
    "squares", "pixels_of", "distort", "average", "max_norm",
    "sparse_linear_fprop", "sparse_linear_tanh_fprop", "sparse_rows_fprop",
    "sparse_rows_tanh_fprop", "sparse_tn", "sparse_tn_sgd", "sparse_tn_momentum",
    "csr_linear_fprop", "csr_tn", "csr_tn_sgd", "csr_gather",
)  # fmt: skip
WRITTEN = {
    "sgd_update": ("w",), "momentum_update": ("w", "velocity"), "cross_entropy_fprop": ("losses",),
    "nesterov_update": ("w", "velocity"), "adam_update": ("w", "m", "v"),
    "adamw_update": ("w", "m", "v"), "adam_update_above": ("w", "m", "v"), "max_norm": ("w",),
    "average": ("mean",),
    "smoothed_cross_entropy": ("out", "losses"),
    "softmax_cross_entropy": ("out", "losses"), "mean_squared_error_fprop": ("losses",),
    "sigmoid_cross_entropy": ("out", "losses"), "poisson_loss": ("out", "losses"),
    "dropout_step": ("state", "key"),
    "next_index": ("position", "index"), "next_numbers": ("place", "out"),
    "tally": ("place", "history"), "pixels_of": ("strange", "images"),
    "sparse_tn_sgd": ("w",), "csr_tn_sgd": ("w",),
    "sparse_tn_momentum": ("w", "velocity"),
}  # fmt: skip
every_kernel = pytest.mark.parametrize("name", NAMES)


def calls(name):
    """Working arguments, with labels and with targets where there are both."""
    yield arguments(name)
    if name in WITH_TARGETS:
        call = arguments(name)
        first = next(iter(call.values()))
        yield call | {"labels": np.full_like(first, 0.25)}


def arrays(call):
    return {key: value for key, value in call.items() if isinstance(value, np.ndarray)}


def assert_refused(name, call, error, match):
    """The call raises an error of one line that names kernel and argument; nothing changes."""
    before = {key: value.copy() for key, value in arrays(call).items()}
    with pytest.raises(error, match=match) as raised:
        getattr(kernels, name)(*call.values())
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(f"{name}: ")
    for key, value in arrays(call).items():
        assert value.tobytes() == before[key].tobytes(), key


def test_all_kernels_are_here():
    others = {"Tape", "get_num_threads", "on_compile", "set_num_threads", "total"}
    others |= {"aligned_zeros"}
    assert set(NAMES) == set(kernels.__all__) - others


@every_kernel
def test_the_calls_work(name):
    for call in calls(name):
        getattr(kernels, name)(*call.values())


# Sizes that no other argument shares, so that any will do: (argument, axis).
FREE = {
    "zero": [("out", 0)], "share": [("weights", 0)], "next_numbers": [("table", 0)],
    "gather": [("images", 0)], "gather_rows": [("x", 0)], "gather_labels": [("labels", 0)],
    "distort": [("images", 0)],
    "next_index": [("order", 0), ("index", 0)], "misses": [("z", 1)],
    "squares": [("w", 0), ("out", 0)], "max_norm": [("w", 0), ("w", 1)],
    "tally": [("losses", 0), ("misses", 0), ("history", 0)],
    "bias_bprop": [("dy", 0)], "cross_entropy_fprop": [("p", 1)],
    "concatenate_fprop": [("out", 1)], "concatenate_bprop": [("dy", 1)],
    "sparse_linear_fprop": [("images", 0)], "sparse_linear_tanh_fprop": [("images", 0)],
    "sparse_tn": [("images", 0)], "sparse_tn_sgd": [("images", 0)],
    "sparse_tn_momentum": [("images", 0)], "csr_linear_fprop": [("w", 0)],
    "csr_tn": [("out", 0)], "csr_tn_sgd": [("w", 0)], "csr_gather": [("out", 1)],
}  # fmt: skip


@every_kernel
def test_shapes(name):
    for call in calls(name):
        for key, value in arrays(call).items():
            # Labels of another number of dimensions are read as targets, of a wrong dtype.
            kind = (TypeError, ValueError) if key == "labels" else ValueError
            wrong = [value[..., None], value.ravel() if value.ndim > 1 else value[None]]
            for axis in range(value.ndim):
                targets = call.get("labels", value).ndim == 2 and key == "p"
                if targets or (key, axis) not in FREE.get(name, ()):
                    longer = list(value.shape)
                    longer[axis] += 1
                    wrong += [
                        np.zeros(longer, value.dtype),
                        value[:0] if axis == 0 else value[:, :0],
                    ]
            for array in wrong:
                array = np.ascontiguousarray(array)
                # Where sizes disagree, either side may be called wrong.
                match = "has shape|labels has dtype|expected values"
                assert_refused(name, call | {key: array}, kind, match)


@every_kernel
def test_dtypes(name):
    for call in calls(name):
        floats = [value for value in arrays(call).values() if value.dtype == np.float32]
        for key, value in arrays(call).items():
            wrong = [np.float16, np.int32, np.complex64, bool, object, np.longdouble]
            wrong += [value.dtype.newbyteorder(), np.uint64, "M8[s]", "m8[s]", "S4", "U2", "V3"]
            wrong += [[("a", np.float32)]]
            if len(floats) > 1 or value.dtype != np.float32:  # two dtypes, or none of ours
                wrong += [np.float64]
            for dtype in wrong:
                if dtype == np.longdouble and np.longdouble(0).itemsize == 8:
                    continue  # float64 by another name
                array = np.zeros(value.shape, dtype)
                if array.dtype != value.dtype or not array.dtype.isnative:
                    assert_refused(name, call | {key: array}, TypeError, "has dtype")


@every_kernel
def test_layouts(name):
    for call in calls(name):
        for key, value in arrays(call).items():
            every_other = np.zeros((*value.shape[:-1], 2 * value.shape[-1]), value.dtype)[..., ::2]
            reverse = value[::-1]
            wrong = [every_other, reverse]
            if value.ndim == 2:
                wrong += [np.asfortranarray(value), np.ascontiguousarray(value.T).T]
                wrong += [np.zeros((value.shape[0], 9), value.dtype)[:, : value.shape[1]]]
                wrong += [np.broadcast_to(value[0], value.shape)]
            for array in wrong:
                if array.size == 1:
                    continue  # in one piece, whatever its strides say
                match = rf"{name}: {key} is not C-contiguous"
                assert_refused(name, call | {key: array}, ValueError, match)
            raw = np.zeros(value.nbytes + 1, np.uint8)
            if value.itemsize > 1:
                crooked = raw[1:].view(value.dtype).reshape(value.shape)
                match = rf"{name}: {key} is not aligned"
                assert_refused(name, call | {key: crooked}, ValueError, match)


@pytest.mark.parametrize("frozen", [False, True])
def test_byte_order_after_other_arrays(frozen):
    """Numba tells neither alignment nor byte order of arrays that are not as most are."""
    call = arguments("scale", np.float64)
    x = call["x"]
    raw = np.zeros(x.nbytes + 1, np.uint8)
    crooked = raw[1:].view(x.dtype).reshape(x.shape)
    crooked[:] = x
    swapped = x.astype(x.dtype.newbyteorder())
    for array in (x, crooked, swapped):
        array.flags.writeable = not frozen
    kernels.scale(*call.values())
    for _ in range(2):
        assert_refused("scale", call | {"x": crooked}, ValueError, "x is not aligned")
        assert_refused("scale", call | {"x": swapped}, TypeError, f"x has dtype {swapped.dtype}")
        assert_refused("scale", call | {"factor": swapped[0, 1:2].reshape(())}, TypeError, "factor")
    kernels.scale(x, 2.0, call["out"])
    assert_same_bits(call["out"], 2 * x)


@every_kernel
def test_outputs_are_writable(name):
    for call in calls(name):
        for key in WRITTEN.get(name, ("out",)):
            frozen = call[key].copy()
            frozen.flags.writeable = False
            match = f"{name}: {key} is read-only"
            assert_refused(name, call | {key: frozen}, ValueError, match)


@pytest.mark.parametrize("name", ["scale", "softmax_cross_entropy"])
def test_inputs_may_be_read_only(name):
    expected = arguments(name)
    getattr(kernels, name)(*expected.values())
    call = arguments(name)
    for key, value in arrays(call).items():
        value.flags.writeable = key in WRITTEN.get(name, ("out",))
    getattr(kernels, name)(*call.values())
    for key in WRITTEN.get(name, ("out",)):
        assert_same_bits(call[key], expected[key])


@every_kernel
def test_not_an_array(name):
    for call in calls(name):
        for key, value in arrays(call).items():
            for wrong in (None, value.tolist(), 1.0, "x", value.tobytes(), memoryview(value)):
                match = rf"{name}: {key} is \w+, expected a NumPy array"
                assert_refused(name, call | {key: wrong}, TypeError, match)
            kind = (TypeError, ValueError) if key == "labels" else ValueError
            zero_d = np.zeros((), value.dtype)
            assert_refused(name, call | {key: zero_d}, kind, "has shape|has dtype")


@every_kernel
def test_numbers(name):
    for call in calls(name):
        for key, value in call.items():
            if isinstance(value, float):
                others = np.array(1), np.array(1.0, ">f8"), np.ma.array(1.0), np.timedelta64(1)
                for wrong in (None, "1", 1j, [1.0], np.ones(1), True, *others):
                    match = rf"{name}: {key} is \w+, expected a number"
                    assert_refused(name, call | {key: wrong}, TypeError, match)
                for right in (1, np.float32(1), np.float64(1), np.int64(1)):
                    getattr(kernels, name)(*(call | {key: right}).values())


@every_kernel
def test_number_of_arguments(name):
    for call in calls(name):
        values = list(call.values())
        for wrong in (values[:-1], [*values, values[0]], []):
            with pytest.raises(TypeError, match="argument"):
                getattr(kernels, name)(*wrong)


INDICES = {
    "gather": ("index", 7), "sparse_linear_fprop": ("index", 7),
    "concatenate_fprop": ("columns", MORE), "concatenate_bprop": ("columns", MORE),
}  # fmt: skip


@pytest.mark.parametrize("name", [*WITH_TARGETS, *INDICES])
def test_labels_are_in_range(name):
    key, bound = INDICES.get(name, ("labels", 4))
    for wrong in (-1, bound, bound + 1, -(2**63), 2**63 - 1, 2**32):
        for place in (0, -1):
            call = arguments(name)
            call[key] = call[key].copy()
            call[key][place] = wrong
            match = rf"{name}: {key} holds {wrong}, expected values in 0 .. {bound - 1}"
            assert_refused(name, call, ValueError, match)
    for right in (0, bound - 1):
        call = arguments(name)
        call[key] = np.full_like(call[key], right)
        getattr(kernels, name)(*call.values())


@pytest.mark.parametrize("name", WITH_TARGETS)
def test_without_classes_no_label_is_right(name):
    call = arguments(name)
    first = next(iter(call))
    call[first] = np.zeros((5, 0), np.float32)
    if "out" in call:
        call["out"] = np.zeros((5, 0), np.float32)
    assert_refused(name, call, ValueError, "labels holds")


def overlapping(name, call, key, written, offset):
    """The call with the arrays `key` and `written` in one buffer, `offset` bytes apart."""
    x, out = call[key], call[written]
    buffer = np.zeros(x.nbytes + out.nbytes + abs(offset) + 64, np.uint8)
    start = max(0, -offset)
    views = {}
    for which, array, at in ((key, x, start), (written, out, start + offset)):
        views[which] = buffer[at : at + array.nbytes].view(array.dtype).reshape(array.shape)
        views[which][...] = array
    views[key][...] = x  # labels stay in range
    return call | views


INPLACE = {
    "weigh": ("x",),
    "bias_fprop": ("x",), "tanh_fprop": ("x",), "tanh_bprop": ("y", "dy"), "scale": ("x",),
    "softmax_fprop": ("x",), "softmax_bprop": ("y", "dy"), "cross_entropy_bprop": ("p",),
    "sigmoid_fprop": ("x",), "sigmoid_bprop": ("y", "dy"), "relu_fprop": ("x",),
    "relu_bprop": ("y", "dy"), "log_softmax_fprop": ("x",), "log_softmax_bprop": ("y", "dy"),
    "add": ("a", "b"), "subtract": ("a", "b"), "multiply": ("a", "b"), "dropout": ("x",),
    "gaussian_noise": ("x",),
    "mean_squared_error_bprop": ("z", "t"),
}  # fmt: skip


@every_kernel
def test_overlap(name):
    """Outputs share no byte with inputs or other outputs; or all of them, where that is allowed."""
    for form in range(len(list(calls(name)))):
        for written in WRITTEN.get(name, ("out",)):
            for key in arrays(list(calls(name))[form]):
                if key == written:
                    continue
                call = list(calls(name))[form]
                size = call[key].dtype.itemsize * call[written].dtype.itemsize
                inside = min(size, call[written].nbytes // 2)
                inside -= inside % max(call[key].itemsize, call[written].itemsize)
                for offset in (inside, -inside) if inside else ():
                    wrong = overlapping(name, call, key, written, offset)
                    if min(wrong[key].nbytes, wrong[written].nbytes) <= inside:
                        continue
                    before = {k: v.copy() for k, v in arrays(wrong).items()}
                    with pytest.raises(ValueError, match=r"overlaps|holds"):
                        getattr(kernels, name)(*wrong.values())
                    for k, value in arrays(wrong).items():
                        assert value.tobytes() == before[k].tobytes()
                same = overlapping(name, call, key, written, 0)
                if key in INPLACE.get(name, ()):
                    getattr(kernels, name)(*same.values())
                else:
                    with pytest.raises(ValueError, match=r"overlaps|holds"):
                        getattr(kernels, name)(*same.values())


@every_kernel
def test_neighbours_do_not_overlap(name):
    """Arrays that touch are apart."""
    call = arguments(name)
    for written in WRITTEN.get(name, ("out",)):
        for key in arrays(call):
            if key != written:
                after = call[key].nbytes + -call[key].nbytes % 8
                getattr(kernels, name)(*overlapping(name, call, key, written, after).values())
                before = -(call[written].nbytes + -call[written].nbytes % 8)
                getattr(kernels, name)(*overlapping(name, call, key, written, before).values())


class Own(np.ndarray):
    """A subclass that may do anything."""


@every_kernel
def test_subclasses_of_arrays(name):
    """They mean something else by an element or a shape: a mask would be ignored."""
    for call in calls(name):
        for key, value in arrays(call).items():
            for kind in (np.ma.MaskedArray, np.recarray, Own, *[np.matrix] * (value.ndim == 2)):
                match = rf"{name}: {key} is {kind.__name__}, a subclass of arrays"
                assert_refused(name, call | {key: value.view(kind)}, TypeError, match)


@every_kernel
@pytest.mark.parametrize("dims", [9] if PLAIN else [9, 32, 33, 64])
def test_dimensions(name, dims):
    for call in calls(name):
        for key, value in arrays(call).items():
            many = value.reshape(value.shape + (1,) * (dims - value.ndim))
            match = rf"{name}: {key} has (shape|{dims} dimensions, expected at most 8)|has dtype"
            kind = (TypeError, ValueError) if key == "labels" else ValueError
            assert_refused(name, call | {key: many}, kind, match)


def test_eight_dimensions():
    for name in ("adam_update", "dropout"):
        expected, call = arguments(name), arguments(name)
        x = next(iter(call))
        for key, value in arrays(call).items():
            if value.shape == call[x].shape and key != x:
                call[key] = value.reshape(5, 1, 2, 1, 1, 2, 1, 1)
        call[x] = call[x].reshape(5, 1, 2, 1, 1, 2, 1, 1)
        for values in (expected, call):
            getattr(kernels, name)(*values.values())
        for key in WRITTEN.get(name, ("out",)):
            assert_same_bits(call[key].reshape(5, 4), expected[key])


def test_numbers_do_not_lie_in_outputs():
    """Else an output would change the number while other elements wait for it."""
    seen = 0
    for name in NAMES:
        for call in calls(name):
            for key, value in call.items():
                for written in WRITTEN.get(name, ("out",)) if isinstance(value, float) else ():
                    bytes_of_it = call[written].reshape(-1).view(np.uint8)
                    inside = bytes_of_it[-8:] if bytes_of_it.nbytes % 8 == 0 else bytes_of_it[:8]
                    number = inside.view(np.float64).reshape(())
                    match = rf"{name}: {written} overlaps {key} in memory"
                    assert_refused(name, call | {key: number}, ValueError, match)
                    with kernels.Tape():
                        assert_refused(name, call | {key: number}, ValueError, match)
                    seen += 1
    assert seen > 40


def test_a_number_in_odd_places():
    raw = np.zeros(9, np.uint8)
    call = arguments("scale") | {"factor": raw[1:].view(np.float64).reshape(())}
    assert_refused("scale", call, ValueError, "scale: factor is not aligned")
    call = arguments("scale")
    x = np.array([call["x"].ravel()], np.float64)
    out = np.zeros_like(x)
    kernels.scale(x, x[0, 1:2].reshape(()), out)  # among inputs it is as good as anywhere
    assert_same_bits(out, x * x[0, 1])


def test_a_tape_looks_again():
    """Labels and indices stay in the caller's memory, and may change after they were recorded."""
    seen = set()
    for name in NAMES:
        call = arguments(name)
        with kernels.Tape() as tape:
            getattr(kernels, name)(*call.values())
        ((kernel, _),) = tape.calls
        for key in [one.name for one in kernel.signature.arguments if one.bound]:
            assert tape.run() == 1
            right = call[key].copy()
            before = {k: value.copy() for k, value in arrays(call).items() if k != key}
            for wrong in (-1, 7, 10**12, -(2**63), 2**63 - 1):
                call[key][-1] = wrong
                with pytest.raises(ValueError, match=rf"{name}: {key} holds {wrong}, expected"):
                    tape.run(3)
            for k, value in before.items():
                assert value.tobytes() == call[k].tobytes()
            call[key][:] = right
            assert tape.run() == 1
            seen.add(name)
    assert len(seen) > 12


BATCH = 64


def shared_calls(dtype):
    """Calls that write to `out` what `places`, which are in range, would not survive."""
    rng = np.random.default_rng(1)
    n, k = 6, 5

    def big(*shape):
        return rng.uniform(1, 2, shape).astype(dtype)

    images, values = rng.integers(1, 9, (n, k), np.uint8), np.arange(256).astype(dtype)
    huge = np.full(n, 2**62 + 2**40)
    yield "gather", (images, "places", big(BATCH, k)), 2
    yield "gather_rows", (big(n, k), "places", big(BATCH, k)), 2
    still = np.array([1, 2, k]), 0, 1, 0, 0, 0, 0
    yield "distort", (images, "places", *still, np.zeros((BATCH, k), np.uint8)), 9
    yield "gather_labels", (huge, "places", np.zeros(BATCH, int)), 2
    yield "concatenate_fprop", (big(k, BATCH), "places", big(k, n)), 2
    yield "concatenate_bprop", (big(k, n), "places", big(k, BATCH)), 2
    yield "misses", (big(BATCH, n), "places", big(BATCH)), 2
    yield "cross_entropy_fprop", (big(BATCH, n) / 4, "places", big(BATCH)), 2
    yield "cross_entropy_bprop", (big(BATCH, n), "places", 1e9, big(BATCH, n)), 3
    yield "softmax_cross_entropy", (big(BATCH, n), "places", 1e9, big(BATCH, n), big(BATCH)), 3
    yield "smoothed_cross_entropy", (big(BATCH, n), "places", 0, 9, big(BATCH, n), big(BATCH)), 4
    sparse = images, values, "places"
    yield "sparse_linear_fprop", (*sparse, big(k, n), big(n), big(BATCH, n)), 5
    yield "sparse_tn", (*sparse, big(BATCH, n), big(k, n)), 4
    yield "sparse_tn_sgd", (*sparse, big(BATCH, n), big(k, n), 1e9), 4


@pytest.mark.parametrize("dtype", FLOATS)
def test_places_that_change_during_a_call(dtype, tmp_path):
    """A file mapped twice is as good as another thread: no check before the call is enough."""
    seen = 0
    kernels.set_num_threads(1)
    for name, call, out in shared_calls(dtype):
        path = tmp_path / name
        path.write_bytes(bytes(2**14))
        places = np.memmap(path, np.int64, "r+", shape=BATCH)
        places[:] = np.arange(BATCH)[::-1] % 6
        written = np.memmap(path, call[out].dtype, "r+", shape=call[out].shape)
        args = [places if isinstance(x, str) else x for x in call]
        args[out] = written
        getattr(kernels, name)(*args)
        seen += not (0 <= places.min() <= places.max() < 6)
    assert seen > 10


@pytest.mark.parametrize(
    "losses",
    [
        [1, 2], None, 1.0, np.ones((2, 2)), np.ones(()), np.ones(4)[::2], np.ones(2, int),
        np.ones(2, ">f8"), np.ones(2, "M8[s]"), np.ones(2, [("a", "f4")]), np.ma.ones(2),
        np.ones((1, 1)).view(np.matrix), np.ones((1,) * 33), np.ones(2, object), np.ones(2, "e"),
    ],
)  # fmt: skip
def test_total_of_what_is_no_vector(losses):
    with pytest.raises((TypeError, ValueError), match=r"^total: losses [^\n]*$"):
        kernels.total(losses)
    with pytest.raises(TypeError, match="missing a required argument: 'losses'"):
        kernels.total()
    assert kernels.total(losses=np.ones(3)) == 3


def test_public_names_that_are_no_kernels():
    """What they do not take is one line, too."""
    stop = np.zeros(2, np.int64)
    unaligned = np.zeros(9, np.uint8)[1:].view(np.int64)
    for wrong in ([0], 0, np.ma.array(stop), "x", (0,)):
        with pytest.raises(TypeError, match=r"^stop is \w+, expected an int64 array$"):
            kernels.Tape(wrong)
    for wrong in (stop[:0], stop[0:1].reshape(()), stop[None], stop * 1.0, stop.astype(">i8")):
        with pytest.raises(ValueError, match=r"^stop: .*expected at least one int64$"):
            kernels.Tape(wrong)
    with pytest.raises(ValueError, match="stop is not aligned"):
        kernels.Tape(unaligned)
    for wrong in (None, -1, 1.0, "1", True, np.ones(2)):
        with pytest.raises(ValueError, match=r"^times is .*expected an integer of at least 0$"):
            kernels.Tape().run(wrong)
    for wrong in (3, None, (-1,), (1.0,), "ab", [2], (2, None)):
        with pytest.raises(TypeError, match=r"^aligned_zeros: shape is .*expected a tuple"):
            kernels.aligned_zeros(wrong, np.float32)
    with pytest.raises(TypeError, match=r"^aligned_zeros: dtype is object"):
        kernels.aligned_zeros((2,), object)
    with pytest.raises(TypeError, match=r"^callback is NoneType, expected a function"):
        kernels.on_compile(None)


def test_mapped_files(tmp_path):
    """A memory-mapped file is an array like any other."""
    x = np.memmap(tmp_path / "x", np.float32, "w+", shape=(3, 5))
    x[:] = 2
    out = np.empty((3, 5), np.float32)
    kernels.scale(x, 2.0, out)
    assert (out == 4).all()


@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_size_in_digits(size):
    with pytest.raises(ValueError, match=rf"state has shape \({size},\), expected \(2,\)"):
        kernels.dropout_step(np.zeros(size, np.int64), np.zeros(3, np.int64))


def test_grammar():
    signature = Signature("w!(...), images:uint8(n,pixels), index(batch)<n, rate -> out(batch,1)")
    names = [argument.name for argument in signature.arguments]
    assert names == ["w", "images", "index", "rate", "out"]
    w, images, index, rate, out = signature.arguments
    assert (w.output, images.output, out.output) == (True, False, True)
    assert (w.dtype, images.dtype, index.dtype) == (None, np.uint8, np.int64)
    assert (w.dims, rate.dims, index.bound) == (("...",), None, "n")
    assert signature.arrays == [w, images, index, out]
    compile(signature.source("({},)", "trampoline(core, args)"), "entry", "exec")


@pytest.mark.parametrize(
    "text", ["x(n, out(n)", "x(n) y(n) -> out(n)", "x(n)), b -> out(n)", "-> "]
)
def test_a_misspelt_signature(text):
    with pytest.raises(ValueError, match="cannot read"):
        Signature(text)


def test_arguments_are_positional():
    x = np.ones(3)
    with pytest.raises(TypeError, match=r"^scale: arguments are positional: x\(\.\.\.\), factor"):
        kernels.scale(x, factor=2, out=x)


def test_predicates():
    """What entries check in compiled code, as plain functions."""
    aligned, below, apart, apart_or_same = (
        getattr(PREDICATES[name], "py_func", PREDICATES[name])
        for name in ("aligned", "below", "apart", "apart_or_same")
    )
    assert aligned(16, 4, 8)
    assert aligned(17, 0, 8)
    assert not aligned(20, 8, 8)
    assert below(np.array([0, 2]), 3)
    assert below(np.array([], np.int64), 0)
    assert not below(np.array([0, 3]), 3)
    assert not below(np.array([-1]), 3)
    for x, out, expected in [(0, 8, True), (8, 0, True), (0, 7, False), (7, 0, False)]:
        assert apart(x, 8, out, 8) == expected
        assert apart_or_same(x, 8, out, 8) == expected
    assert not apart(0, 8, 0, 8)
    assert apart_or_same(0, 8, 0, 8)
