"""Checkpoints: a network, and the state of a training, in one safetensors file.

The weights have the names of the parameters, so that other programs find them:
`safetensors.torch.load_file(path)["0.w"]`. Beside them are the states of modules and, under
"training.", what the training needs to go on. The metadata, in JSON, say how the modules are
connected, and all else. A SHA-256 over everything tells whether the file has changed.
If another program has changed weights, bring them in through a network of the same modules:

    arrays = safetensors.numpy.load_file("edited.safetensors")
    for parameter in net.parameters():
        parameter.value[...] = arrays[parameter.name]
    save("net.safetensors", net)

A new file is written beside the old one, flushed to the disk and renamed. So the old one or the new
one is there, whole, whenever the process or the machine dies.
"""

import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from jitprop.training.files import AnyPath, FileError, check_writable, write_bytes
from jitprop.training.settings import Settings

if TYPE_CHECKING:  # these load numba, which writing and reading arrays does not need
    from jitprop.layers import Module
    from jitprop.training.loop import Training

Array = npt.NDArray[Any]

FORMAT = "jitprop 1"
TRAINING = "training."
DTYPES = {
    "F32": "float32",
    "F64": "float64",
    "BOOL": "bool",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
}


class CheckpointError(FileError):
    """A checkpoint cannot be written, read or used; the message, one line, names the file."""


@dataclass(frozen=True)
class Checkpoint:
    """The content of a file.

    Attributes
    ----------
    path : path
        The file.
    arrays : dict of arrays
        Parameters and states of the network, by name.
    graph : list of dict
        How the modules are connected, see `jitprop.layers.blueprint`.
    settings : dict or None
        Those of the training, by name; None if only a network was saved.
    training_arrays : dict of arrays
    record : dict or None
        Both hold the state of the training, see `Training`.
    about : dict
        The other arguments of `save`.
    versions : dict of str
        Those of the programs that wrote the file.
    pixels : bool or None
        Whether the network takes bytes for pixels, see `Module`; None in files of older versions.
    """

    path: AnyPath
    arrays: dict[str, Array]
    graph: list[dict[str, Any]]
    settings: dict[str, Any] | None
    training_arrays: dict[str, Array]
    record: dict[str, Any] | None
    about: dict[str, Any]
    versions: dict[str, str]
    pixels: bool | None = None

    def net(self) -> "Module":
        """Return the network, built anew.

        Raises
        ------
        CheckpointError
            It has a module of your own: build the network by hand and use `restore`.
        """
        from jitprop.layers import blueprint

        sizes = {name: array.size for name, array in self.arrays.items()}
        try:
            net = blueprint.build(self.graph, sizes)
        except ValueError as error:
            raise CheckpointError(self.path, f"cannot build its network: {error}") from None
        self.restore(net)
        return net

    def restore(self, net: "Module") -> None:
        """Give a network of the same modules the weights and states.

        Raises
        ------
        CheckpointError
            Its arrays have other names, shapes or dtypes; the network stays as it is.
        """
        own = _of_network(self.path, net)
        self._expect(self.arrays, own)
        _copy(self.arrays, own)
        net.pixels = self.pixels

    def resume(self, training: "Training") -> None:
        """Put a new training, made with the same arguments, into the state of the saved one.

        The number of epochs may be another, but not with early stopping.

        Raises
        ------
        CheckpointError
            Something does not fit.
        """
        if self.settings is None or self.record is None:
            raise CheckpointError(self.path, "holds a network, but no training to go on with")
        ours = _plain(asdict(training.settings))
        # Early stopping ends with the best weights; training cannot go on from these.
        free = () if training.settings.early_stopping else ("epochs",)
        for name in sorted(ours.keys() | self.settings.keys()):
            # A file older than a setting was trained with its default.
            saved, given = self.settings.get(name, getattr(Settings, name, None)), ours.get(name)
            if name not in free and saved != given:
                raise CheckpointError(self.path, f"trained with {name} {saved}, not {given}")
        given = training.net.pixels
        if (self.pixels is False) != (given is False):
            raise CheckpointError(self.path, f"trained with pixels {self.pixels}, not {given}")
        own = _of_network(self.path, training.net)
        self._expect(self.arrays, own)
        try:
            training.restore(self.training_arrays, self.record)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            message = f"its training does not fit: {type(error).__name__}: {error}"
            raise CheckpointError(self.path, message) from None
        _copy(self.arrays, own)

    def _expect(self, found: dict[str, Array], expected: dict[str, Array]) -> None:
        """Raise CheckpointError unless there are arrays of these names, shapes and dtypes."""
        for names, what in ((expected, "missing"), (found, "surplus")):
            others = found if names is expected else expected
            for name in names:
                if name not in others:
                    raise CheckpointError(self.path, f"{what} array {name}")
        for name, array in found.items():
            here, there = (f"{a.dtype} of shape {a.shape}" for a in (expected[name], array))
            if here != there:
                raise CheckpointError(self.path, f"{name} is {there}, expected {here}")


