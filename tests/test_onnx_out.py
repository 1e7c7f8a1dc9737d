"""jitprop/interop/onnx_out.py and the command `export`: what others compute from the files."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from exchanged import NETWORKS, as_tuple, random_input

import jitprop
from jitprop import (
    Dropout,
    Graph,
    Input,
    Linear,
    Module,
    Multiply,
    OnnxError,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
    cli,
    data,
    layers,
    predict,
    to_onnx,
)
from jitprop.cli.predict import MODEL
from jitprop.interop import onnx_file, onnx_lines
from jitprop.interop.to_and_from_torch import FUNCTIONS, KNOWN

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def answers(path, *xs):
    """What the reference and onnxruntime give, after a look at the file."""
    from onnx.reference import ReferenceEvaluator

    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    given = {one.name: x for one, x in zip(model.graph.input, xs, strict=True)}
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return ReferenceEvaluator(model).run(None, given), session.run(None, given)


def logits_and_bound(net, x):
    """The logits of Linear, ReLU, ..., Linear in float64, and how far float32 may be from them.

    A product of K terms is wrong by at most (K + 2) eps (|x| @ |w| + |b|), whatever the order of
    its terms. The error of its input goes on through |w|. ReLU makes no error larger.
    """
    eps = np.finfo(np.float32).eps
    error = np.zeros_like(x)
    for module in net:
        if not module.parameters():
            x = np.maximum(x, 0)
            continue
        w, b = (p.value.astype(np.float64) for p in module.parameters())
        rounded = (len(w) + 2) * eps * ((np.abs(x) + error) @ np.abs(w) + np.abs(b))
        x, error = x @ w + b, error @ np.abs(w) + rounded
    return x, error


def test_the_shipped_network_gives_the_same_classes(tmp_path):
    net, images = jitprop.load(MODEL), data.load_dataset().test_images
    x = images.reshape(len(images), -1) / np.float32(255)
    ours = predict(net, images)
    looked_at = slice(0, 1000)
    exact, bound = logits_and_bound(net, x[looked_at].astype(np.float64))
    for softmax in (False, True):
        to_onnx(net, tmp_path / "net.onnx", softmax)
        for (y,) in answers(tmp_path / "net.onnx", x):
            assert y.dtype == np.float32
            assert (y.argmax(axis=1) == ours.argmax(axis=1)).all()
            y = y[looked_at]
            if not softmax:
                assert (np.abs(y - exact) <= bound).all()
                assert (np.abs(y - ours[looked_at]) <= 2 * bound).all()
                assert (np.abs(y + 2 - exact) > bound).any()  # the bound says something
            else:
                # log p moves by no more than twice what the largest of the logits does.
                p = jitprop.probabilities(net, images[looked_at])
                limit = np.expm1(4 * bound.max(axis=1, keepdims=True)) + 40 * np.finfo(p.dtype).eps
                assert (np.abs(y - p) <= limit * p + np.finfo(p.dtype).tiny).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_any_graph(name, tmp_path):
    net = NETWORKS[name]()
    x = random_input(net)
    ours = as_tuple(predict(net, x))
    to_onnx(net, tmp_path / "net.onnx")
    for found in answers(tmp_path / "net.onnx", *as_tuple(x)):
        assert len(found) == len(ours)
        for y, z in zip(found, ours, strict=True):
            assert y.dtype == z.dtype
            np.testing.assert_allclose(y, z, rtol=1e-4, atol=1e-5)  # that it is the same graph
    graph = onnx.load(tmp_path / "net.onnx").graph
    kept = [
        one.name for one in graph.initializer if not one.name.endswith((".widths", ".constant"))
    ]
    assert sorted(kept) == sorted(parameter.name for parameter in net.parameters())
    assert [one.type.tensor_type.shape.dim[0].dim_param for one in graph.input] == ["batch"] * len(
        graph.input
    )
    if name == "several":
        assert [one.name for one in graph.input] == ["x0", "x1"]
        assert [one.name for one in graph.output] == [f"y{at}" for at in range(6)]
    if name == "a list of one":
        assert (graph.input[0].name, graph.output[0].name) == ("x0", "y0")


def test_double_stays_double(tmp_path):
    net = Sequential(
        Linear(4, 3, 0, np.float64), Tanh(), Multiply(0.1), Linear(3, 2, 1, np.float64)
    )
    x = random_input(net, np.float64)
    to_onnx(net, tmp_path / "net.onnx")
    for (y,) in answers(tmp_path / "net.onnx", x):
        assert y.dtype == np.float64
        np.testing.assert_allclose(y, predict(net, x), rtol=1e-13, atol=1e-15)


def operators(path):
    return [node.op_type for node in onnx.load(path).graph.node]


def test_softmax_of_logits_alone(tmp_path):
    x = Input(3)
    linear = Linear(3, 2, 0)(x)
    net = Graph(x, [linear, Softmax()(linear), Dropout(0.5)(Sigmoid()(linear)), linear, x])
    to_onnx(net, tmp_path / "net.onnx", softmax=True)
    given = random_input(net)
    for found in answers(tmp_path / "net.onnx", given):
        for y, p in zip(found, jitprop.probabilities(net, given), strict=True):
            np.testing.assert_allclose(y, p, rtol=1e-5)
    assert operators(tmp_path / "net.onnx").count("Softmax") == 3


def test_metadata(tmp_path):
    net = Sequential(Linear(2, 1, 0))
    to_onnx(net, tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    assert (model.producer_name, model.producer_version) == ("jitprop", jitprop.__version__)
    assert "divided by 255" in model.doc_string
    notes = {one.key: one.value for one in model.metadata_props}
    assert notes == {"weights_sha256": jitprop.weights_sha256(net)}
    net.pixels = False
    to_onnx(net, tmp_path / "net.onnx", seed=5)
    model = onnx.load(tmp_path / "net.onnx")
    assert "255" not in model.doc_string
    notes = {one.key: one.value for one in model.metadata_props}
    assert notes == {
        "weights_sha256": jitprop.weights_sha256(net),
        "seed": "5",
        "pixels": "false",
    }


def test_every_module_can_leave():
    public = [vars(layers)[name] for name in layers.__all__]
    modules = {one for one in public if isinstance(one, type) and issubclass(one, Module)}
    leaves = modules - {Graph, Sequential, jitprop.Activation, Module}
    assert leaves == {*onnx_lines._OPERATORS}
    assert {one.__name__ for one in leaves} == KNOWN | {*FUNCTIONS} - {"Identity"} | (
        {"Identity"} & {*layers.__all__}
    )


class Mine(Module):
    def fprop(self, x):
        return x

    def bprop(self, dy, need_dx=True):
        return dy


class Other(Tanh):
    forwards = jitprop.kernels.sigmoid_fprop


class Chain(Sequential):
    """A person's own way to build a chain."""


