"""The Python of the READMEs runs as it stands there, the kernel shown stands in the sources."""

import csv
import re
import statistics
from pathlib import Path

import numpy as np
import pytest

from jitprop import predict
from perf import figures

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
ROOMS = "kernels", "layers", "jitprop/estimators", "jitprop/interop", "perf"
FOLDERS = {name: (ROOT / name / "README.md").read_text() for name in ROOMS}
TEXT = "\n".join([README, *FOLDERS.values()])
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def run(block):
    scope = {}
    exec(block, scope)
    return scope


def test_the_slides_loop():
    step = run(next(block for block in BLOCKS if "def step" in block))["step"]
    rng = np.random.default_rng(1)
    x = rng.random((50, 784), np.float32)
    t = rng.integers(0, 10, 50)
    losses = [step(x, t, 0.1) for _ in range(20)]
    assert losses[-1] < losses[0] / 2


def test_fit(capsys):
    run(next(block for block in BLOCKS if "jitprop.fit(" in block))
    assert int(capsys.readouterr().out) < 700  # of 10,000, after one epoch


def test_the_graph_is_what_it_prints(capsys):
    net = run(next(block for block in BLOCKS if "Graph(" in block))["net"]
    assert f"```\n{capsys.readouterr().out}```" in FOLDERS["layers"]
    assert f"```mermaid\n{net.to_mermaid().rstrip()}\n```" in FOLDERS["layers"]


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.startswith("@kernel")])
def test_the_kernel_shown_is_the_kernel(block):
    source = (ROOT / "kernels" / "bias.py").read_text()
    without_docstring = re.sub(r'    """.*?"""\n', "", source, flags=re.DOTALL)
    assert block in without_docstring


@pytest.mark.parametrize("network", figures.NETWORKS)
def test_figures_are_those_of_all_seeds(network):
    with figures.RESULTS.open(newline="") as file:
        runs = [run for run in csv.DictReader(file) if run["network"] == network]
    assert [int(run["seed"]) for run in runs] == list(range(30))
    assert {run["arguments"] for run in runs} == {figures.NETWORKS[network]}
    errors = [int(run["test_errors"]) for run in runs]
    mean, deviation = statistics.mean(errors), statistics.stdev(errors)
    row = next(line for line in README.splitlines() if line.startswith("| `") and network in line)
    assert f" {mean:.1f} (deviation {deviation:.1f}, {min(errors)} to {max(errors)}) " in row


def test_the_network_on_ones_own_numbers(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope = run(next(block for block in BLOCKS if "jitprop.save(" in block))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:30]] == [str(epoch) for epoch in range(1, 31)]
    found = predict(scope["net"], scope["x"][1500:]).argmax(axis=1)
    errors = np.sum(found != scope["t"][1500:])
    assert errors == int(lines[29].split()[2])
    assert errors < 100  # of 500; a linear network makes some 250


def test_a_network_leaves_and_comes_back(capsys, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    scope = run(next(block for block in BLOCKS if "again" in block))
    assert repr(scope["again"]) == repr(scope["net"])
    assert float(capsys.readouterr().out) < 1e-4  # 784 roundings of float32


def test_a_network_of_pytorch(capsys):
    pytest.importorskip("torch")
    run(next(block for block in BLOCKS if "to_torch(" in block))
    assert f"  # {capsys.readouterr().out}" in FOLDERS["jitprop/interop"]


def test_the_estimators(capsys, tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    blocks = [block for block in BLOCKS if "MLPClassifier" in block]
    assert len(blocks) == 3
    scope = {}
    for block in blocks:
        exec(block, scope)
    found = capsys.readouterr().out.split()
    assert 0.9 < float(found[0]) < 1
    assert 0.9 < float(found[-1]) <= 1


def test_the_number_of_the_repository_is_read(capsys, monkeypatch):
    pytest.importorskip("PIL")
    pytest.importorskip("scipy")
    monkeypatch.chdir(ROOT)
    run(next(block for block in BLOCKS if "read_digits(" in block))
    assert [line[0] for line in capsys.readouterr().out.splitlines()] == list("2026")


@pytest.mark.parametrize("folder", [".", "kernels", "perf", "jitprop/estimators"])
def test_links_lead_somewhere(folder):
    text = (ROOT / folder / "README.md").read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / folder / link).is_file()] == []


def test_every_python_block_is_run_or_shown():
    """Of each there is a test above."""
    known = ("def step", "fit(", "MLPClassifier(", "Graph(", "@kernel", "to_onnx(", "to_torch(")
    known += ("read_digits(",)
    assert all(any(word in block for word in known) for block in BLOCKS)
