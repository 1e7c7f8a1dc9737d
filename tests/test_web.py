"""jitprop/web/server.py, answers.py and `jitprop serve`: who may ask, and what is refused."""

import base64
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from asking import ROOT, Asking, Room, coded, digit, mnist, one_line, page, server

import jitprop
from jitprop.cli import serve
from jitprop.web import answers

# Who may ask.


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "example.org"},
        {"Host": "example.org:{port}"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:1"},
        {"Host": "10.0.0.1:{port}"},
        {"Host": ""},
        {"Origin": "http://example.org"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://localhost:{port}"},
    ],
)
@pytest.mark.parametrize("path", ["", "page.js", "api/models"])
def test_another_host_or_origin_is_refused(page, headers, path):
    sent = {name: value.format(port=page.behind.port) for name, value in headers.items()}
    status, text, _ = page.raw("GET", f"/{page.room.token}/{path}", headers=sent)
    assert status == 403
    assert "page answers" in one_line(text)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path",
    ["/", "/page.js", "/api/models", "/%E2%82%AC/", "/x/api/see", "//", "/{token}x/"],
)
def test_without_the_token_nothing_answers(page, method, path):
    path = path.format(token=page.room.token)
    status, text, _ = page.raw(method, path)
    assert status == 403
    assert "token" in one_line(text)


def test_the_page_itself_may_ask(page):
    own = f"127.0.0.1:{page.behind.port}"
    for host in (own, f"localhost:{page.behind.port}"):
        headers = {"Host": host, "Origin": f"http://{host}"}
        status, text, _ = page.raw("GET", f"/{page.room.token}/api/models", headers=headers)
        assert (status, json.loads(text)["models"][0]["name"]) == (200, "shipped")
    assert page.behind.address == f"http://{own}/{page.room.token}/"


@pytest.mark.parametrize(
    ("bound", "host", "own"),
    [
        ("0.0.0.0", "192.168.1.7:80", True),
        ("0.0.0.0", "example.org:80", False),
        ("192.168.1.7", "192.168.1.7:80", True),
        ("127.0.0.1", "192.168.1.7:80", False),
        ("::1", "[::1]:80", True),
        ("laptop.local", "LAPTOP.local:80", True),
        ("127.0.0.1", "[::1]:81", False),
    ],
)
def test_hosts(bound, host, own):
    assert server.Door(None, Room(), bound, 80)._is_own(host) is own


@pytest.mark.parametrize("spelling", ["0", "0.0"])
def test_all_addresses_spelled_otherwise(spelling, page, monkeypatch):
    monkeypatch.setattr(server, "_reachable", lambda host: {"0.0.0.0": "127.0.0.1"}[host])
    behind = server.Server(page.room, spelling)
    behind.start()
    asking = Asking(behind, page.room)
    headers = {"Host": f"192.168.1.7:{behind.port}"}
    assert asking.raw("GET", f"/{page.room.token}/", headers=headers)[0] == 200
    behind.stop()


def test_files_of_the_page(page):
    for path in server.STATIC.iterdir():
        status, text, headers = page.raw("GET", f"/{page.room.token}/{path.name}")
        assert (status, text) == (200, path.read_text("utf-8"))
        assert "default-src 'self'" in headers["content-security-policy"]
        for elsewhere in ("http://", "https://", "//cdn"):
            assert elsewhere not in text.replace("http://www.w3.org/2000/svg", "")
    assert page.raw("GET", f"/{page.room.token}/")[1].startswith("<!doctype html>")
    assert page.raw("GET", f"/{page.room.token}")[2]["location"] == f"/{page.room.token}/"


@pytest.mark.parametrize("name", ["server.py", "../server.py", "..%2fserver.py", "%2fetc%2fpasswd"])
def test_no_other_file_is_served(page, name):
    status, text, _ = page.raw("GET", f"/{page.room.token}/{name}")
    assert status == 404
    one_line(text)