@pytest.mark.parametrize(("own", "name"), [(Mine, "Mine"), (Other, "Other")])
def test_a_module_of_ones_own_is_named(own, name, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_text("as it was")
    net = Sequential(Linear(2, 2, 0), Sequential(own()))
    line = (
        rf"^{name}\(\) \(test_onnx_out.{name}\) is a module of your own, and ONNX has none for it$"
    )
    with pytest.raises(TypeError, match=line):
        to_onnx(net, path)
    assert path.read_text() == "as it was"
    to_onnx(Chain(Linear(2, 2, 0), Tanh()), path)
    assert operators(path) == ["Gemm", "Tanh"]


def test_what_is_not_written(tmp_path, monkeypatch):
    net = Sequential(Linear(2, 2, 0))
    with pytest.raises(OnnxError, match=r"none/net.onnx: not written: No such file or directory$"):
        to_onnx(net, tmp_path / "none" / "net.onnx")
    with pytest.raises(TypeError, match="softmax must be True or False, not 1"):
        to_onnx(net, tmp_path / "net.onnx", softmax=1)
    with pytest.raises(TypeError, match="net is of type str, expected a module"):
        to_onnx("net.safetensors", tmp_path / "net.onnx")
    net[0].b[1] = np.nan
    with pytest.raises(OnnxError, match=r"not written: 0.b has values that are NaN or infinite$"):
        to_onnx(net, tmp_path / "net.onnx")
    x = Input(2)
    mixed = Graph([x, z := Input(2)], [Linear(2, 2)(x), Linear(2, 2, dtype=np.float64)(z)])
    with pytest.raises(
        OnnxError, match=r"linear2\.w is float64 and linear1.w float32, expected one"
    ):
        to_onnx(mixed, tmp_path / "net.onnx")
    monkeypatch.setattr(onnx_lines, "LARGEST", 20)
    with pytest.raises(OnnxError, match="not written: 24 bytes of weights, one file holds 20"):
        to_onnx(Linear(2, 2), tmp_path / "net.onnx")
    assert not [*tmp_path.iterdir()]


def test_without_the_package(tmp_path, monkeypatch, capsys):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(onnx_file, "import_module", missing)
    with pytest.raises(ImportError, match=r"ONNX files need onnx: pip install 'jitprop\[onnx\]'"):
        to_onnx(Linear(2, 2), tmp_path / "net.onnx")
    code, err = export(capsys, MODEL, tmp_path / "net.onnx")
    assert (code, len(err)) == (2, 1)
    assert err[0].endswith("error: ONNX files need onnx: pip install 'jitprop[onnx]'")


def export(capsys, *args):
    """Run the command; return its exit code and the lines of stderr."""
    try:
        code = cli.main(["export", *map(str, args)])
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    assert out == ""
    return code, err.splitlines()


def test_the_command(tmp_path, capsys):
    path = tmp_path / "net.onnx"
    assert export(capsys, MODEL, path) == (0, [])
    assert operators(path) == ["Gemm", "Relu", "Gemm", "Relu", "Gemm"]
    notes = {one.key: one.value for one in onnx.load(path).metadata_props}
    assert notes["seed"] == "0"
    before = path.read_bytes()
    line = f"jitprop export: error: argument FILE: {path} is there already: --force replaces it"
    assert export(capsys, MODEL, path, "--softmax") == (2, [line])
    assert path.read_bytes() == before
    assert export(capsys, MODEL, path, "--softmax", "--force") == (0, [])
    assert operators(path) == ["Gemm", "Relu", "Gemm", "Relu", "Gemm", "Softmax"]


def test_the_command_refuses_in_one_line(tmp_path, capsys):
    net = tmp_path / "net.safetensors"
    path = tmp_path / "net.onnx"
    said = [
        export(capsys, tmp_path / "none", path),
        export(capsys, path.parent / "test.py", tmp_path / "none" / "net.onnx"),
        export(capsys, MODEL, MODEL, "--force"),
        export(capsys, MODEL, tmp_path),
        export(capsys, MODEL, ""),
        export(capsys, MODEL),
    ]
    jitprop.save(net, Sequential(Mine()))
    said.append(export(capsys, net, path))
    net.write_bytes(net.read_bytes()[:-1])
    said.append(export(capsys, net, path))
    assert all(code == 2 and len(err) == 1 for code, err in said), said
    assert not path.exists()
    assert "is what NETWORK reads" in said[2][1][0]
    assert "is a module of your own" in said[6][1][0]


@pytest.mark.parametrize(
    ("about", "seed"),
    [
        ({"command": ["--seed", "3"]}, 3),
        ({"command": ["--seed=3", "--epochs", "2", "--seed", "4"]}, 4),
        ({"command": ["--epochs", "2"]}, 0),
        ({"command": ["--seed"]}, None),
        ({"command": "--seed 3"}, None),
        ({"seed": 8}, 8),
        ({"seed": [8]}, None),
        ({}, None),
    ],
)
def test_the_seed_is_what_the_checkpoint_tells(about, seed):
    from jitprop.cli.export import seed_of

    assert seed_of(about) == seed


def test_importing_it_loads_neither_onnx_nor_torch():
    code = """
import sys
from jitprop import *
print({"onnx", "torch", "google"} & {*sys.modules})
"""
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")
