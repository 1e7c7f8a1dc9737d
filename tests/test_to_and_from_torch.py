"""jitprop/interop/to_and_from_torch.py: the same numbers on both sides, and nothing shared."""

import copy

import numpy as np
import pytest
from exchanged import NETWORKS, as_tuple, random_input

import jitprop
from jitprop import (
    Dropout,
    GaussianNoise,
    Linear,
    LogSoftmax,
    Module,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
    from_torch,
    predict,
    to_torch,
    weights_sha256,
)
from jitprop.interop import to_and_from_torch

torch = pytest.importorskip("torch")
nn = torch.nn


def asked(made, x):
    """What a module of PyTorch gives in evaluation."""
    with torch.no_grad():
        found = copy.deepcopy(made).eval()(*map(torch.tensor, as_tuple(x)))
    return tuple(y.numpy() for y in as_tuple(found))


@pytest.mark.parametrize("name", NETWORKS)
def test_any_graph_to_torch(name):
    net = NETWORKS[name]()
    made = to_torch(net)
    x = random_input(net)
    found, ours = asked(made, x), predict(net, x)
    given = made(*map(torch.tensor, as_tuple(x)))
    assert isinstance(given, tuple) == isinstance(ours, tuple)
    for y, z in zip(found, as_tuple(ours), strict=True):
        assert y.dtype == z.dtype
        np.testing.assert_allclose(y, z, rtol=1e-4, atol=1e-5)
    assert sum(p.numel() for p in made.parameters()) == sum(p.value.size for p in net.parameters())
    if name not in ("one module", "a function"):
        names = {p.name.replace(".w", ".weight").replace(".b", ".bias") for p in net.parameters()}
        assert names <= made.state_dict().keys()


def chain(dtype=np.float32):
    rng = np.random.default_rng(0)
    inner = Sequential(Linear(5, 4, rng, dtype), Sigmoid(), LogSoftmax())
    net = Sequential(Linear(3, 5, rng, dtype), Tanh(), Dropout(0.25), inner, ReLU(), Softmax())
    for parameter in net.parameters():
        parameter.value[...] = rng.standard_normal(parameter.value.shape)
    inner.eval()
    net[1].eval()
    return net


def modes(made):
    return [part.training for part in made.modules() if not list(part.children())]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_chain_there_and_back(dtype):
    net = chain(dtype)
    made = to_torch(net)
    assert type(made) is nn.Sequential
    shapes = {name: tuple(value.shape) for name, value in made.state_dict().items()}
    assert shapes == {"0.weight": (5, 3), "0.bias": (5,), "3.0.weight": (4, 5), "3.0.bias": (4,)}
    assert {value.dtype for value in made.state_dict().values()} == {getattr(torch, dtype.__name__)}
    assert modes(made) == [True, False, True, False, False, False, True, True]
    back = from_torch(made)
    assert repr(back) == repr(net)
    assert weights_sha256(back) == weights_sha256(net)
    assert modes(to_torch(back)) == modes(made)
    again = to_torch(back).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in made.state_dict().items())
    x = np.random.default_rng(1).standard_normal((6, 3)).astype(dtype)
    assert predict(back, x).tobytes() == predict(net, x).tobytes()


def test_no_memory_is_shared():
    """Neither of a row nor of a column, which are as they are when they are turned."""
    for shape in ((1, 4), (4, 1), (3, 4)):
        net = Sequential(Linear(*shape, 0))
        before = weights_sha256(net)
        made = to_torch(net)
        back = from_torch(made)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter += 1
        assert weights_sha256(back) == weights_sha256(net) == before


def test_the_generator_of_pytorch_stays():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    from_torch(to_torch(chain()))
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_shared_stays_shared():
    made = to_torch(NETWORKS["tied"]())
    assert made[0].weight is made[2].weight
    assert made[0] is made[3][0]
    back = from_torch(made)
    assert weights_sha256(back) == weights_sha256(NETWORKS["tied"]())
    assert [p.name for p in back.parameters()] == ["0.w", "0.b", "2.b"]
    jitprop.gradcheck(from_torch(to_torch(chain(np.float64)).eval()).eval(), np.ones((2, 3)))


