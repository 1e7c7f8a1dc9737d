"""What the tests of the page share: a server with the shipped network, and what asks it."""

import base64
import http.client
import json
from pathlib import Path

import numpy as np
import pytest

import jitprop

pytest.importorskip("starlette", reason="the page needs the extra web")
pytest.importorskip("uvicorn", reason="the page needs the extra web")
pytest.importorskip("PIL", reason="the page needs the extra web")

from jitprop.cli.predict import MODEL
from jitprop.web import server
from jitprop.web.looking import Model
from jitprop.web.room import Room
from jitprop.web.runs import Runs

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def mnist():
    return jitprop.data.load_dataset()


@pytest.fixture(scope="module")
def digit(mnist):
    return mnist.test_images[0].copy()  # a seven


@pytest.fixture(scope="module")
def page(mnist):
    """A server with the shipped network, and what asks it."""
    room = Room()
    behind = server.Server(room)
    behind.start()
    model = Model("shipped", jitprop.load(MODEL))
    model.judge(mnist)
    room.open([model], Runs(mnist))
    yield Asking(behind, room)
    behind.stop()


class Asking:
    def __init__(self, behind, room):
        self.behind, self.room, self.model = behind, room, room.models[0]

    def raw(self, method, path, body=None, headers=()):
        connection = http.client.HTTPConnection("127.0.0.1", self.behind.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), dict(answer.getheaders())
        finally:
            connection.close()

    def get(self, path):
        status, text, _ = self.raw("GET", f"/{self.room.token}/{path}")
        return status, json.loads(text)

    def post(self, path, **asked):
        body = json.dumps(asked)
        status, text, _ = self.raw("POST", f"/{self.room.token}/api/{path}", body)
        return status, json.loads(text)


def coded(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def one_line(text):
    """The message of an answer that refuses, which is one line of JSON and names no path."""
    assert "\n" not in text
    found = json.loads(text)
    assert [*found] == ["error"]
    assert str(ROOT) not in text
    return found["error"]
