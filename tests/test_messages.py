"""kernels/compiler/messages.py: lines on stderr, until a program wants them elsewhere or not."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINE = "jitprop: a surprise, 100 % sure\n"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("", "", LINE),
        ("logging.getLogger('jitprop').setLevel(logging.ERROR)", "", ""),
        ("", "logging.getLogger('jitprop').setLevel(logging.ERROR)", ""),
        ("", "logging.getLogger('jitprop').addHandler(logging.NullHandler())", ""),
        ("logging.basicConfig(format='%(name)s: %(message)s')", "", LINE),
        ("", "logging.basicConfig(format='%(name)s: %(message)s')", LINE),
        ("", "sys.stderr = None", ""),
    ],
)
def test_where_a_message_goes(before, after, expected):
    code = f"""
import logging, sys
{before}
from jitprop.kernels.compiler.messages import logger
{after}
logger.warning("a surprise, 100 % sure")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", expected)
