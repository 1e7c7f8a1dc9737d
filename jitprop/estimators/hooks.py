"""Functions that hear of each epoch of an estimator: a person's, and scikit-learn's callbacks."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from jitprop.layers.copies import copied
from jitprop.training.asking import Predictor
from jitprop.training.epoch import Epoch


class Hooks:
    """Tells of each epoch.

    Parameters
    ----------
    mlp : MultilayerPerceptron
        It has `callbacks` and, from scikit-learn 1.9 on, those of `set_callbacks`.
    X, y : arrays
        What it learns, for scikit-learn's callbacks; `y` as `_encoded` gives it.

    Raises
    ------
    TypeError
        A callback is not a function.
    """

    def __init__(self, mlp: Any, X: Any, y: Any) -> None:
        given = mlp.callbacks
        calls = [] if given is None else given if isinstance(given, list | tuple) else [given]
        for call in calls:
            if not callable(call):
                raise TypeError(
                    f"callbacks holds {call!r}, expected functions that take a jitprop.Epoch"
                )
        self.calls: Sequence[Callable[[Epoch], Any]] = calls
        self.mlp, self.data = mlp, {"X": X, "y": partial(mlp._decoded, y)}
        self.whole: Any = None
        self.now: Any = None
        if hasattr(mlp, "_skl_callbacks"):
            self.whole = mlp._init_callback_context(max_subtasks=mlp.max_iter)
            self.whole.call_on_fit_task_begin(estimator=mlp, **self.data)

    def __bool__(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self.calls) or self.whole is not None

    def begin(self) -> None:
        """Tell that an epoch begins."""
        if self.whole is not None:
            self.now = self.whole.subcontext(task_name="epoch")
            self.now.call_on_fit_task_begin(estimator=self.mlp, **self.data)

    def end(self, epoch: Epoch) -> bool:
        """Tell of an epoch; return whether somebody wants training to end."""
        found = [call(epoch) for call in self.calls]
        stops = [isinstance(one, bool | np.bool_) and bool(one) for one in found]
        if self.now is not None:
            stops.append(
                self.now.call_on_fit_task_end(
                    estimator=self.mlp, **self.data, reconstruction_attributes=self._fitted
                )
            )
        return any(stops)

    def close(self) -> None:
        """Tell that training has ended."""
        if self.whole is not None:
            self.whole.call_on_fit_task_end(
                estimator=self.mlp, **self.data, reconstruction_attributes=self._fitted
            )

    def _fitted(self) -> dict[str, Any]:
        """Return the attributes with which a copy of the estimator answers as it would now."""
        net = copied(self.mlp.network_)
        return {"network_": net, "_ask": Predictor(net)}
