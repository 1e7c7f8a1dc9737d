"""jitprop/training/ensemble.py: networks that answer together, in the library and the commands."""

import json
import math

import numpy as np
import pytest
import reference
from runs import folder, process, refused, run, saved

from jitprop import kernels, train
from jitprop.cli import predict as command
from jitprop.layers import (
    Add,
    CrossEntropy,
    Graph,
    Input,
    Linear,
    MeanSquaredError,
    Module,
    Sequential,
    Softmax,
    SoftmaxCrossEntropy,
)
from jitprop.training import confusion, evaluate, load, mlp, predict, probabilities, save
from jitprop.training.evaluation import NotFiniteError

RNG = np.random.default_rng(3)
IMAGES = RNG.integers(0, 256, (600, 4, 6), np.uint8)
LABELS = RNG.integers(0, 4, 600)
LOSS = SoftmaxCrossEntropy()


def two_outputs():
    x = Input(24)
    return Graph(x, [Linear(24, 4, 5)(x), Linear(24, 2, 6)(x)])


def two_inputs():
    a, b = Input(24), Input(24)
    return Graph([a, b], Linear(24, 4, 0)(Add()(a, b)))


def overflowing():
    net = mlp(24, [], 4, 0)
    net[0].w[...] = 3e38
    return net


class Own(Module):
    """A network of a person's own, whose width nobody knows before it runs."""

    def __init__(self, width):
        self.width = width

    def fprop(self, x):
        return np.full((len(x), self.width), 1 / self.width, np.float32)

    def bprop(self, dy, need_dx=True):
        raise NotImplementedError


# What differs in all but the widths at both ends.
NETS = [
    mlp(24, [9], 4, 1, dropout=0.5),
    mlp(24, [], 4, 2, np.float64),
    Sequential(Linear(24, 4, 3), Softmax()),
    Own(4),
]


def test_the_mean_of_their_probabilities():
    p = [reference.softmax(predict(net, IMAGES).astype(np.float64)) for net in NETS[:2]]
    p += [predict(net, IMAGES) for net in NETS[2:]]
    found = probabilities(NETS, IMAGES)
    assert found.dtype == np.float64
    # Each is rounded to float32 once or twice; the kernel for softmax is good to 4 ulps there.
    reference.assert_within(found, np.mean(p, 0), np.finfo(np.float32).eps, 4)
    assert probabilities(NETS[2:], IMAGES).dtype == np.float32
    assert NETS[0].training


def test_the_same_bits_on_any_threads_and_whatever_else_is_asked():
    nets = [*NETS, *NETS, *NETS]
    found, before = probabilities(nets, IMAGES), kernels.get_num_threads()
    try:
        kernels.set_num_threads(1)
        reference.assert_same_bits(probabilities(tuple(nets), IMAGES), found)
    finally:
        kernels.set_num_threads(before)
    for row in (0, 599):
        reference.assert_same_bits(probabilities(nets, IMAGES[row : row + 1])[0], found[row])
    assert probabilities(nets, IMAGES[:0]).shape == (0, 4)


@pytest.mark.parametrize("net", [*NETS, two_outputs()])
def test_one_alone_and_one_several_times(net):
    alone = probabilities(net, IMAGES)
    alone = alone if isinstance(alone, tuple) else (alone,)
    for nets in ([net], (net,), [net, net]):
        together = probabilities(nets, IMAGES)
        together = together if isinstance(together, tuple) else (together,)
        for one, other in zip(alone, together, strict=True):
            reference.assert_same_bits(one, other)
    if net.outputs is None:
        loss = CrossEntropy() if net in NETS[2:] else LOSS
        assert evaluate([net], loss, IMAGES, LABELS) == evaluate(net, loss, IMAGES, LABELS)
    np.testing.assert_array_equal(confusion([net], IMAGES, LABELS), confusion(net, IMAGES, LABELS))


