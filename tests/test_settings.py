"""Settings and the tables of architectures and defaults."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from jitprop.training import ARCHITECTURES, DEFAULTS, Settings, settings_for

GOOD = {"epochs": 1, "batch_size": 1, "rate": 1e-30, "momentum": 0.0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", -1),
        ("batch_size", 0),
        ("batch_size", -100),
        ("rate", 0.0),
        ("rate", -0.1),
        ("rate", float("nan")),
        ("rate", float("inf")),
        ("momentum", -0.1),
        ("momentum", 1.0),
        ("momentum", float("nan")),
        ("optimizer", "sgdm"),
        ("weight_decay", -1e-9),
        ("weight_decay", float("inf")),
        ("weight_decay", float("nan")),
        ("schedule", "cos"),
        ("warmup", -0.1),
        ("warmup", 1.1),
        ("warmup", float("nan")),
        ("patience", 0),
    ],
)
def test_refuses_what_makes_no_sense(name, value):
    Settings(**GOOD)
    with pytest.raises(ValueError, match=name.replace("_", " ")) as caught:
        Settings(**{**GOOD, name: value})
    assert str(value) in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"nesterov": True}, "nesterov needs a momentum above 0, not 0.0"),
        ({"betas": (0.8, 0.9)}, "betas is for the optimizer adam and adamw, not for sgd"),
        ({"eps": 1e-6}, "eps is for the optimizer adam and adamw, not for sgd"),
        ({"optimizer": "adam", "momentum": 0.9}, "momentum is for the optimizer sgd, not for adam"),
        ({"optimizer": "adamw", "nesterov": True}, "nesterov is for the optimizer sgd, not for"),
        ({"gamma": 0.5}, "gamma is for the schedule step, not for constant"),
        ({"schedule": "linear", "step_size": 2}, "step size is for the schedule step, not for li"),
        ({"patience": 3}, "patience is for early stopping, which is off"),
        ({"optimizer": "adam", "betas": (0.9, 1)}, r"betas must be .* not \(0.9, 1.0\)"),
        ({"optimizer": "adam", "betas": (0.9,)}, r"betas must be two numbers .* not \(0.9,\)"),
        ({"optimizer": "adam", "betas": (-0.1, 0.9)}, r"betas must be two numbers"),
        ({"optimizer": "adam", "eps": 0.0}, "eps must be above 0 and finite, not 0.0"),
        ({"optimizer": "adam", "eps": float("nan")}, "eps must be above 0 and finite, not nan"),
        ({"schedule": "step", "step_size": 0}, "step size must be at least 1 epoch, not 0"),
        ({"schedule": "step", "gamma": 0}, "gamma must be above 0 and at most 1, not 0"),
        ({"schedule": "step", "gamma": 1.5}, "gamma must be above 0 and at most 1, not 1.5"),
    ],
)
def test_refuses_what_does_not_go_together(given, message):
    with pytest.raises(ValueError, match=message) as caught:
        Settings(**{**GOOD, **given})
    assert "\n" not in str(caught.value)


def test_a_list_as_json_has_it():
    given = {**GOOD, "optimizer": "adam"}
    assert Settings(**given, betas=[0.5, 0.9]) == Settings(**given, betas=(0.5, 0.9))


def test_defaults_of_optimizers():
    assert settings_for("mlp200") == DEFAULTS["mlp200"]
    assert settings_for("mlp200", optimizer="sgd") == DEFAULTS["mlp200"]
    adamw = settings_for("mlp200", optimizer="adamw", epochs=3)
    assert (adamw.rate, adamw.momentum, adamw.weight_decay) == (0.001, 0, 0.01)
    assert (adamw.epochs, adamw.batch_size) == (3, DEFAULTS["mlp200"].batch_size)
    assert settings_for("linear", optimizer="adam", rate=0.1, weight_decay=0.5).rate == 0.1


def test_what_is_not_given():
    settings = Settings(3, 10, 0.5)
    assert (settings.optimizer, settings.momentum, settings.nesterov) == ("sgd", 0, False)
    assert (settings.betas, settings.eps, settings.weight_decay) == ((0.9, 0.999), 1e-8, 0)
    assert (settings.schedule, settings.warmup) == ("constant", 0)
    assert (settings.step_size, settings.gamma) == (5, 0.1)
    assert (settings.early_stopping, settings.patience) == (False, 5)


def test_edges_are_allowed():
    Settings(epochs=0, batch_size=None, rate=1e30, momentum=0.999)
    Settings(2, 1, 1, warmup=2, schedule="step", step_size=1, gamma=1)
    Settings(2, 1, 1, optimizer="adamw", betas=(0, 0), eps=1e-30, weight_decay=1e30)


def test_every_architecture_has_defaults():
    assert list(ARCHITECTURES) == list(DEFAULTS)


def test_architectures_are_those_of_the_exercise():
    assert ARCHITECTURES == {
        "linear": (),
        "mlp200": (200,),
        "mlp800": (800,),
        "deep": (2500, 2000, 1500, 1000, 500),
    }


@pytest.mark.parametrize("arch", ["linear", "mlp200"])
def test_defaults_lie_in_the_ranges_of_the_slides(arch):
    assert 0.01 <= DEFAULTS[arch].rate <= 0.1
    assert 100 <= DEFAULTS[arch].batch_size <= 1000


def test_mlp200_trains_for_at_most_ten_epochs():
    assert DEFAULTS["mlp200"].epochs <= 10


def test_numbers_of_numpy_are_plain_numbers():
    """As they come out of a search over arrays: a checkpoint holds them as JSON."""
    given = Settings(
        epochs=np.int64(3),
        batch_size=np.uint8(10),
        rate=np.float32(0.5),
        nesterov=np.bool_(True),
        momentum=np.array(0.5),
        weight_decay=np.float64(0.25),
        optimizer=np.str_("sgd"),
        warmup=np.int32(1),
        early_stopping=np.bool_(False),
    )
    plain = Settings(3, 10, 0.5, 0.5, nesterov=True, weight_decay=0.25, warmup=1.0)
    assert given == plain
    assert [type(value) for value in vars(given).values()] == [
        type(value) for value in vars(plain).values()
    ]
    assert json.loads(json.dumps(asdict(given)))["rate"] == 0.5
    betas = Settings(1, 1, 1.0, optimizer="adam", betas=np.array([0.5, 0.75], np.float32)).betas
    assert repr(betas) == "(0.5, 0.75)"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", 1.5, "epochs must be an integer, not 1.5"),
        ("epochs", "3", "epochs must be an integer, not '3'"),
        ("epochs", True, "epochs must be an integer, not True"),
        ("batch_size", np.float64(3), r"batch size must be an integer, not .*3.0"),
        ("rate", "0.1", "rate must be a number, not '0.1'"),
        ("rate", None, "rate must be a number, not None"),
        ("rate", [0.1, 0.2], "rate must be a number, not"),
        ("rate", np.ones(3), "rate must be a finite number, not array"),
        ("momentum", True, "momentum must be a number, not True"),
        ("nesterov", 1, "nesterov must be True or False, not 1"),
        ("early_stopping", "yes", "early stopping must be True or False, not 'yes'"),
        ("optimizer", None, "the optimizer must be a text, not None"),
        ("schedule", 3, "the schedule must be a text, not 3"),
        ("betas", 0.9, "betas must be two numbers, not 0.9"),
        ("betas", "ab", "betas must be two numbers, not 'ab'"),
        ("weight_decay", 1e42, "weight decay must be finite in float32, not 1e[+]42"),
        ("rate", 10**400, "rate must be a finite number, not 1000"),
        ("epochs", 10**400, "epochs must be 0 or more, at most 1000000000, not a number far above"),
    ],
)
def test_refuses_what_is_no_setting(name, value, message):
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        Settings(**{**GOOD, name: value})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 120