def save(path: AnyPath, net: "Module", training: "Training | None" = None, **about: Any) -> None:
    """Write a network, and the state of its training, to a file, which is replaced at once.

    Parameters
    ----------
    path : path
        The file.
    net : Module
        The network.
    training : Training or None
        A training of this network, for `resume`.
    **about
        Anything else that JSON can hold.

    Raises
    ------
    CheckpointError
        The file cannot be written, or weights are not finite; an old file then stays as it is.
    TypeError
        `net` is not a module.
    """
    from jitprop.layers import Module, blueprint
    from jitprop.layers.node import what
    from jitprop.training.metrics import versions

    if not isinstance(net, Module):
        raise TypeError(f"net is {what(net)}, expected a module such as Sequential(...)")
    arrays = _of_network(path, net)
    _expect_finite(path, arrays)
    parts: dict[str, Any] = {"graph": blueprint.describe(net), "versions": versions()}
    if training is not None:
        arrays |= {TRAINING + name: array for name, array in training.arrays().items()}
        parts |= {"settings": asdict(training.settings), "training": training.record()}
    if net.pixels is not None:
        parts["pixels"] = net.pixels
    write(path, arrays, _texts(path, about) | {n: json.dumps(part) for n, part in parts.items()})


def _texts(path: AnyPath, about: dict[str, Any]) -> dict[str, str]:
    """Return notes in the form of the file; raise CheckpointError if JSON cannot hold one."""
    for name, value in about.items():
        try:
            json.dumps(value, default=_item)
        except (TypeError, ValueError, RecursionError) as error:
            raise CheckpointError(path, f"the note {name} cannot be kept: {error}") from None
    return {"about": json.dumps(about, default=_item)}


