"""A process that trains with one library: `python -m perf.trainers LIBRARY THREADS DTYPE`.

It reads pickled requests from stdin and answers on stdout, as `perf.worker` does:

    ("prepare", images, batch, rate, parameters)
        make the network of these weights and biases, w, b, w, b, ..., and let it learn once from
        the first `images` training images; the answer is its parameters after that
    ("measure",)
        the answer is the seconds of a pass over these images in a new order
    ("start", batch, rate, parameters)
        the answer is the seconds from calling `fit` to the end of its first batch; ours alone

The network is linear layers with a tanh between each two. The loss is the mean cross-entropy of
each batch, the rule is plain gradient descent. Each library gets what its users would give it:
float32 images divided by 255, in memory. Only ours takes the bytes, and divides as it gathers.
"""

import gc
import sys
import time
import warnings
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from jitprop.data import load_dataset
from perf import worker
from perf.providers import DENSE, OURS

CLASSES = 10
Arrays = list[np.ndarray]


class Stop(Exception):
    """The first batch is done."""


class Jitprop(worker.Jitprop):
    """Ours: `jitprop.training.fit`, which says how many seconds each epoch took."""

    input = "auto"

    def build(self, images, labels, batch: int, rate: float, parameters: Arrays) -> None:
        from jitprop import training
        from jitprop.layers import SoftmaxCrossEntropy

        weights = parameters[::2]
        self.net = training.mlp(len(weights[0]), [w.shape[1] for w in weights[:-1]], CLASSES)
        for own, given in zip(self.net.parameters(), parameters, strict=True):
            own.value[...] = given
        self.train = partial(
            training.fit,
            self.net,
            SoftmaxCrossEntropy(),
            images,
            labels,
            batch_size=batch,
            rate=rate,
            input=self.input,
        )
        self.rng = np.random.default_rng(0)

    def learn(self) -> float:
        return self.train(epochs=2, rng=self.rng)[-1].train_seconds

    def parameters(self) -> Arrays:
        return [parameter.value for parameter in self.net.parameters()]

    def start(self) -> float:
        def stop(*_) -> None:
            raise Stop

        start = time.perf_counter()
        with suppress(Stop):
            self.train(epochs=1, rng=self.rng, on_batch=stop)
        return time.perf_counter() - start


class Dense(Jitprop):
    input = "dense"


class Peer:
    """A library that passes over the images on command; this class holds the clock."""

    def learn(self) -> float:
        self.epoch()  # fills the caches again, and compiles
        start = time.perf_counter()
        self.epoch()
        return time.perf_counter() - start

    def epoch(self) -> None:
        raise NotImplementedError


class Torch(Peer, worker.Torch):
    """No DataLoader; the update is by hand, which takes no longer than SGD, fused or not."""

    def build(self, images, labels, batch: int, rate: float, parameters: Arrays) -> None:
        torch = self.library
        self.images = torch.from_numpy(as_floats(images))
        self.labels = torch.from_numpy(labels.astype(np.int64))
        self.batch, self.rate = batch, rate
        self.net = self.sequential(parameters)

    def sequential(self, parameters: Arrays) -> Any:
        torch = self.library
        modules: list[Any] = []
        for w, b in zip(parameters[::2], parameters[1::2], strict=True):
            linear = torch.nn.Linear(*w.shape)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(w.T.copy()))
                linear.bias.copy_(torch.from_numpy(b))
            modules += [linear, torch.nn.Tanh()]
        return torch.nn.Sequential(*modules[:-1])

    def epoch(self) -> None:
        torch = self.library
        cross_entropy = torch.nn.functional.cross_entropy
        parameters = list(self.net.parameters())
        for index in torch.randperm(len(self.images)).split(self.batch):
            x, t = self.images.index_select(0, index), self.labels.index_select(0, index)
            cross_entropy(self.net(x), t).backward()
            with torch.no_grad():
                for parameter in parameters:
                    parameter.sub_(parameter.grad, alpha=self.rate)
                    parameter.grad = None

    def parameters(self) -> Arrays:
        return [np.ascontiguousarray(p.detach().numpy().T) for p in self.net.parameters()]