# What makes no sense.

DIGIT = coded(np.zeros(784, np.uint8))
WRONG = [
    ("see", {}, "digit must be bytes in base64"),
    ("see", {"digit": DIGIT[:-4]}, "digit must be 784 bytes, not 783"),
    ("see", {"digit": "€"}, "digit must be bytes in base64"),
    ("see", {"digit": DIGIT, "target": 10}, "there is no class 10, expected 0 to 9"),
    ("see", {"digit": DIGIT, "target": -1}, "there is no class -1"),
    ("see", {"digit": DIGIT, "target": True}, "target must be an integer, not True"),
    ("see", {"digit": DIGIT, "model": 1}, "there is no network 1, expected 0 to 0"),
    ("see", {"digit": DIGIT, "model": 10**30}, "model must be an integer"),
    ("see", {"drawing": "", "width": 7, "height": 20}, "sides of 8 to 400 pixels"),
    ("see", {"drawing": DIGIT, "width": 28, "height": 29}, "must be 812 bytes, not 784"),
    ("see", {"drawing": DIGIT, "width": 28, "height": 28}, "nothing to be seen on it"),
    ("weights", {"digit": DIGIT, "step": 1, "unit": 0}, "step 1 has no weights"),
    ("weights", {"digit": DIGIT, "step": -1, "unit": 0}, "step -1 has no weights"),
    ("weights", {"digit": DIGIT, "step": 0, "unit": 800}, "expected 0 to 799"),
    ("weights", {"digit": DIGIT, "step": 0, "entry": 784}, "expected 0 to 783"),
    ("weights", {"digit": DIGIT, "step": 0}, "there is no number None"),
    ("teach", {"digit": DIGIT, "rate": 0.1}, "target must be an integer"),
    ("teach", {"digit": DIGIT, "target": 1, "rate": 0}, "the rate must be above 0"),
    ("teach", {"digit": DIGIT, "target": 1, "rate": 1e7}, "the rate must be above 0 and at most"),
    ("teach", {"digit": DIGIT, "target": 1, "rate": float("nan")}, "the rate must be above 0"),
    ("teach", {"digit": DIGIT, "target": 1, "rate": 10**400}, "rate must be a number"),
    ("teach", {"digit": DIGIT, "target": 1, "rate": 1, "times": 101}, "1 to 100 updates"),
    ("check", {"digit": DIGIT, "target": 1, "step": 0}, "columns must be a list of integers"),
    ("check", {"digit": DIGIT, "target": 1, "step": 0, "columns": []}, "1 to 64 columns"),
    ("check", {"digit": DIGIT, "target": 1, "step": 0, "columns": [0] * 65}, "1 to 64 columns"),
    ("check", {"digit": DIGIT, "target": 1, "step": 0, "columns": [784]}, "entries 0 to 783"),
    ("check", {"digit": DIGIT, "target": 1, "step": 9, "columns": [0]}, "there is no step 9"),
    ("check", {"digit": DIGIT, "target": 1, "step": 1, "by": "w", "columns": [0]}, "expected x"),
    ("runs/A/start", {"rate": -1}, "the learning rate must be above 0"),
    ("runs/A/start", {"hidden": [100] * 6}, "at most 5 widths"),
    ("runs/A/start", {"hidden": [2501]}, "an integer from 1 to 2500, not 2501"),
    ("runs/A/start", {"hidden": "200"}, "a list of at most 5 widths"),
    ("runs/A/start", {"hidden": [2000], "batch_size": None}, "take a smaller batch or network"),
    ("runs/A/start", {"images": 60001}, "an integer from 1 to 60000, not 60001"),
    ("runs/A/start", {"epochs": 1001}, "an integer from 1 to 1000"),
    ("runs/A/start", {"optimizer": "lion"}, "the optimizer must be one of"),
    ("runs/A/start", {"optimizer": "adam", "momentum": 0.9}, "momentum is for the optimizer sgd"),
    ("runs/A/start", {"activation": "gelu"}, "activation is one of"),
    ("runs/A/start", {"pause": 3}, "pause must be 0 to 2 seconds"),
    ("runs/A/start", {"lr": 3}, "there is no setting 'lr'"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "asked", "said"), WRONG)
