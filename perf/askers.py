"""A process that asks one library's network: `python -m perf.askers LIBRARY THREADS DTYPE`.

It reads pickled requests from stdin and answers on stdout, as `perf.worker` does:

    ("prepare", name, parameters, x, seconds)
        make the network of these weights and biases, w, b, w, b, ask it `x` once, choose how many
        calls take `seconds`; the answer is what the network gave
    ("measure", name)
        the answer is seconds per call
    ("release",)
        forget all

The network is linear layers with a tanh between. Each library gets its arguments as its users have
them: arrays of NumPy, or tensors for PyTorch, which also returns tensors.
"""

import gc
import importlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from perf import trainers, worker
from perf.providers import OURS

Arrays = list[np.ndarray]


class Jitprop(worker.Jitprop):
    """Ours: the call of a `Predictor`."""

    def asker(self, parameters: Arrays, x: np.ndarray) -> Callable[[], Any]:
        from jitprop.training import Predictor, mlp

        weights = parameters[::2]
        net = mlp(len(weights[0]), [w.shape[1] for w in weights[:-1]], weights[-1].shape[1])
        for own, given in zip(net.parameters(), parameters, strict=True):
            own.value[...] = given
        net.pixels = x.dtype == np.uint8  # as `fit` leaves it
        ask = Predictor(net)
        return lambda: ask(x)


class Numpy(worker.Numpy):
    def asker(self, parameters: Arrays, x: np.ndarray) -> Callable[[], Any]:
        w1, b1, w2, b2 = parameters
        return lambda: np.tanh(x @ w1 + b1) @ w2 + b2


class Torch(trainers.Torch):
    """The network of `perf.trainers`."""

    def asker(self, parameters: Arrays, x: np.ndarray) -> Callable[[], Any]:
        net, given = self.sequential(parameters).eval(), self.library.from_numpy(x)
        return lambda: net(given)


class OnnxRuntime(worker.Numpy):
    """A graph for any number of rows, as exporters write it; threads spin, as by default."""

    name = "onnxruntime"

    def __init__(self, threads: int):
        super().__init__(threads)
        self.onnx = importlib.import_module("onnx")
        self.options = self.library.SessionOptions()
        self.options.intra_op_num_threads = threads

    def describe(self) -> str:
        return f"onnxruntime {self.library.__version__}"

    def asker(self, parameters: Arrays, x: np.ndarray) -> Callable[[], Any]:
        model = self.model(parameters).SerializeToString()
        session = self.library.InferenceSession(
            model, self.options, providers=["CPUExecutionProvider"]
        )
        return lambda: session.run(None, {"x": x})[0]

    def model(self, parameters: Arrays) -> Any:
        helper, number = self.onnx.helper, self.onnx.TensorProto.FLOAT
        w1, _, w2, _ = parameters
        names = ("w1", "b1", "w2", "b2")
        graph = helper.make_graph(
            [
                helper.make_node("Gemm", ["x", "w1", "b1"], ["a"]),
                helper.make_node("Tanh", ["a"], ["h"]),
                helper.make_node("Gemm", ["h", "w2", "b2"], ["y"]),
            ],
            "mlp",
            [helper.make_tensor_value_info("x", number, ["rows", len(w1)])],
            [helper.make_tensor_value_info("y", number, ["rows", w2.shape[1]])],
            [
                self.onnx.numpy_helper.from_array(array, name)
                for array, name in zip(parameters, names, strict=True)
            ],
        )
        opset = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opset, ir_version=9)


LIBRARIES: dict[str, Any] = {
    OURS: Jitprop,
    "onnxruntime": OnnxRuntime,
    "torch": Torch,
    "numpy": Numpy,
}


def mode(library) -> AbstractContextManager:
    """The context of all calls; the time does not include entering it."""
    return library.library.inference_mode() if library.name == "torch" else nullcontext()


def answer(library, prepared: dict[str, worker.Timed], request: tuple):
    kind, *arguments = request
    if kind == "measure":
        with mode(library):
            return prepared[arguments[0]].measure()
    if kind == "release":
        prepared.clear()
        gc.collect()
        return None
    name, parameters, x, seconds = arguments
    one = worker.Timed(library.asker(parameters, x))
    with mode(library):
        result = np.array(library.array(one.call()))
        one.choose_repeats(seconds)
    prepared[name] = one
    return result


def main() -> None:
    name, threads = sys.argv[1], int(sys.argv[2])
    prepared: dict[str, worker.Timed] = {}
    worker.serve(
        lambda: LIBRARIES[name](threads),
        lambda library, request: answer(library, prepared, request),
    )


if __name__ == "__main__":
    main()