def test_errors_and_loss_are_those_of_the_mean():
    p = probabilities(NETS, IMAGES)
    losses = -np.log(p[np.arange(600), LABELS])
    wrong = p.argmax(1) != LABELS
    found = evaluate(NETS, LOSS, IMAGES, LABELS)
    assert found[:2] == (wrong.sum(), 600)
    assert found.loss == pytest.approx(losses.mean(), rel=1e-12)  # 600 roundings in float64
    assert evaluate(NETS, CrossEntropy(), IMAGES, np.eye(4)[LABELS]) == found
    assert evaluate(NETS[::-1], LOSS, IMAGES, LABELS).errors == found.errors
    assert 600 - confusion(NETS, IMAGES, LABELS).trace() == found.errors
    weights = np.arange(600.0)
    weights[:100] = 0
    found = evaluate(NETS, LOSS, IMAGES, LABELS, weights)
    assert found[:2] == (wrong[100:].sum(), 500)
    assert found.loss == pytest.approx(np.average(losses, weights=weights), rel=1e-12)


def test_all_are_wrong_and_sure_of_it():
    sure = mlp(24, [], 4, 0)
    sure[0].w[...], sure[0].b[...] = 0, [1e4, 0, 0, 0]
    assert evaluate([sure, sure], LOSS, IMAGES, np.ones(600, int)) == (600, 600, math.inf)
    assert evaluate([sure, NETS[0]], LOSS, IMAGES, np.ones(600, int)).loss < 10


@pytest.mark.parametrize(
    ("nets", "error", "message"),
    [
        ([], ValueError, "net is an empty list, expected at least one network"),
        ((), ValueError, "net is an empty tuple, expected at least one network"),
        ([NETS[0], "net"], TypeError, r"net\[1\] is of type str, expected a module such as"),
        ([[NETS[0]], NETS[1]], TypeError, r"net\[0\] is of type list, expected a module"),
        ([NETS[0], mlp(25, [], 4, 0)], ValueError, r"net\[1\] takes 25 features, net\[0\] 24"),
        ([NETS[0], mlp(24, [], 5, 0)], ValueError, r"net\[1\] gives 5 features, net\[0\] 4"),
        ([*NETS, Own(5)], ValueError, r"net\[4\] gives \(600, 5\), net\[0\] \(600, 4\)"),
        ([NETS[0], two_inputs()], ValueError, r"net\[1\] takes 2 arrays, net\[0\] 1"),
        ([two_outputs(), NETS[0]], ValueError, r"net\[1\] gives 1 array, net\[0\] 2"),
        ([Own(4), two_outputs()], ValueError, r"gives a tuple of \(600, 4\), \(600, 2\), net\[0\]"),
    ],
)
def test_refuses_networks(nets, error, message):
    with pytest.raises(error, match=message):
        probabilities(nets, IMAGES)
    with pytest.raises(error):
        evaluate(nets, LOSS, IMAGES, LABELS)


def test_refuses_losses_and_what_is_not_finite():
    for loss in (MeanSquaredError(), SoftmaxCrossEntropy(0.1)):
        t = LABELS if loss.classification else np.eye(4)[LABELS]
        with pytest.raises(ValueError, match=r"expected SoftmaxCrossEntropy\(\) or CrossEntropy"):
            evaluate(NETS[:2], loss, IMAGES, t)
    for ask in (
        lambda nets: evaluate(nets, LOSS, IMAGES, LABELS),
        lambda nets: confusion(nets, IMAGES, LABELS),
    ):
        with pytest.raises(NotFiniteError, match="for 600 of 600 examples is not finite"):
            ask([NETS[0], overflowing()])
    with pytest.raises(ValueError, match="returns a tuple of 2"):
        evaluate([two_outputs()] * 2, LOSS, IMAGES, LABELS)
    for ask in (predict, lambda nets, x: probabilities(iter(nets), x)):
        with pytest.raises(TypeError, match="net is of type list"):
            ask(NETS, IMAGES)


def test_evaluate(saved, folder, run, tmp_path, capsys):
    second, third = tmp_path / "second", tmp_path / "third"
    save(second, NETS[0])
    save(third, two_outputs())
    files = [saved, second, third]
    several = " ".join(f"--evaluate={path}" for path in files)
    one = run(f"--evaluate {saved}")
    capsys.readouterr()
    metrics = run(several)
    out, err = capsys.readouterr()
    assert err == ""
    assert metrics.keys() - one.keys() == {"test_errors_of_each", "test_loss"}
    assert metrics["evaluated"] == list(map(str, files))
    alone = [run(f"--evaluate {path}") for path in files]
    assert metrics["test_errors_of_each"] == [each["test_errors"] for each in alone]
    assert metrics["weights_sha256"] == [each["weights_sha256"] for each in alone]
    for path, errors in zip(files, metrics["test_errors_of_each"], strict=True):
        assert f"alone     {path}: {errors} errors ({errors}.00%)\n" in out
    assert f"together  loss {metrics['test_loss']:.4g}, " in out
    assert out.endswith(
        f"\ntest errors: {metrics['test_errors']} / 100 ({metrics['test_errors']}.00%)\n"
    )
    twice = run(f"--evaluate {saved} --evaluate {saved}")
    for key in ("test_errors", "confusion", "recall"):
        assert twice[key] == one[key]