def test_a_wrong_request_is_one_line(page, path, asked, said):
    status, text, _ = page.raw("POST", f"/{page.room.token}/api/{path}", json.dumps(asked))
    assert status == 400
    assert said in one_line(text)


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "7", "[" * 100_000, b"\xff\xfe", '{"a": ' + "9" * 5000]
)
def test_what_is_no_object_is_one_line(page, body):
    status, text, _ = page.raw("POST", f"/{page.room.token}/api/see", body)
    assert (status, one_line(text)) == (400, "expected an object in JSON")


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        ("see", answers.MOST_JSON + 1, 413),
        ("picture", answers.MOST_PICTURE + 1, 413),
        ("picture", 100, 400),
        ("picture", 0, 400),
        ("nothing", 0, 405),
    ],
)
def test_sizes(page, path, size, status):
    found, text, _ = page.raw("POST", f"/{page.room.token}/api/{path}", b" " * size)
    assert found == status
    one_line(text)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "runs/C", 404), ("GET", "runs/B", 404), ("POST", "runs/B/stop", 404),
     ("POST", "runs/C/start", 404), ("GET", "see", 404), ("DELETE", "models", 405)],
)  # fmt: skip
def test_unknown_runs_and_paths(page, method, path, status):
    found, text, _ = page.raw(method, f"/{page.room.token}/api/{path}", "{}")
    assert found == status
    one_line(text)


# Pictures.


def test_a_picture_becomes_grey_levels(page, digit):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(255 - digit).resize((700, 560)).save(file, "PNG")
    _, text, _ = page.raw("POST", f"/{page.room.token}/api/picture", file.getvalue())
    told = json.loads(text)
    assert (told["width"], told["height"], told["paper"]) == (280, 224, 255)
    levels = np.frombuffer(base64.b64decode(told["levels"]), np.uint8).reshape(224, 280)
    asked = {"drawing": coded(levels), "width": 280, "height": 224}
    assert np.argmax(page.post("see", **asked)[1]["probabilities"]) == 7
    example = page.get("api/example")[1]
    assert (example["width"], example["height"]) == (28, 28)
    assert example["label"] in range(10)


# The command.


def started(*args):
    command = [sys.executable, "-m", "jitprop", "serve", "--no-browser", *args]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_the_command_prints_its_address_and_ends_on_ctrl_c(tmp_path):
    file = tmp_path / "small.safetensors"
    jitprop.save(file, jitprop.mlp(784, [4], 10, rng=0))
    process = started(str(file))
    address = process.stdout.readline()
    _, _, host, token, end = address.split("/")
    assert end == "\n"
    connection = http.client.HTTPConnection(host, timeout=120)
    connection.request("GET", f"/{token}/api/models")
    text = connection.getresponse().read().decode()
    names = [model["name"] for model in json.loads(text)["models"]]
    assert names == ["784-800-400-10, as shipped", "small.safetensors"]
    assert str(tmp_path) not in text
    process.send_signal(signal.SIGINT)  # the connection is still open
    out, err = process.communicate(timeout=60)
    connection.close()
    assert (process.returncode, out, err) == (130, "", "python -m jitprop serve: interrupted\n")


