"""Optimisers, step by step over 100 steps, against the rules in NumPy and against PyTorch's."""

from fractions import Fraction

import numpy as np
import pytest
import reference
from reference import assert_same_bits, assert_within, eps

from jitprop import kernels
from jitprop.layers import Linear
from jitprop.training import SGD, Adam, AdamW, Settings
from jitprop.training.optimisers import optimiser
from jitprop.training.schedules import corrections

STEPS = 100
RATES = 0.05 * np.random.default_rng(1).random(STEPS)  # another one for each step
SGDS = [
    {},
    {"weight_decay": 0.1},
    {"momentum": 0.5},
    {"momentum": 0.9, "weight_decay": 0.1},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
]
ADAMS = [
    {},
    {"betas": (0.5, 0.9), "eps": 0.1},
    {"betas": (0.0, 0.0), "eps": 0.1},
    {"weight_decay": 0.1},
]
RULES = [
    *((SGD, options) for options in SGDS),
    *((kind, options) for kind in (Adam, AdamW) for options in ADAMS),
]
every_rule = pytest.mark.parametrize(
    ("kind", "options"), RULES, ids=[f"{kind.__name__} {options}" for kind, options in RULES]
)


def layer(dtype):
    made = Linear(7, 5, 3, dtype)
    made.b[...] = np.random.default_rng(4).standard_normal(5)
    return made


def gradients(dtype):
    """For w and for b; those of one weight are 0 at first, as of a pixel that is always dark."""
    rng = np.random.default_rng(5)
    dw, db = (rng.standard_normal((STEPS, *shape)).astype(dtype) for shape in ((7, 5), (5,)))
    dw[:50, 0, 0] = 0
    return dw, db


def stepped(kind, options, dtype, rates=RATES):
    """Yield the layer after each step."""
    made = layer(dtype)
    rule = kind(made, rates[0], **options)
    rule.prepare(rates, 0)
    for dw, db in zip(*gradients(dtype), strict=True):
        made.dw[...], made.db[...] = dw, db
        rule.update()
        yield made


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@every_rule
def test_rule(kind, options, dtype):
    made = layer(np.float64)
    for name, values in zip("wb", gradients(dtype), strict=True):
        given = options if name == "w" else {**options, "weight_decay": 0.0}
        if kind is SGD:
            expected = reference.sgd(getattr(made, name), values, RATES, **given)
        else:
            if kind is AdamW:
                given = {"weight_decay": 0.01 * (name == "w"), **given, "decoupled": True}
            expected = reference.adam(getattr(made, name), values, RATES, **given)
        start = getattr(layer(dtype), name).astype(np.float64)
        # float32 starts from rounded weights, at most eps/2 off. A step rounds numbers below 16
        # about six times, the rate's and the momentum's own rounding among them, and the velocity
        # carries what it had on for ten steps; the sizes of what is taken off the weights are
        # those times the rate.
        unit = eps(dtype) * (np.abs(start) + 1)
        steps = enumerate(zip(stepped(kind, options, dtype), expected, strict=True), 1)
        for step, (found, w) in steps:
            assert_within(getattr(found, name), w, unit, 2 + step)


@every_rule
def test_pytorch(kind, options):
    """float64: the same rule, written down by others; weights and biases as two groups."""
    torch = pytest.importorskip("torch")
    made = layer(np.float64)
    w, b = (torch.tensor(p.value, requires_grad=True) for p in made.parameters())
    decay = {"weight_decay": options.get("weight_decay", 0.01 if kind is AdamW else 0)}
    groups = [{"params": [w], **decay}, {"params": [b], "weight_decay": 0}]
    rule = getattr(torch.optim, kind.__name__)(groups, lr=1, **options)
    for found, rate, dw, db in zip(
        stepped(kind, options, np.float64), RATES, *gradients(np.float64), strict=True
    ):
        for group in rule.param_groups:
            group["lr"] = rate
        w.grad, b.grad = torch.tensor(dw), torch.tensor(db)
        rule.step()
        # 100 steps, each of a few roundings of numbers below 16.
        np.testing.assert_allclose(found.w, w.detach().numpy(), rtol=0, atol=1e-13)
        np.testing.assert_allclose(found.b, b.detach().numpy(), rtol=0, atol=1e-13)


@every_rule
def test_a_tape_of_the_step_reads_the_numbers_of_each(kind, options):
    *_, by_hand = stepped(kind, options, np.float32)
    made, (dws, dbs) = layer(np.float32), gradients(np.float32)
    rule = kind(made, 1.0, **options)
    rule.prepare(RATES, 0)
    with kernels.Tape() as tape:
        rule.update()
    for dw, db in zip(dws, dbs, strict=True):
        made.dw[...], made.db[...] = dw, db
        tape.run()
    assert_same_bits(made.w, by_hand.w)
    assert_same_bits(made.b, by_hand.b)


@every_rule
def test_it_goes_on_from_its_arrays(kind, options):
    *_, undisturbed = stepped(kind, options, np.float32)
    expected = undisturbed.w.copy()
    made, (dws, dbs) = layer(np.float32), gradients(np.float32)
    rule = kind(made, 1.0, **options)
    rule.prepare(RATES[:60], 0)
    for step, (dw, db) in enumerate(zip(dws, dbs, strict=True)):
        if step == 42:  # within a table
            other = kind(made, 1.0, **options)
            assert other.arrays().keys() == rule.arrays().keys()
            for name, array in other.arrays().items():
                array[...] = rule.arrays()[name]
            rule = other
            rule.prepare(RATES[:60], 0, 42)
        if step == 60:  # and after it
            rule.prepare(RATES[60:], 60)
        made.dw[...], made.db[...] = dw, db
        rule.update()
    assert_same_bits(made.w, expected)


