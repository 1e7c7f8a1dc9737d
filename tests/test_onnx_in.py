"""jitprop/interop/onnx_in.py: files of ours, of PyTorch, of skl2onnx; what is refused, and how."""

import warnings

import numpy as np
import pytest
from exchanged import NETWORKS, as_tuple, random_input

import jitprop
from jitprop import Graph, OnnxError, Sequential, from_onnx, predict, to_onnx, weights_sha256
from jitprop.interop import onnx_file, onnx_parts

onnx = pytest.importorskip("onnx")


@pytest.fixture(autouse=True)
def said(monkeypatch):
    """The lines that are said."""
    lines = []
    monkeypatch.setattr(onnx_parts, "say_once", lines.append)
    return lines


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_there_and_back(name, softmax, tmp_path, said):
    net = NETWORKS[name]()
    net.pixels = False
    to_onnx(net, tmp_path / "net.onnx", softmax)
    found = from_onnx(tmp_path / "net.onnx")
    assert weights_sha256(found) == weights_sha256(net)
    assert [p.value.shape for p in found.parameters()] == [p.value.shape for p in net.parameters()]
    assert (found.training, found.pixels, said) == (True, False, [])
    x = random_input(net)
    ask = jitprop.probabilities if softmax else predict
    ours, theirs = ask(net, x), predict(found, x)
    assert type(ours) is type(theirs)
    for y, z in zip(as_tuple(ours), as_tuple(theirs), strict=True):
        assert y.tobytes() == z.tobytes()


def test_it_trains_on(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 5)).astype(np.float32)
    t = (x[:, 0] > x[:, 1]).astype(int)
    net = Sequential(jitprop.Linear(5, 8, rng), jitprop.Tanh(), jitprop.Linear(8, 2, rng))
    to_onnx(net, tmp_path / "net.onnx")
    found = from_onnx(tmp_path / "net.onnx")
    assert repr(found) == repr(net)
    for one in (net, found):
        jitprop.fit(
            one, jitprop.SoftmaxCrossEntropy(), x, t, epochs=3, batch_size=20, rate=0.5, rng=1
        )
    assert weights_sha256(found) == weights_sha256(net)


def test_shared_parameters_learn_together(tmp_path):
    to_onnx(NETWORKS["nested"](), tmp_path / "net.onnx")
    net = from_onnx(tmp_path / "net.onnx")
    assert [p.name for p in net.parameters()] == ["linear1.w", "linear1.b", "bias1.b"]


# What the text of onnx.parser becomes; a chain is a Sequential.
BECOMES = [
    ("y = MatMul(x, w)", "Sequential(Linear(3, 2))"),
    ("h = MatMul(x, w)  y = Add(h, b)", "Sequential(Linear(3, 2))"),
    ("h = MatMul(x, w)  y = Add(row, h)", "Sequential(Linear(3, 2))"),
    ("h = MatMul(x, w)  y = Add(h, one)", "Sequential(Linear(3, 2), Bias(2))"),
    ("h = MatMul(x, w)  i = Add(h, b)  y = Add(i, b)", "Sequential(Linear(3, 2), Bias(2))"),
    ("h = MatMul(x, w)  i = Add(h, b)  y = Sub(i, h)", "linear1 bias1 subtract1"),
    ("y = Gemm <alpha = 0.5, beta = 2.0> (x, w, b)", "Sequential(Linear(3, 2))"),
    ("y = Gemm <transB = 1> (x, v, row)", "Sequential(Linear(3, 2))"),
    ("y = Gemm (x, w, one)", "Sequential(Linear(3, 2))"),
    ("y = Gemm (x, w)", "Sequential(Linear(3, 2))"),
    ("h = Gemm (x, w)  y = Sub(h, b)", "Sequential(Linear(3, 2), Bias(2))"),
    ("h = Gemm (x, w)  y = Sub(b, h)", "Sequential(Linear(3, 2), Multiply(-1.0), Bias(2))"),
    ("h = Gemm (x, w)  y = Mul(half, h)", "Sequential(Linear(3, 2), Multiply(0.5))"),
    ("h = Gemm (x, w)  y = Mul(h, h)", "linear1 multiply1"),
    (
        "half_ = Constant <value_float = 0.5> ()  h = Gemm(x, w)  y = Mul(h, half_)",
        "Sequential(Linear(3, 2), Multiply(0.5))",
    ),
    (
        "c = Constant <value_floats = [0.5, 2.0]> ()  h = MatMul(x, w)  y = Add(h, c)",
        "Sequential(Linear(3, 2))",
    ),
    ("h, i = Split <axis = 1> (x, sizes)  y = Concat <axis = 1> (i, i)", "split1 concatenate1"),
    ("h, i, j = Split <axis = -1> (x)  y = Concat <axis = -1> (i, j)", "split1 concatenate1"),
    ("h = Gemm(x, w)  y = Softmax(h)", "Sequential(Linear(3, 2), Softmax())"),
    ("h = Gemm(x, w)  y = LogSoftmax <axis = 1> (h)", "Sequential(Linear(3, 2), LogSoftmax())"),
    (
        "i = Flatten(x)  h = Dropout(i, half)  j = Gemm(h, w)  y = Identity(j)",
        "Sequential(Dropout(0.5), Linear(3, 2))",
    ),
    ("h = Cast <to = 1> (x)  i = Reshape(h, flat)  y = Gemm(i, w)", "Sequential(Linear(3, 2))"),
    ("h = Gemm(x, w)  i = Relu(h)  y = Sigmoid(i)", "Sequential(Linear(3, 2), ReLU(), Sigmoid())"),
]
CONSTANTS = {
    "w": np.array([[1, 2], [3, -4], [5, 6]], np.float32) / 7,
    "v": np.array([[1, 2, 3], [4, -5, 6]], np.float32) / 2,
    "b": np.array([0.1, -0.2], np.float32),
    "row": np.array([[0.3, -0.4]], np.float32),
    "one": np.array(1, np.float32),
    "half": np.array([0.5], np.float32),
    "sizes": np.array([1, 2]),
    "flat": np.array([-1, 3]),
    "column": np.array([[1], [2]], np.float32),
    "double": np.array([[1.0], [2], [3]]),
    "small": np.array([[1.0], [2], [3]], np.float16),
    "bad": np.array([1, np.nan], np.float32),
}