def test_what_the_command_cannot_do_is_one_line(tmp_path, capsys, monkeypatch):
    def refused(*args):
        with pytest.raises(SystemExit) as end:
            serve.main([*args, "--no-browser"])
        out, err = capsys.readouterr()
        assert (end.value.code, out, err.count("\n")) == (2, "", 1)
        return err

    missing = tmp_path / "none.safetensors"
    assert f"argument FILE: {missing}: No such file" in refused(str(missing))
    other = tmp_path / "other.safetensors"
    jitprop.save(other, jitprop.mlp(20, [4], 10, rng=0))
    assert "takes 20 numbers, expected 784" in refused(str(other))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"cannot listen on 127.0.0.1, port {port}: " in refused("--port", port)
    assert "cannot listen on 192.0.2.1, port 0: " in refused("--host", "192.0.2.1")
    assert "cannot listen on " in refused("--host", "a" * 70)
    assert "expected an integer from 0 to 65535" in refused("--port", "65536")
    found = serve.find_spec
    monkeypatch.setattr(serve, "find_spec", lambda n: None if n == "uvicorn" else found(n))
    assert refused().endswith("the page needs uvicorn: pip install 'jitprop[web]'\n")


def test_loading_keeps_a_request_waiting(page, monkeypatch):
    """Until the network is there, a request waits; it is told when that takes too long."""
    room = Room()
    behind = server.Server(room)
    behind.start()
    asking = Asking.__new__(Asking)
    asking.behind, asking.room = behind, room
    monkeypatch.setattr("jitprop.web.room.PATIENCE", 0.01)
    status, said = asking.get("api/models")
    assert (status, said) == (503, {"error": "the network is still being loaded: try again"})
    monkeypatch.undo()
    threading.Thread(target=lambda: room.open(page.room.models, page.room.runs)).start()
    assert asking.get("api/models")[0] == 200
    behind.stop()


def test_what_cannot_be_loaded_is_one_line_and_ends():
    """Requests that wait meanwhile do not keep the process."""
    script = (
        "import sys, threading, urllib.request\n"
        "from jitprop.cli import as_program, serve\n"
        "from jitprop.web import server\n"
        "def load(room, given):\n"
        "    wait, waits = room._open.wait, threading.Event()\n"
        "    room._open.wait = lambda most: (waits.set(), wait(most))[1]\n"
        "    ask = (servers[0].address + 'api/models',)\n"
        "    threading.Thread(target=urllib.request.urlopen, args=ask, daemon=True).start()\n"
        "    waits.wait()\n"
        "    raise ValueError('no such data')\n"
        "threading.excepthook = lambda how: None\n"
        "servers, serve.load = [], load\n"
        "start = server.Server.start\n"
        "server.Server.start = lambda self: (servers.append(self), start(self))\n"
        "as_program(lambda: serve.main(['--no-browser']))\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    said = "jitprop serve: error: cannot load what the page shows: no such data\n"
    assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.skipif(sys.platform == "win32", reason="memory as Linux tells it")
@pytest.mark.ci
def test_a_thousand_requests_of_twenty_clients(digit):
    process = started()
    try:
        _, _, host, token, _ = process.stdout.readline().split("/")
        drawing = coded(np.kron(255 - digit, np.ones((5, 5), np.uint8)))
        body = json.dumps({"drawing": drawing, "width": 140, "height": 140, "target": 3})

        def ask(times, found):
            connection = http.client.HTTPConnection(host, timeout=300)
            for _ in range(times):
                connection.request("POST", f"/{token}/api/see", body)
                answer = connection.getresponse()
                found.append((answer.status, answer.read()))
            connection.close()

        def together():
            found = []
            clients = [threading.Thread(target=ask, args=(50, found)) for _ in range(20)]
            for client in clients:
                client.start()
            for client in clients:
                client.join()
            assert len(found) == 1000
            assert {status for status, _ in found} == {200}
            assert len({text for _, text in found}) == 1

        memory = Path(f"/proc/{process.pid}/statm")
        together()
        before = int(memory.read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
        start = time.perf_counter()
        together()
        after = int(memory.read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
        print(f"{time.perf_counter() - start:.1f} s, {(after - before) / 1e6:.1f} MB more")
        assert after - before < 20e6
    finally:
        process.kill()
        process.communicate()
