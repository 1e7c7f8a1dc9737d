"""What each request of the page is answered with: JSON in, numbers out."""

import base64
import io
import secrets
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop.web.room import Room
from jitprop.web.wire import bytes_of, shortened

Array = npt.NDArray[Any]

MOST_JSON, MOST_PICTURE = 2**18, 2**24  # bytes of a request
SHOWN = 280  # pixels, the longer side of a picture that is given back
SMALLEST, LARGEST = 8, 400  # sides of a drawing
WHOLE = 2**53  # the largest integer that a browser's numbers tell apart


def models(room: Room) -> Any:
    """Return what the networks are made of, and what of them can be checked."""
    from jitprop.web.checking import faults, places

    return {
        "models": [
            model.described()
            | {"checks": places(model), "faults": [fault._asdict() for fault in faults(model)]}
            for model in room.models
        ],
        "runs": room.runs.names() if room.runs else [],
    }


def example(room: Room) -> Any:
    """Return a test image of MNIST, as `picture` returns one, and its label."""
    assert room.runs is not None  # the room is open
    dataset = room.runs.dataset
    at = secrets.randbelow(len(dataset.test_labels))
    image = 255 - dataset.test_images[at]
    height, width = image.shape
    levels = base64.b64encode(image.tobytes()).decode()
    label = int(dataset.test_labels[at])
    return {"width": width, "height": height, "levels": levels, "paper": 255, "label": label}


def picture(room: Room, asked: bytes) -> Any:
    """Return a picture file as grey levels, to be drawn on the page."""
    from PIL import Image

    from jitprop.data.image import read_image

    grey = np.clip(np.rint(read_image(io.BytesIO(asked), "the picture")), 0, 255).astype(np.uint8)
    image = Image.fromarray(grey)
    image.thumbnail((SHOWN, SHOWN))
    levels = base64.b64encode(image.tobytes()).decode()
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    paper = int(np.median(border))  # is laid around it
    return {"width": image.width, "height": image.height, "levels": levels, "paper": paper}


def see(room: Room, asked: dict[str, Any]) -> Any:
    """Return all that passes through a network for a drawing, or for a digit of 28 x 28."""
    model = _model(room, asked)
    digit = _drawing(asked) if "drawing" in asked else _digit(asked)
    return model.see(digit, _target(asked))


def weights(room: Room, asked: dict[str, Any]) -> Any:
    """Return the weights of one unit, or those that lead away from one entry."""
    index = {name: _integer(asked, name) if name in asked else None for name in ("unit", "entry")}
    return _model(room, asked).weights(
        _digit(asked), _target(asked), _integer(asked, "step"), **index
    )


def teach(room: Room, asked: dict[str, Any]) -> Any:
    """Update a network on a digit."""
    target = _integer(asked, "target")
    times = _integer(asked, "times") if "times" in asked else 1
    return _model(room, asked).teach(_digit(asked), target, _number(asked, "rate"), times)


def forget(room: Room, asked: dict[str, Any]) -> Any:
    """Restore the weights of a network."""
    _model(room, asked).forget()
    return {"taught": 0}


def check(room: Room, asked: dict[str, Any]) -> Any:
    """Return columns of the gradient check."""
    from jitprop.web import checking

    model = _model(room, asked)
    columns = asked.get("columns")
    if not isinstance(columns, list) or not all(type(one) is int for one in columns):
        raise ValueError("columns must be a list of integers")
    name = asked.get("by", "x")
    seed = _integer(asked, "planted") if "planted" in asked else None
    fault = None if seed is None else checking.planted(model, seed, room.token)
    digit, target, step = _digit(asked), _integer(asked, "target"), _integer(asked, "step")
    return checking.check(model, digit, target, step, name, columns, fault)


def guess(room: Room, asked: dict[str, Any]) -> Any:
    """Return whether the planted error was found."""
    from jitprop.web import checking

    fault = checking.planted(_model(room, asked), _integer(asked, "planted"), room.token)
    right = (_integer(asked, "step"), asked.get("what")) == (fault.step, fault.what)
    return {"right": right, "told": fault.told if right else ""}


def start(room: Room, asked: dict[str, Any], name: str) -> Any:
    """Begin a training."""
    return _runs(room).start(name, asked).told()


def told(room: Room, name: str) -> Any:
    """Return where a training stands."""
    return _runs(room).find(name).told()


def stop(room: Room, asked: dict[str, Any], name: str) -> Any:
    """Stop a training between two steps."""
    run = _runs(room).find(name)
    run.stop()
    return run.told()


def go(room: Room, asked: dict[str, Any], name: str) -> Any:
    """Go on with a training."""
    run = _runs(room).find(name)
    if "pause" in asked:
        run.slow_down(asked["pause"])
    run.go()
    return run.told()


# The answer to each path, and what it takes: JSON, bytes, or nothing.
ROUTES: dict[str, tuple[Any, str]] = {
    "models": (models, ""),
    "example": (example, ""),
    "picture": (picture, "bytes"),
    "see": (see, "json"),
    "weights": (weights, "json"),
    "teach": (teach, "json"),
    "forget": (forget, "json"),
    "check": (check, "json"),
    "guess": (guess, "json"),
    "runs/{name}": (told, ""),
    "runs/{name}/start": (start, "json"),
    "runs/{name}/stop": (stop, "json"),
    "runs/{name}/go": (go, "json"),
}


def _runs(room: Room) -> Any:
    assert room.runs is not None  # the room is open
    return room.runs


def _model(room: Room, asked: dict[str, Any]) -> Any:
    number = _integer(asked, "model") if "model" in asked else 0
    if not 0 <= number < len(room.models):
        raise ValueError(f"there is no network {number}, expected 0 to {len(room.models) - 1}")
    return room.models[number]


def _drawing(asked: dict[str, Any]) -> Array:
    """Return a drawing as MNIST's makers would have made it, (28, 28) uint8."""
    from jitprop.data.pieces import normalise

    sides = [_integer(asked, name) for name in ("height", "width")]
    if not all(SMALLEST <= side <= LARGEST for side in sides):
        raise ValueError(f"a drawing has sides of {SMALLEST} to {LARGEST} pixels")
    levels = bytes_of(asked["drawing"], "the drawing", sides[0] * sides[1])
    return normalise(np.frombuffer(levels, np.uint8).reshape(sides), "the drawing")


def _digit(asked: dict[str, Any]) -> Array:
    return np.frombuffer(bytes_of(asked.get("digit"), "digit", 784), np.uint8).reshape(28, 28)


def _target(asked: dict[str, Any]) -> int | None:
    return None if asked.get("target") is None else _integer(asked, "target")


def _integer(asked: dict[str, Any], name: str) -> int:
    value = asked.get(name)
    if type(value) is not int or abs(value) > WHOLE:
        raise ValueError(f"{name} must be an integer, not {shortened(value)}")
    return value


def _number(asked: dict[str, Any], name: str) -> float:
    value = asked.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > 1e300:
        raise ValueError(f"{name} must be a number, not {shortened(value)}")
    return float(value)
