"""Presets that bring a network along, and what else a network of the command line is made of."""

from runs import folder, process, refused, run

from jitprop.cli import arguments
from jitprop.training.settings import PRESETS


def test_a_preset_brings_its_network_and_what_is_given_beside_it_wins(monkeypatch):
    monkeypatch.setitem(PRESETS, "best", "--hidden 30,20 --activation relu --lr 0.3 --distort")

    def parsed(*words):
        args = arguments.make_parser().parse_args(["--preset", "best", *words])
        return args.hidden, args.arch, args.activation, args.rate

    assert parsed() == ((30, 20), "mlp200", "relu", 0.3)
    assert parsed("--hidden", "7") == ((7,), "mlp200", "relu", 0.3)
    assert parsed("--arch", "linear") == (None, "linear", "relu", 0.3)
    assert parsed("--arch", "mlp200", "--lr", "0.1") == (None, "mlp200", "relu", 0.1)
    assert parsed("--activation", "tanh") == ((30, 20), "mlp200", "tanh", 0.3)
    monkeypatch.setitem(PRESETS, "best", "--arch deep --lr 0.3")
    assert parsed() == (None, "deep", "tanh", 0.3)
    assert parsed("--hidden", "7") == ((7,), "deep", "tanh", 0.3)


def test_what_the_network_is_made_of(run, capsys):
    """A network of one's own, with all that makes it one, learns; and the metrics tell."""
    words = "--hidden 9,8 --activation relu --input-dropout 0.1 --dropout 0.2 --max-norm 2"
    found = run(f"{words} --average 1 --epochs 2")
    told = found["settings"]
    assert (told["activation"], told["input_dropout"], told["dropout"]) == ("relu", 0.1, 0.2)
    assert (told["max_norm"], told["average"], told["hidden"]) == (2.0, 1.0, [9, 8])
    assert found["test_errors"] == found["epochs"][-1]["test_errors"]
    other = run(f"{words} --epochs 2")
    assert other["weights_sha256"] != found["weights_sha256"]
    for wrong in ("--activation gelu", "--input-dropout 1", "--max-norm -1", "--average x"):
        flag = wrong.partition(" ")[0].removeprefix("--").replace("-", " ")
        assert flag in refused(capsys, *wrong.split())[1].replace("-", " ")
