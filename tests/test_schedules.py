"""Rates of every step, against the formulas, number by number, and against PyTorch's schedulers."""

import math

import numpy as np
import pytest

from jitprop.training import Settings
from jitprop.training.schedules import rates

EPOCHS, BATCHES = 4, 25  # 100 steps
WARMUPS = [0, 0.3, 1, 1.5, 4]
every_schedule = pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "step"])
every_warmup = pytest.mark.parametrize("warmup", WARMUPS)


def settings(schedule, warmup, **more):
    if schedule == "step":
        more |= {"step_size": 2, "gamma": 0.3}
    return Settings(EPOCHS, 10, 0.2, schedule=schedule, warmup=warmup, **more)


def all_rates(schedule, warmup):
    given = settings(schedule, warmup)
    return np.concatenate([rates(given, epoch, BATCHES) for epoch in range(1, EPOCHS + 1)])


@every_warmup
@every_schedule
def test_formula(schedule, warmup):
    warm, total = round(warmup * BATCHES), EPOCHS * BATCHES
    for t, found in enumerate(all_rates(schedule, warmup)):
        expected = 0.2
        if t < warm:
            expected *= (t + 1) / (warm + 1)
        elif schedule == "linear":
            expected *= 1 - (t - warm) / (total - warm)
        elif schedule == "cosine":
            expected *= (1 + math.cos(math.pi * (t - warm) / (total - warm))) / 2
        if schedule == "step":
            expected *= 0.3 if t >= 2 * BATCHES else 1
        assert found == pytest.approx(expected, rel=1e-15, abs=1e-16)


@every_warmup
@every_schedule
def test_pytorch(schedule, warmup):
    torch = pytest.importorskip("torch")
    from torch.optim import lr_scheduler as schedulers

    warm, total = round(warmup * BATCHES), EPOCHS * BATCHES
    rule = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.2)
    after = {
        "constant": lambda: schedulers.ConstantLR(rule, 1),
        "linear": lambda: schedulers.LinearLR(rule, 1, 0, total - warm),
        "cosine": lambda: schedulers.CosineAnnealingLR(rule, total - warm),
        "step": lambda: schedulers.StepLR(rule, 2 * BATCHES, 0.3),
    }
    chain = []
    if warm:
        chain.append(schedulers.LinearLR(rule, 1 / (warm + 1), 1, warm))
    if warm < total or schedule == "step":
        chain.append(after[schedule]())
    if len(chain) == 2 and schedule != "step":
        chain = [schedulers.SequentialLR(rule, chain, [warm])]
    for found in all_rates(schedule, warmup):
        assert found == pytest.approx(rule.param_groups[0]["lr"], rel=1e-12, abs=1e-15)
        rule.step()
        for scheduler in chain:
            scheduler.step()


@every_schedule
def test_every_step_has_a_rate_above_zero_and_none_above_the_highest(schedule):
    for warmup in WARMUPS:
        found = all_rates(schedule, warmup)
        assert found.shape == (100,)
        assert (found > 0).all()
        assert (found <= 0.2).all()


def test_constant_is_the_rate_to_the_bit():
    assert set(all_rates("constant", 0)) == {0.2}


def test_one_batch_an_epoch():
    found = [rates(Settings(3, None, 1, schedule="linear"), epoch, 1)[0] for epoch in (1, 2, 3)]
    np.testing.assert_allclose(found, [1, 2 / 3, 1 / 3], rtol=1e-15)