def file_of(body, path, opset=17, inputs="float[N, 3] x", outputs="float[N, 2] y"):
    """Write a file of a text in onnx.parser's language, with `CONSTANTS`."""
    text = f'<ir_version: 8, opset_import: ["": {opset}]> g ({inputs}) => ({outputs}) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in CONSTANTS.items()]
    model.graph.initializer.extend(tensors)
    path.write_bytes(model.SerializeToString())
    return model


@pytest.mark.parametrize(("body", "expected"), BECOMES)
def test_operators(body, expected, tmp_path):
    from onnx.reference import ReferenceEvaluator

    model = file_of(body, tmp_path / "net.onnx")
    net = from_onnx(tmp_path / "net.onnx")
    if isinstance(net, Sequential):
        assert repr(net) == expected
    else:
        assert " ".join(step.label for step in net.steps) == expected
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    (theirs,) = ReferenceEvaluator(model).run(None, {"x": x})
    np.testing.assert_allclose(predict(net, x), theirs, rtol=1e-5, atol=1e-6)


REFUSED = [
    (
        "y = Abs(x)",
        r"node 'y', Abs: no module does this, expected one of Add, Cast, .*, Tanh",
    ),
    ("y = com.Gemm(x, w)", "node 'y', com.Gemm: no module does this"),
    ("y = Gemm <transA = 1> (x, w)", "node 'y', Gemm: transA is 1, expected 0"),
    ("y = Gemm(w, x)", "Gemm: 'w' is a constant, expected what is computed"),
    ("h = Tanh(x)  y = MatMul(x, h)", "MatMul: 'h' is computed, expected a constant"),
    ("y = MatMul(x, v)", r"MatMul: Linear\(2, 3\): x has 3 features, expected 2"),
    ("y = MatMul(x, b)", r"MatMul: 'b' is of shape \(2,\), expected a matrix"),
    ("y = MatMul(x, double)", "MatMul: 'double' is float64, the network float32"),
    ("y = MatMul(x, small)", "MatMul: 'small' is float16, expected float32 or float64"),
    ("y = Gemm(x, w, column)", r"Gemm: 'column' is of shape \(2, 1\), expected \(2,\)"),
    ("h = MatMul(x, w)  y = Add(h, bad)", "Add: 'bad' has values that are NaN or infinite"),
    (
        "y = Gemm <alpha = 3e38, transB = 1> (x, v)",
        "Gemm: alpha 3e.38 and beta 1 make",
    ),
    ("h = Gemm(x, w)  y = Mul(h, b)", r"Mul: 'b' is of shape \(2,\), expected a number"),
    ("y = Add(x, b)", r"Add: 'b' is of shape \(2,\), expected \(3,\)"),
    ("h = Gemm(x, w)  y = Add(h, x)", r"Add: Add\(\): inputs have 2 and 3 features"),
    ("y = Softmax <axis = 0> (x)", "Softmax: axis 0, expected 1, that of the features"),
    ("y = Concat <axis = 0> (x, x)", "Concat: axis 0, expected 1"),
    ("y, h = Split <axis = 1> (x, flat)", r"Split: Split\(\[-1, 3\]\): expected widths"),
    ("y, h = Split <axis = 0> (x)", "Split: axis 0, expected 1"),
    ("y = Reshape(x, sizes)", r"Reshape: makes \[1, 2\], expected a flatten: \[-1, 3\]"),
    ("y = Flatten <axis = 0> (x)", "Flatten: axis 0, expected 1: one example a row"),
    ("y = Cast <to = 11> (x)", "Cast: makes another type of float32"),
    ("y = Dropout(x, one)", r"Dropout: Dropout\(1.0\): p must be at least 0 and below 1"),
    ("y = Tanh(h)  h = Tanh(x)", "Tanh: takes 'h', which only a later node gives"),
    ("h = Tanh(i)  i = Tanh(h)  y = Add(x, i)", "Tanh: takes 'i', which only a later node gives"),
    ("y = Add(x, z)", "Add: takes 'z', which nothing gives"),
    ("h = Tanh(x)  y = Relu(x)  h = Relu(x)", "'h' is given twice"),
    ("w = Tanh(x)  y = Relu(w)", "'w' is given twice"),
    ("x = Tanh(x)  y = Relu(x)", "'x' is given twice"),
    ("h = Tanh(x)", "nothing computes the output 'y'"),
    ("y = Identity(w)", "nothing computes the output 'y'"),
    ("y = Add(x)", r"Add: Add\(\): 1 inputs, expected 2 or more"),
    ("y = Tanh()", "Tanh: input 0 is missing"),
    ("h = Constant()  y = Add(x, h)", "the constant 'h' holds no numbers"),
]


