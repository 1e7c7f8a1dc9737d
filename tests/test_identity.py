"""layers/identity.py: what it is given is what it returns, alone and within networks."""

import numpy as np
import pytest

from jitprop.layers import Graph, Identity, Input, Linear, MeanSquaredError, Sequential, gradcheck
from jitprop.training import fit, load, predict, save, weights_sha256

X = np.random.default_rng(1).standard_normal((30, 4)).astype(np.float32)


def test_it_returns_what_it_is_given():
    module = Identity()
    assert module.fprop(X) is X
    assert module.bprop(X) is X
    assert module.bprop(X, need_dx=False) is None
    assert module.out_width(4) == 4
    assert repr(module) == "Identity()"
    assert gradcheck(Identity(), X[:3])
    np.testing.assert_array_equal(predict(Identity(), X), X, strict=True)
    assert not np.shares_memory(predict(Identity(), X), X)


def test_refusals():
    with pytest.raises(RuntimeError, match=r"^Identity\(\): bprop before fprop"):
        Identity().bprop(X)
    with pytest.raises(ValueError, match=r"^Identity\(\): x has shape \(4,\), expected \(batch, "):
        Identity().fprop(X[0])
    with pytest.raises(TypeError, match=r"^Identity\(\): x is int64"):
        Identity().fprop(np.zeros((1, 2), np.int64))
    module = Identity()
    module.fprop(X)
    with pytest.raises(ValueError, match=r"^Identity\(\): dy has shape \(3, 4\), the last"):
        module.bprop(X[:3])
    with pytest.raises(TypeError, match="called on 2 nodes"):
        Identity()(Input(2), Input(2))


def test_in_a_network_it_changes_no_bit(tmp_path):
    def trained(net):
        fit(net, MeanSquaredError(), X, X, epochs=2, batch_size=7, rate=0.1, rng=1)
        return net

    plain = trained(Sequential(Linear(4, 5, 0), Linear(5, 4, 1)))
    net = trained(Sequential(Identity(), Linear(4, 5, 0), Identity(), Linear(5, 4, 1), Identity()))
    for ours, theirs in zip(net.parameters(), plain.parameters(), strict=True):
        np.testing.assert_array_equal(ours.value, theirs.value)
    np.testing.assert_array_equal(predict(net, X), predict(plain, X))
    save(tmp_path / "net.safetensors", net)
    again = load(tmp_path / "net.safetensors")
    assert (repr(again), weights_sha256(again)) == (repr(net), weights_sha256(net))
    assert "Identity()" in str(net)


def test_in_a_graph_its_gradients_add_up():
    """An input that goes on as it is, twice: what flows back is not written over."""
    x = Input(4)
    h = Linear(4, 4, 0)(x)
    both = Graph(x, [Identity()(h) + Identity()(x), Identity()(h)])
    assert gradcheck(both, X[:3])
    alone = Graph(x, [h + x, h])
    dys = X[:9], X[9:18]
    for net in (both, alone):
        net.fprop(X[:9])
    np.testing.assert_array_equal(both.bprop(*dys), alone.bprop(*dys))
