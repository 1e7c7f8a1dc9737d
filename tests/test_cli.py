"""jitprop/cli/: the command `jitprop`, its twin `python -m jitprop`, and `python train.py`."""

import ast
import itertools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import jitprop
from jitprop import cli, kernels
from jitprop.cli import info, parser
from jitprop.kernels.compiler import cache

ROOT = Path(__file__).parents[1]
NEEDED = {  # arguments
    "predict": ["x.png"],
    "export": ["jitprop/data/digits.safetensors", os.devnull],
    "distort": ["no/such/folder/x.png"],
    "serve": ["--no-browser"],
}


def run(*args, cwd=ROOT, **variables):
    done = subprocess.run(
        [sys.executable, *map(str, args)],
        cwd=cwd,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


def sometimes(cases, always):
    """The cases; those that are not among `always` run with `-m ci`: each starts a process."""
    return [pytest.param(*case, marks=[] if case in always else pytest.mark.ci) for case in cases]


def test_the_installed_command_is_cli_run():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"jitprop": "jitprop.cli:run"}


@pytest.mark.parametrize("args", [["--version"], ["--version", "train"]])
def test_version(args, capsys):
    assert cli.main(args) == 0
    assert capsys.readouterr().out == f"jitprop {jitprop.__version__}\n"
    assert run("-m", "jitprop", *args) == (0, f"jitprop {jitprop.__version__}\n", "")


def test_the_installed_command_is_train_py(monkeypatch):
    """One file: at the top of a clone, and in what setup.py builds."""
    import jitprop.train

    assert jitprop.train.__file__ == str(ROOT / "train.py")
    monkeypatch.setattr("jitprop.train.main", lambda argv, prog: (argv, prog))
    assert cli.main(["train", "--epochs", "3"]) == (["--epochs", "3"], "jitprop train")


