"""The names that `training` makes public, which load when they are first used."""

import pytest

from jitprop import training

EAGER = "ARCHITECTURES", "DEFAULTS", "Distortion", "Settings", "settings_for"


def test_every_public_name_is_there():
    assert sorted(training.__all__, key=str.casefold) == sorted(
        [*training._MODULES, *EAGER],
        key=str.casefold,
    )
    for name in training.__all__:
        assert getattr(training, name) is not None


def test_no_other_name_is():
    with pytest.raises(AttributeError, match=r"'jitprop.training' has no attribute 'train'"):
        training.train  # noqa: B018