def _item(value: Any) -> Any:
    """Return a NumPy number as a plain one."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is nothing that JSON has")


def load(path: AnyPath) -> "Module":
    """Return the network in a file, built anew.

    Raises
    ------
    CheckpointError
        The file is not as `save` wrote it, or has a module of your own.
    """
    return read(path).net()


def resume(path: AnyPath, training: "Training") -> None:
    """Put a new training, made with the same arguments, into the state of the saved one.

    It goes on to the same bits as a training that never stopped. The number of epochs may differ,
    but not with early stopping.

    Raises
    ------
    CheckpointError
        Something does not fit, or the file is not as `save` wrote it.
    """
    read(path).resume(training)


def read(path: AnyPath) -> Checkpoint:
    """Return the content of a file.

    Raises
    ------
    CheckpointError
        The file is not as `save` wrote it.
    """
    arrays, metadata = read_arrays(path)
    try:
        parts = {name: json.loads(text) for name, text in metadata.items()}
    except (ValueError, RecursionError):
        raise CheckpointError(path, "broken metadata") from None
    kinds: dict[str, type] = {"graph": list, "versions": dict, "about": dict}
    if "training" in parts or "settings" in parts:
        kinds |= {"settings": dict, "training": dict}
    if "pixels" in parts:
        kinds["pixels"] = bool
    for name, kind in kinds.items():
        if not isinstance(parts.get(name), kind):
            raise CheckpointError(path, f"broken metadata: {name}")
    network = {name: a for name, a in arrays.items() if not name.startswith(TRAINING)}
    _expect_finite(path, network)
    return Checkpoint(
        path,
        network,
        parts["graph"],
        parts.get("settings"),
        {name.removeprefix(TRAINING): a for name, a in arrays.items() if name not in network},
        parts.get("training"),
        parts["about"],
        parts["versions"],
        parts.get("pixels"),
    )


def check_savable(path: AnyPath, **about: Any) -> None:
    """Check that `save` can write these notes to `path`; a file there stays as it is.

    Raises
    ------
    CheckpointError
        `path` cannot be written, or JSON cannot hold a note.
    """
    _texts(path, about)
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise CheckpointError(path, "not a file")
        check_writable(path)
    except OSError as error:
        raise CheckpointError(path, error.strerror) from None


def write(path: AnyPath, arrays: dict[str, Array], metadata: dict[str, str]) -> None:
    """Write arrays and texts to a file, which is replaced at once; or raise CheckpointError."""
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    for name, array in arrays.items():
        if str(array.dtype) not in DTYPES.values():
            raise CheckpointError(path, f"not saved: {name} is {array.dtype}")
    metadata = {**metadata, "format": FORMAT}
    data = safetensors.numpy.save(arrays, {**metadata, "sha256": _digest(arrays, metadata)})
    try:
        write_bytes(path, data)
    except OSError as error:
        raise CheckpointError(path, f"not saved: {error.strerror or error}") from None


def read_arrays(path: AnyPath) -> tuple[dict[str, Array], dict[str, str]]:
    """Return what `write` wrote; raise CheckpointError if the file has changed.

    It takes as much memory as the file is long, whatever the file claims.
    """
    try:
        _look_at_header(path)
        with safetensors.safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            if not metadata.get("format", "").startswith(FORMAT.split()[0]):
                raise CheckpointError(path, "a safetensors file, but no checkpoint of jitprop")
            if metadata["format"] != FORMAT:
                message = f"a checkpoint of format {metadata['format']!r}, expected {FORMAT!r}"
                raise CheckpointError(path, message)
            arrays = {}
            for name in sorted(file.keys()):
                if file.get_slice(name).get_dtype() not in DTYPES:
                    raise CheckpointError(path, f"{name} is {file.get_slice(name).get_dtype()}")
                arrays[name] = file.get_tensor(name)
    except OSError as error:
        raise CheckpointError(path, error.strerror or error) from None
    except safetensors.SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        raise CheckpointError(path, f"truncated, damaged or no safetensors: {reason}") from None
    if metadata.pop("sha256", None) != _digest(arrays, metadata):
        message = (
            "damaged, or edited by another program: its SHA-256 is not that of its content; to use "
            "edited weights, copy safetensors.numpy.load_file(path)[p.name] into p.value for each "
            "p of net.parameters() of a network of the same modules, and save that"
        )
        raise CheckpointError(path, message)
    del metadata["format"]
    return arrays, metadata


def _look_at_header(path: AnyPath) -> None:
    """Raise, before anything is read, if the header is shorter than the file claims."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait
        raise CheckpointError(path, "not a file")
    with open(path, "rb") as file:
        rest = os.fstat(file.fileno()).st_size - 8
        header = int.from_bytes(file.read(8), "little")
    if header > rest:
        message = "truncated, damaged or no safetensors"
        if rest >= 0:
            message += f": it claims a header of {header} bytes and has {rest}"
        raise CheckpointError(path, message)


def _digest(arrays: dict[str, Array], metadata: dict[str, str]) -> str:
    """Return the SHA-256, in hexadecimal, over names, dtypes, shapes, content and metadata."""
    names = sorted(arrays)
    about = [(name, str(arrays[name].dtype), arrays[name].shape) for name in names]
    digest = hashlib.sha256(json.dumps([sorted(metadata.items()), about]).encode())
    for name in names:
        if arrays[name].size:
            digest.update(arrays[name].data)
    return digest.hexdigest()


def _of_network(path: AnyPath, net: "Module") -> dict[str, Array]:
    """Return the parameters and states of a network by name."""
    from jitprop.layers.blueprint import owned

    arrays: dict[str, Array] = {}
    for one in owned(net):
        if one.name in arrays or one.name.startswith(TRAINING):
            raise CheckpointError(path, f"{net!r} has a second array named {one.name}")
        arrays[one.name] = one.value
    return arrays


def _expect_finite(path: AnyPath, arrays: dict[str, Array]) -> None:
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise CheckpointError(path, f"{name} has values that are NaN or infinite")


def _copy(found: dict[str, Array], own: dict[str, Array]) -> None:
    for name, array in own.items():
        array[...] = found[name]


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back: tuples become lists."""
    return json.loads(json.dumps(value))