@pytest.mark.parametrize(("body", "message"), REFUSED)
def test_what_is_refused_is_named(body, message, tmp_path):
    file_of(body, tmp_path / "net.onnx")
    with pytest.raises(OnnxError, match=rf"net\.onnx: (node '\w+', )?.*{message}") as refused:
        from_onnx(tmp_path / "net.onnx")
    assert "\n" not in str(refused.value)


def test_inputs_and_outputs(tmp_path, said):
    path = tmp_path / "net.onnx"

    def message(body, **options):
        file_of(body, path, **options)
        with pytest.raises(OnnxError) as refused:
            from_onnx(path)
        return str(refused.value).removeprefix(f"{path}: ")

    assert message("y = Tanh(x)", opset=6) == "is of opset 6, expected 7 or more"
    wrong = message("y = Tanh(x)", inputs="int64[N, 3] x")
    assert wrong == "input 'x' is not of float or double"
    assert message("y = Tanh(x)", inputs="float[3] x") == (
        "input 'x' has 1 dimensions, expected 2 or more"
    )
    assert message("y = Flatten(x)", inputs="float[N, 3, M] x") == (
        "input 'x': only its batch may be of any size"
    )
    assert "takes 3 dimensions, expected Flatten before it" in message(
        "y = Tanh(x)", inputs="float[N, 3, 2] x"
    )
    mixed = message("y = Tanh(x)  z = Tanh(a)", inputs="float[N, 3] x, double[N, 3] a")
    assert mixed == "has inputs of float32 and float64, expected one type"
    assert message("y = Tanh(x)", inputs="double[N, 3] x", outputs="double[N, 3] y") == (
        "takes float64, and has no parameters of that"
    )
    assert "never used" in message("y = Tanh(x)", inputs="float[N, 3] x, float[N, 3] a")
    assert message("y = Tanh(x)", outputs="int64[N] y") == "has no output of float or double"
    assert "adds a number to what may be of any width" in message(
        "y = Add(x, one)", inputs="float[N, M] x"
    )
    file_of("y = Gemm(x, w)  z = ArgMax(y)", path, outputs="float[N, 2] y, int64[N] z")
    assert repr(from_onnx(path)) == "Sequential(Linear(3, 2))"
    assert said == [f"{path}: output 'z', labels, is left out"]
    file_of("h = Flatten(x)  y = Gemm(h, w)", path, inputs="float[5, 1, 3, 1] x")
    assert predict(from_onnx(path), np.ones((4, 1, 3, 1), np.float32)).shape == (4, 2)
    file_of("y = Identity(x)", path)
    assert predict(from_onnx(path), np.eye(3, dtype=np.float32)).tolist() == np.eye(3).tolist()