def test_evaluate_names_the_file(saved, folder, tmp_path, capsys):
    for name, net in (
        ("wide", mlp(25, [], 4, 0)),
        ("few", mlp(24, [], 3, 0)),
        ("many", mlp(24, [], 5, 0)),
        ("inputs", two_inputs()),
        ("huge", overflowing()),
    ):
        save(tmp_path / name, net)
    (tmp_path / "damaged").write_bytes(saved.read_bytes()[:-5])
    for name, reason, code in (
        ("wide", f"does not take {folder.name}: x has 24 features, the network takes 25", 2),
        ("few", "has no outputs for 4 classes", 2),
        ("many", f"has 5 outputs, {saved} 4", 2),
        ("inputs", "x is one array, the network takes 2", 2),
        ("huge", "its output for 100 of 100 images is not finite", 1),
        ("damaged", "truncated, damaged", 2),
        ("none", "No such file", 2),
    ):
        args = ["--evaluate", saved, "--evaluate", tmp_path / name, f"--data={folder}", "--quiet"]
        out, err = refused(capsys, *args, code=code)
        assert out == ""
        assert err.startswith(f"train.py: error: {tmp_path / name}: ")
        assert reason in err
    path = tmp_path / "many"
    path.write_bytes(saved.read_bytes())
    _, err = refused(capsys, "--evaluate", saved, "--evaluate", path, "--metrics", path)
    assert err.endswith(f"--metrics: {path} is what --evaluate reads\n")


def test_evaluate_says_that_one_was_trained_on_other_data(saved, tmp_path, capsys):
    save(tmp_path / "other", load(saved), data_sha256="another")
    both = ["--evaluate", str(saved), "--evaluate", str(tmp_path / "other"), "--quiet"]
    assert train.main(both) == 0
    _, err = capsys.readouterr()
    assert err == f"train.py: warning: {tmp_path / 'other'}: trained on other data than {saved}\n"


def test_predict(tmp_path, capsys):
    images = pytest.importorskip("PIL.Image")
    shape = np.full((40, 40), 255, np.uint8)
    shape[8:32, 18:22] = 0
    images.fromarray(shape).save(tmp_path / "1.png")
    huge = mlp(784, [], 10, 0)
    huge[0].w[...] = 3e38
    for name, net in (
        ("a", mlp(784, [5], 10, 0, dropout=0.5)),
        ("b", mlp(784, [], 10, 1, np.float64)),
        ("more", mlp(784, [], 12, 0)),
        ("small", mlp(24, [], 10, 0)),
        ("huge", huge),
    ):
        save(tmp_path / name, net)

    def ask(*names):
        models = [f"--model={tmp_path / name}" for name in names]
        try:
            code = command.main([str(tmp_path / "1.png"), "--json", *models])
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return code, json.loads(out)[0] if out else None, err

    (_, a, _), (_, b, _), (code, both, err) = ask("a"), ask("b"), ask("a", "b")
    assert (code, err, both.keys()) == (0, "", a.keys())
    expected = np.mean([a["probabilities"], b["probabilities"]], 0)
    np.testing.assert_array_equal(both["probabilities"], expected)
    assert both["digit"] == expected.argmax()
    assert ask("a", "a", "a") == (0, a, "")
    start = "jitprop predict: error: argument --model: "
    assert ask("a", "more")[2] == (
        f"{start}{tmp_path / 'more'}: has 12 outputs, {tmp_path / 'a'} 10\n"
    )
    assert ask("a", "small")[2].startswith(f"{start}{tmp_path / 'small'}: x has 784 features")
    assert ask("a", "none")[::2] == (2, f"{start}{tmp_path / 'none'}: No such file or directory\n")
    code, entry, err = ask("a", "huge")
    assert (code, entry.keys()) == (2, {"file", "error"})
    assert err.endswith(f"1.png: what {tmp_path / 'huge'} gives is not finite\n")