class Jax(Peer, worker.Jax):
    """The whole epoch jitted, a scan over the batches of a permutation; parameters donated."""

    def build(self, images, labels, batch: int, rate: float, parameters: Arrays) -> None:
        jax = self.library
        jnp = jax.numpy
        self.images = jnp.asarray(as_floats(images))
        self.labels = jnp.asarray(labels.astype(np.int32))
        self.weights = [jnp.array(parameter) for parameter in parameters]
        self.shape = (len(images) // batch, batch)
        self.rng = np.random.default_rng(0)

        def loss(weights, x, t):
            *hidden, (w, b) = zip(weights[::2], weights[1::2], strict=True)
            for v, a in hidden:
                x = jnp.tanh(x @ v + a)
            log_p = jax.nn.log_softmax(x @ w + b)
            return -jnp.mean(jnp.take_along_axis(log_p, t[:, None], 1))

        def epoch(weights, images, labels, order):
            def step(weights, index):
                value, grads = jax.value_and_grad(loss)(weights, images[index], labels[index])
                return jax.tree.map(lambda w, dw: w - rate * dw, weights, grads), value

            return jax.lax.scan(step, weights, order)

        self.jitted = jax.jit(epoch, donate_argnums=0)

    def epoch(self) -> None:
        order = self.rng.permutation(len(self.images)).astype(np.int32).reshape(self.shape)
        done = self.jitted(self.weights, self.images, self.labels, order)
        self.weights, _ = self.library.block_until_ready(done)

    def parameters(self) -> Arrays:
        return [np.asarray(w) for w in self.weights]


class Sklearn(Peer, worker.Numpy):
    """MLPClassifier's partial_fit, one pass over shuffled images."""

    name = "sklearn"

    def describe(self) -> str:
        return f"scikit-learn {self.library.__version__}"

    def build(self, images, labels, batch: int, rate: float, parameters: Arrays) -> None:
        from sklearn.neural_network import MLPClassifier

        self.images, self.labels = as_floats(images), labels
        self.net = MLPClassifier(
            [w.shape[1] for w in parameters[:-2:2]],
            activation="tanh",
            solver="sgd",
            alpha=0.0,
            batch_size=batch,
            learning_rate_init=rate,
            momentum=0.0,
            nesterovs_momentum=False,
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one image is less than a batch
            self.net.partial_fit(self.images[:1], self.labels[:1], classes=np.arange(CLASSES))
        for own, given in zip(self.parameters(), parameters, strict=True):
            own[...] = given

    def epoch(self) -> None:
        self.net.partial_fit(self.images, self.labels)

    def parameters(self) -> Arrays:
        pairs = zip(self.net.coefs_, self.net.intercepts_, strict=True)
        return [array for pair in pairs for array in pair]


LIBRARIES: dict[str, Any] = {
    OURS: Jitprop,
    DENSE: Dense,
    "torch": Torch,
    "jax": Jax,
    "sklearn": Sklearn,
}


def as_floats(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def answer(library, dataset, request: tuple):
    kind, *arguments = request
    gc.collect()  # no collection while the clock runs
    if kind == "measure":
        return library.learn()
    count = arguments.pop(0) if kind == "prepare" else len(dataset.train_images)
    images, labels = dataset.train_images[:count], dataset.train_labels[:count]
    library.build(images, labels, *arguments)
    if kind == "start":
        return library.start()
    library.learn()
    return library.parameters()


def main() -> None:
    name, threads = sys.argv[1], int(sys.argv[2])
    dataset = load_dataset()
    worker.serve(
        lambda: LIBRARIES[name](threads), lambda library, request: answer(library, dataset, request)
    )


if __name__ == "__main__":
    main()