def torch_files(torch, path):
    """Write what both exporters of PyTorch make of a chain and a graph; yield what to compare."""

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.Linear(4, 6), torch.nn.Linear(3, 6, bias=False)
            self.c = torch.nn.Linear(12, 2)

        def forward(self, x, z):
            h = self.a(x) + self.b(z)
            p, q = torch.split(torch.sigmoid(h) * h, 3, dim=1)
            return self.c(torch.cat([p, q, h], 1) * 0.5), 1 - torch.log_softmax(q, -1)

    nn = torch.nn
    chain = nn.Sequential(
        *(nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Dropout(0.3)),
        *(nn.Linear(5, 4, bias=False), nn.ReLU(), nn.Linear(4, 3), nn.Softmax(dim=1)),
    )
    torch.manual_seed(0)
    for net, xs in (
        (chain.eval(), (torch.rand(2, 3, 4),)),
        (Two().eval(), (torch.rand(2, 4), torch.rand(2, 3))),
    ):
        for dynamo in (False, True):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.onnx.export(net, xs, path, dynamo=dynamo, verbose=False)
            with torch.no_grad():
                yield [x.numpy() for x in xs], [y.numpy() for y in as_tuple(net(*xs))]


@pytest.mark.slow
def test_files_of_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    made = []
    for xs, ys in torch_files(torch, tmp_path / "net.onnx"):
        net = from_onnx(tmp_path / "net.onnx")
        made.append(net)
        found = as_tuple(predict(net, tuple(xs) if len(xs) > 1 else xs[0]))
        for y, z in zip(ys, found, strict=True):
            np.testing.assert_allclose(z, y, rtol=1e-5, atol=1e-6)
    assert [type(net) for net in made] == [Sequential, Sequential, Graph, Graph]
    kinds = "Linear(12, 5), Tanh(), Linear(5, 4), ReLU(), Linear(4, 3), Softmax()"
    assert [repr(net) for net in made[:2]] == [f"Sequential({kinds})"] * 2


def test_files_of_scikit_learn(tmp_path, said):
    pytest.importorskip("sklearn")
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    path, x = tmp_path / "net.onnx", np.random.default_rng(0).random((60, 4)).astype(np.float32)
    three, two = np.arange(60) % 3, np.arange(60) % 2
    cases = [
        (MLPClassifier((5,), max_iter=2, activation="tanh", random_state=0), three, True),
        (MLPClassifier((5,), max_iter=2, random_state=0), three, False),
        (MLPClassifier((5,), max_iter=2, activation="logistic", random_state=0), two, False),
        (MLPClassifier((5,), max_iter=2, random_state=0), np.stack([two, three > 0], 1), False),
        (MLPRegressor(hidden_layer_sizes=(5, 4), max_iter=2, random_state=0), three * 0.5, None),
    ]
    for made, t, zipmap in cases:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made.fit(x, t)
            options = None if zipmap is None else {id(made): {"zipmap": zipmap}}
            file = skl2onnx.to_onnx(made, x[:1], options=options)
        path.write_bytes(file.SerializeToString())
        theirs = made.predict(x)[:, None] if zipmap is None else made.predict_proba(x)
        ours = predict(from_onnx(path), x)[:, -theirs.shape[1] :]  # of several labels, 1 - p first
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert len(said) == 4


def test_numbers_in_other_fields_and_other_files(tmp_path):
    path = tmp_path / "net.onnx"
    model = file_of("h = MatMul(x, w)  y = Add(h, b)", path)
    wanted = weights_sha256(from_onnx(path))
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = onnx.numpy_helper.to_array(tensor).reshape(-1)
            tensor.ClearField("raw_data")
            tensor.float_data[:] = values
    path.write_bytes(model.SerializeToString())
    assert weights_sha256(from_onnx(path)) == wanted
    model = file_of("h = MatMul(x, w)  y = Add(h, b)", path)
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    assert (tmp_path / "weights").is_file()
    with pytest.raises(OnnxError, match=r"'w' is in another file, .* onnx.save\(onnx.load"):
        from_onnx(path)


def refused(data, path):
    """The line that refuses a file, or what it holds."""
    path.write_bytes(data)
    try:
        return from_onnx(path)
    except OnnxError as error:
        return str(error).removeprefix(f"{path}: ")