def test_of_images_and_without_bias():
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Identity(), nn.Flatten(), nn.Linear(6, 4, bias=False), nn.Softmax(dim=-1), nn.Identity()
    )
    x = np.random.default_rng(0).random((5, 2, 3)).astype(np.float32)
    net = from_torch(made)
    np.testing.assert_allclose(predict(net, x), asked(made, x)[0], rtol=1e-5)
    linear = from_torch(made[2])
    assert repr(linear) == "Linear(6, 4)"
    assert not linear.b.any()


def test_dropout_is_of_the_generator():
    made = nn.Sequential(nn.Dropout(0.5))
    x = np.ones((3, 50), np.float32)
    drops = [from_torch(made, rng=7).fprop(x).copy() for _ in range(2)]
    assert (drops[0] == drops[1]).all()
    assert 0 < np.count_nonzero(drops[0]) < x.size


def test_noise():
    """PyTorch has no such module: ours draws from PyTorch's own generator, and only in training.

    4 standard deviations.
    """
    torch.manual_seed(0)
    made, x = to_torch(Sequential(GaussianNoise(0.5))), torch.ones(100, 100, dtype=torch.float64)
    noise = made(x) - x
    assert abs(float(noise.mean())) < 4 * 0.5 / 100
    assert abs(float(noise.std()) - 0.5) < 4 * 0.5 / (100 * 2**0.5)
    assert made.eval()(x) is x


class Mine(Module):
    def fprop(self, x):
        return x

    def bprop(self, dy, need_dx=True):
        return dy


class Backwards(nn.Sequential):
    def forward(self, x):
        for part in reversed(self):
            x = part(x)
        return x


def hooked():
    made = nn.Sequential(nn.Linear(2, 2))
    made[0].register_forward_hook(lambda module, x, y: 2 * y)
    return made


REFUSED = [
    (
        lambda: nn.Sequential(nn.Tanh(), nn.Conv2d(1, 1, 1)),
        r"module\[1\] is a Conv2d, expected one",
    ),
    (lambda: nn.Sequential(nn.Tanh(), nn.Flatten()), r"module\[1\] is a Flatten, expected one at"),
    (lambda: nn.Flatten(0), "module is a Flatten, expected one at the entry"),
    (
        lambda: nn.Sequential(nn.Softmax(dim=0)),
        r"module\[0\] is a Softmax of dimension 0, expected 1",
    ),
    (
        lambda: nn.Sequential(nn.Sequential(nn.GELU())),
        r"module\[0\]\[0\] is a GELU, expected one of",
    ),
    (lambda: Backwards(nn.Tanh()), "module is a Backwards of a person's own"),
    (
        lambda: nn.Sequential(nn.Linear(2, 2).half()),
        r"module\[0\] is a Linear of float16, expected",
    ),
    (lambda: nn.Linear(2, 2, device="meta"), "module is a Linear without numbers, expected"),
    (
        lambda: nn.Dropout(1.0),
        "module is a Dropout: Dropout.1.0.: p must be at least 0 and below 1",
    ),
    (hooked, r"module\[0\] is a Linear with hooks, which would be lost"),
    (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), "ParametrizedLinear of a"),
    (lambda: "net.pt", "module is of type str, expected a torch.nn.Module"),
    (lambda: nn.Linear, "module is a class, expected a torch.nn.Module"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_what_is_refused_is_named(make, message):
    with pytest.raises(TypeError, match=f"^from_torch: .*{message}") as refused:
        from_torch(make())
    assert "\n" not in str(refused.value)


def test_a_module_of_ones_own_is_named():
    line = r"Mine\(\) \(\S+Mine\) is a module of your own, and PyTorch has none for it$"
    with pytest.raises(TypeError, match=line):
        to_torch(Sequential(Linear(2, 2), Mine()))
    with pytest.raises(TypeError, match="net is a class, expected a module"):
        to_torch(Linear)


def test_without_the_package(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(to_and_from_torch, "import_module", missing)
    for name, call in (("to_torch", to_torch), ("from_torch", from_torch)):
        with pytest.raises(
            ImportError, match=f"^{name} needs torch: https://pytorch.org/get-started"
        ):
            call(Linear(2, 2))