@every_rule
def test_by_itself_it_keeps_its_rate(kind, options):
    """More steps than a table of its own has."""
    *_, expected = stepped(kind, options, np.float64, np.full(STEPS, 0.01))
    made = layer(np.float64)
    rule = kind(made, 0.01, **options)
    for dw, db in zip(*gradients(np.float64), strict=True):
        made.dw[...], made.db[...] = dw, db
        rule.update()
    assert_same_bits(made.w, expected.w)
    before = made.w.copy()
    rule.update()
    assert (made.w != before).any()


def test_by_itself_it_counts_all_its_steps():
    """More steps than two tables of its own have: the means of Adam are corrected only once."""
    rng = np.random.default_rng(6)
    made, gradients = layer(np.float64), rng.standard_normal((250, 7, 5))
    start = made.w.copy()
    rule = Adam(made, 0.01)
    *_, expected = reference.adam(start, gradients, [0.01] * 250)
    for made.dw[...] in gradients:
        rule.update()
    # A few roundings of a step, which are 0.01 times a number below 10, and of weights below 4.
    np.testing.assert_allclose(made.w, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("betas", "expected"), [((0.9, 0.0), -76.1827675), ((0.0, 0.0), 0.997002), ((0.0, 0.999), None)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_large_gradient_is_forgotten_as_fast_as_the_betas_say(betas, expected, dtype):
    """With betas of 0, at once: a small gradient after a large one."""
    made, steps = Linear(1, 1, 0, dtype), [1, 1e-5, 1e-5]
    made.w[...] = 1
    *_, found = reference.adam(np.ones((1, 1)), steps, [1e-3] * 3, betas)
    rule = Adam(made, 1e-3, betas)
    for made.dw[...] in steps:
        rule.update()
    np.testing.assert_allclose(made.w, found, rtol=20 * eps(dtype))
    if expected is not None:
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("beta", [0, 1e-9, 0.3, 0.5, 0.9, 0.999, 0.9999999, 1 - 2**-40])
@pytest.mark.parametrize("before", [0, 1, 7, 1000])
def test_corrections_against_exact_arithmetic(beta, before):
    found = corrections(beta, before, 200)
    power = Fraction(beta) ** before
    for step, value in enumerate(found, before + 1):
        power *= Fraction(beta)
        # Some eps for the powers by squaring, and an eps/2 for each of 200 products and sums.
        assert abs(Fraction(value) / (1 - power) - 1) < 1e-14, step
        power = Fraction(round(power * 2**2000), 2**2000)  # or its digits become too many


def test_names_of_what_is_remembered():
    net = layer(np.float32)
    assert SGD(net, 0.1).arrays() == {}
    assert list(SGD(net, 0.1, 0.9).arrays()) == ["velocity.w", "velocity.b"]
    assert list(Adam(net).arrays()) == ["m.w", "v.w", "m.b", "v.b"]
    assert Adam(net).arrays()["m.w"].shape == (7, 5)


def test_without_momentum_it_is_update():
    made, twin = layer(np.float32), layer(np.float32)
    for one in (made, twin):
        one.dw[...], one.db[...] = gradients(np.float32)[0][0], 1
    SGD(made, 0.05).update()
    twin.update(0.05)
    assert_same_bits(made.w, twin.w)
    assert_same_bits(made.b, twin.b)


def test_an_update_of_ones_own_gets_a_float():
    rates = []

    class Own(Linear):
        def update(self, rate):
            rates.append(rate)

    rule = SGD(Own(2, 2), 0.1)
    rule.prepare(np.array([0.5, 0.25]), 0)
    for _ in range(2):
        rule.update()
    assert rates == [0.5, 0.25]
    assert type(rates[0]) is float


@pytest.mark.parametrize(
    ("given", "kind", "expected"),
    [
        ({}, SGD, {"momentum": 0.0, "weight_decay": 0.0}),
        ({"momentum": 0.5, "weight_decay": 0.1}, SGD, {"momentum": 0.5, "weight_decay": 0.1}),
        ({"optimizer": "adam", "eps": 0.1}, Adam, {"eps": 0.1, "betas": (0.9, 0.999)}),
        ({"optimizer": "adamw", "betas": [0, 0.5]}, AdamW, {"betas": (0, 0.5), "weight_decay": 0}),
    ],
)
def test_of_settings(given, kind, expected):
    rule = optimiser(layer(np.float32), Settings(1, 1, 0.3, **given))
    assert type(rule) is kind
    assert {"rate": 0.3, **expected}.items() <= vars(rule).items()


def test_nesterov_of_settings():
    made, found = layer(np.float64), []
    for nesterov in (False, True):
        rule = optimiser(made, Settings(1, 1, 0.1, 0.9, nesterov))
        made.w[...], made.dw[...] = 0, 1
        rule.update()
        found.append(made.w[0, 0])
    np.testing.assert_allclose(found, [-0.1, -0.19], rtol=1e-15)