def test_what_is_no_onnx_file(tmp_path):
    path = tmp_path / "net.onnx"
    for missing in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(OnnxError, match=r": (No such file or directory|not a file)$"):
            from_onnx(missing)
    none = "no ONNX file: there is no graph in it"
    damaged = "truncated, damaged or no ONNX file"
    assert refused(b"", path) == none
    empty = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []))
    assert refused(empty.SerializeToString(), path) == "has no inputs, expected one type"
    assert refused(b"\x08\x08", path) == none
    assert refused(b"PK\3\4 a zip file", path) == damaged
    assert refused(b"\x3a\xff\xff\xff\xff\x0f", path) == damaged
    with open(path, "wb") as file:
        file.truncate(2**31)
    with pytest.raises(OnnxError, match="has 2147483648 bytes, an ONNX file less than 2147483648"):
        from_onnx(path)
    with pytest.raises(TypeError, match="from_onnx: rng is 'a', expected a seed"):
        from_onnx(path, rng="a")


def test_claims_are_looked_at_before_memory_is_taken(tmp_path, monkeypatch):
    path = tmp_path / "net.onnx"
    model = file_of("h = MatMul(x, w)  y = Add(h, b)", path)
    for dims in ([2**40, 2**40], [-1, -6], [2, 2], [2**62, 0]):
        model.graph.initializer[0].dims[:] = dims
        line = refused(model.SerializeToString(), path)
        assert ("claims the shape" in line) or ("expected a matrix" in line)
    wide = f"float[N, {2**40}] x"
    for body in ("y = Add(x, one)", "h = Tanh(x)  y = Concat <axis = 1> (h, x)"):
        file_of(body, path, inputs=wide)
        assert refused(path.read_bytes(), path) == "would take far more memory than the file has"
    file_of(f"s = Constant <value_ints = [{2**40}, 1]> ()  y, z = Split <axis = 1> (x, s)", path)
    assert refused(path.read_bytes(), path) == "would take far more memory than the file has"
    file_of("y, z = Split <axis = 1> (x)", path, inputs=wide)
    assert refused(path.read_bytes(), path) == "would take far more memory than the file has"
    file_of("y = Split <axis = 1, num_outputs = 1000000000000> (x)", path, opset=18)
    assert "Split" in refused(path.read_bytes(), path)
    # One matrix in many forms: each is as large as the file.
    monkeypatch.setattr(onnx_parts, "SPARE", 0)
    body = "h0 = Identity(x) " + " ".join(
        f"h{i + 1} = Gemm <alpha = {i + 1}.5> (h{i}, square)" for i in range(9)
    )
    big = onnx.numpy_helper.from_array(np.eye(300, dtype=np.float32), "square")
    model = file_of(body, path, inputs="float[N, 300] x", outputs="float[N, 300] h9")
    model.graph.initializer.append(big)
    found = refused(model.SerializeToString(), path)
    assert found == "would take far more memory than the file has"
    monkeypatch.setattr(onnx_file, "MOST", 50)
    assert refused(model.SerializeToString(), path) == "truncated, damaged or no ONNX file"


def test_damaged_files(tmp_path, said):
    """Cut off anywhere, with bytes changed anywhere: a network, or one line."""
    path, rng = tmp_path / "net.onnx", np.random.default_rng(0)
    to_onnx(NETWORKS["several"](), path)
    data = path.read_bytes()
    damaged = "truncated, damaged or no ONNX file"
    for size in range(1, len(data)):  # at the end are the opset and notes, and the ends of these
        found = refused(data[:size], path)
        assert found == damaged or size < 200 or size > len(data) - 200
        assert isinstance(found, str) or len(said) == 1
        assert isinstance(found, jitprop.Module) or "\n" not in found
        said.clear()
    nets = 0
    for _ in range(400):
        changed = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            changed[at] = rng.integers(0, 256)
        before = len(said)
        found = refused(bytes(changed), path)
        if isinstance(found, jitprop.Module):
            nets += 1
            same = weights_sha256(found) == weights_sha256(NETWORKS["several"]())
            assert same or len(said) > before
        else:
            assert "\n" not in found
    assert 50 < nets < 350


def test_a_line_about_other_weights(tmp_path, said):
    path = tmp_path / "net.onnx"
    to_onnx(NETWORKS["one module"](), path)
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.raw_data = bytes([tensor.raw_data[0] ^ 1]) + tensor.raw_data[1:]
    path.write_bytes(model.SerializeToString())
    from_onnx(path)
    assert said == [f"{path}: its weights are not those that were written: edited, or damaged"]