@pytest.mark.parametrize("command", ["", *cli.COMMANDS])
@pytest.mark.parametrize("prog", ["jitprop", "python -m jitprop"])
def test_each_help_names_its_command(prog, command, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([*command.split(), "--help"], prog)
    out = capsys.readouterr().out
    assert end.value.code == 0
    assert out.startswith(f"usage: {prog} {command}".rstrip() + " ")
    assert "train.py" not in out.replace("that train.py saved", "")
    examples = re.findall(r"^  (?:cat.*\| )?((?:python|jitprop)\b.*)", out, re.M)
    assert all(example.startswith(f"{prog} {command}") for example in examples)
    assert len(examples) > 2 or command in ("", "info")
    assert max(map(len, out.splitlines())) <= 100


def test_without_a_command_is_help(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([])
    assert end.value.code == 0
    assert "commands:" in capsys.readouterr().out


@pytest.mark.parametrize("args", ["trian", "-x", "--quiet train", "train --epoch 3", "info x"])
def test_a_wrong_word_is_one_line(args, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(args.split())
    out, err = capsys.readouterr()
    assert (end.value.code, out, err.count("\n")) == (2, "", 1)
    command = args.split()[0]
    prog = f"jitprop {command}" if command in cli.COMMANDS else "jitprop"
    assert err.startswith(f"{prog}: error: ")


def test_help_loads_neither_numpy_nor_numba():
    for command in cli.COMMANDS:
        code = f"""
import sys
from jitprop.cli import main
try:
    main([{command!r}, "--help"])
finally:
    print({{"numpy", "numba", "PIL"}} & {{*sys.modules}})
"""
        assert run("-c", code)[1].endswith("set()\n")


def test_required_packages_are_those_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.match(r"\w+", dependency)[0] for dependency in project["dependencies"]}
    assert {*parser.REQUIRED} == names


@pytest.mark.parametrize(
    "missing", [["numpy"], ["numba"], ["safetensors"], ["tqdm"], ["numpy", "tqdm"]]
)
@pytest.mark.parametrize("command", cli.COMMANDS)
def test_a_missing_package_is_one_line_that_says_what_to_type(
    missing, command, monkeypatch, capsys
):
    found = parser.find_spec
    monkeypatch.setattr(parser, "find_spec", lambda name: None if name in missing else found(name))
    with pytest.raises(SystemExit) as end:
        cli.main([command, *NEEDED.get(command, [])])
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    verb = "is" if len(missing) == 1 else "are"
    assert err == (
        f"jitprop {command}: error: {', '.join(missing)} {verb} not installed: "
        f"pip install -e {ROOT}\n"
    )


def test_outside_a_clone_the_package_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(parser, "__file__", str(tmp_path / "jitprop" / "cli" / "parser.py"))
    assert parser.to_install() == "pip install jitprop"


def test_hints_have_one_style():
    """`pip install 'jitprop[EXTRA]'`, of an extra that there is, whatever is missing."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    sources = [*(ROOT / "jitprop").rglob("*.py"), *(ROOT / "layers").rglob("*.py")]
    sources += [*(ROOT / "perf").rglob("*.py"), ROOT / "train.py"]
    hints = []
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            text = getattr(node, "value", None)
            if isinstance(text, str):
                hints += re.findall(r"pip install .*", text)
    assert len(hints) >= 4
    for hint in hints:
        extra = re.match(r"pip install 'jitprop\[(\w+)\]'", hint)
        assert extra, hint
        assert extra[1] in project["optional-dependencies"]


def test_a_python_without_packages():
    """As a person has it who has cloned and forgot to install: -S leaves out site-packages."""
    for command in (
        ["train.py"],
        ["-m", "jitprop", "train"],
        ["-m", "jitprop", "predict", "x.png"],
    ):
        code, out, err = run("-S", *command)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "numpy, numba, safetensors, tqdm are not installed: pip install " in err
    assert run("-S", "train.py", "--help")[0] == 0
    assert run("-S", "-m", "jitprop", "--version")[0] == 0


def test_info(capsys, kernel_cache):
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    rows = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert rows["jitprop"] == jitprop.__version__
    assert rows["kernels"].endswith(f"threads {kernels.get_num_threads()}")
    assert rows["cache"] == f"{kernel_cache}: 0 files, 0.0 MB; to empty it, delete it"
    (cache.folder() / "jitprop.kernels.x-0.bin").write_bytes(b"\0" * 2_340_000)
    assert cli.main(["info"]) == 0
    assert f"{kernel_cache}: 1 files, 2.3 MB" in capsys.readouterr().out


def test_info_without_a_cache(capsys, monkeypatch):
    monkeypatch.setattr(cache, "folder", lambda: None)
    assert info.main([]) == 0
    assert "each run compiles its kernels again" in capsys.readouterr().out


def test_the_command_is_what_is_said_to_be_typed(tmp_path, capsys):
    """The line that goes on after Ctrl-C, of whoever was called."""
    from jitprop.cli.arguments import going_on, make_parser

    for prog, command in (
        ("train.py", "python train.py"),
        ("jitprop train", "jitprop train"),
        ("python -m jitprop train", "python -m jitprop train"),
    ):
        made = make_parser(prog)
        args = made.parse_args(["--save", "net"])
        assert going_on(args, made.command) == f"{command} --resume net --save net"


def test_no_function_of_the_package_prints_a_stranger_name():
    """Nothing imports by a bare name what lies in this repository: the names are the person's."""
    bare = {"cli", "data", "kernels", "layers", "predict", "train", "training"}
    for path in [
        *ROOT.glob("jitprop/**/*.py"),
        *ROOT.glob("kernels/**/*.py"),
        *ROOT.glob("layers/**/*.py"),
    ]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not bare & {alias.name.split(".")[0] for alias in node.names}, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in bare, path
                assert not node.level, path


COMMANDS = ["train.py", *(f"-m jitprop {name}" for name in cli.COMMANDS)]
EARLY = {(command, module) for command in COMMANDS for module in ("numpy", "numba")}
EARLY |= {("train.py", "safetensors"), ("-m jitprop predict", "safetensors")}


@pytest.mark.parametrize(
    ("command", "module"),
    sometimes(itertools.product(COMMANDS, ["numpy", "numba", "safetensors"]), EARLY),
)
def test_ctrl_c_while_packages_load(command, module, tmp_path):
    """The module stands for any: Ctrl-C comes in the midst of its import, and an error after it."""
    package = tmp_path / module
    package.mkdir()
    (package / "__init__.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nraise ImportError('half loaded')"
    )
    words = [*command.split(), *NEEDED.get(command.split()[-1], [])]
    words += ["--save", str(tmp_path / "net")] * ("train" in command)
    code, out, err = run(*words, PYTHONPATH=str(tmp_path))
    if module == "safetensors" and command.endswith(("info", "distort")):
        assert code != 130  # which do not load it
        return
    if command.endswith("serve"):  # says where it answers, and loads the rest then
        out = re.sub(r"http://\S+/\n", "", out)
    assert (code, out) == (130, "")
    assert re.fullmatch(r"(train\.py|python -m jitprop \w+): interrupted( before training)?\n", err)


@pytest.mark.parametrize("command", ["train.py", "-m jitprop info"])
def test_ctrl_c_ignored_stays_ignored(command, tmp_path):
    """As a shell has it for programs that it starts in the background of a script."""
    code = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from jitprop.cli import as_program\n"
        "as_program(lambda: os.kill(os.getpid(), signal.SIGINT) or 3)"
    )
    assert run("-c", code) == (3, "", "")


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a full disk as Linux has it")
@pytest.mark.parametrize("command", ["info", "--version", "--help", "predict x.png"])
def test_output_into_a_full_disk(command):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "jitprop", *command.split()],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode in (1, 2)  # 2 of the picture that is not there
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("command", "closed"), sometimes(
    [(command, closed) for command in ("info", "predict -", "predict x.png --json")
     for closed in ("<&-", "2>&-", ">&-", "<&- >&- 2>&-")],
    {("info", ">&-"), ("predict -", "<&-"), ("predict -", "<&- >&- 2>&-"),
     ("predict x.png --json", ">&-"), ("predict x.png --json", "2>&-")},
))  # fmt: skip
def test_closed_streams(command, closed):
    words = f'exec "$0" -m jitprop {command} {closed}'
    done = subprocess.run(
        ["sh", "-c", words, sys.executable], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == (0 if command == "info" else 2)
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == ("predict" in command and "2>" not in closed)
