"""Settings and the tables of architectures and defaults."""

import pytest

from training import ARCHITECTURES, DEFAULTS, Settings

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
    ],
)
def test_refuses_what_makes_no_sense(name, value):
    Settings(**GOOD)
    with pytest.raises(ValueError, match=name.replace("_", " ")) as caught:
        Settings(**{**GOOD, name: value})
    assert str(value) in str(caught.value)


def test_edges_are_allowed():
    Settings(epochs=0, batch_size=None, rate=1e30, momentum=0.999)


def test_every_architecture_has_defaults():
    assert list(ARCHITECTURES) == list(DEFAULTS) == ["linear", "mlp200", "mlp800", "deep"]


@pytest.mark.parametrize("arch", ["linear", "mlp200"])
def test_defaults_lie_in_the_ranges_of_the_slides(arch):
    assert 0.01 <= DEFAULTS[arch].rate <= 0.1
    assert 100 <= DEFAULTS[arch].batch_size <= 1000


def test_mlp200_trains_for_at_most_ten_epochs():
    assert DEFAULTS["mlp200"].epochs <= 10
