"""Epochs of gradient descent, and when they end, as in scikit-learn's networks.

An epoch is no better if its loss is not at least `tol` below the least so far; with early stopping,
if its score is not at least `tol` above the best. After more than `n_iter_no_change` such epochs in
a row, training ends. With the rate `adaptive`, the rate is divided by 5 instead, down to 1e-6.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from jitprop.estimators.steps import AdamSteps, AdamWSteps, Penalised, SGDSteps
from jitprop.estimators.task import Task
from jitprop.training import schedules
from jitprop.training.asking import BATCH
from jitprop.training.epoch import Epoch
from jitprop.training.evaluation import evaluate_plan
from jitprop.training.examples import Array
from jitprop.training.plan import Plan
from jitprop.training.progress import Silence, kind_of_bar
from jitprop.training.settings import Settings

SCHEDULES = ("linear", "cosine", "step")
LEAST_RATE = 1e-6
AHEAD, MOST_AHEAD = 30_000_000, 64  # multiply-adds, and epochs, that run in one go
NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)


class Descent:
    """Trains an estimator, epoch by epoch.

    Parameters
    ----------
    mlp : MultilayerPerceptron
        Its parameters say how to train. Its attributes say where training stands; each epoch
        updates them.
    task : Task
        What it learns.
    validation : Task or None
        What scores it.
    followed : bool
        Whether somebody wants to hear of each epoch.
    """

    def __init__(self, mlp: Any, task: Task, validation: Task | None, followed: bool) -> None:
        self.mlp, self.task = mlp, task
        self.stops_early = mlp.early_stopping  # a callback may change it
        self.size = _batch_size(mlp.batch_size, len(task))
        self.key = self._key(task)
        batches = task.batches(self.size)
        self.ahead = self._most_ahead(followed, validation is not None)
        self.plan = Plan(task.net, task.loss, batches, mlp._optimizer, self.ahead)
        self.factor = task.factor / task.unit(batches)
        self.order = np.arange(len(task))
        self.orders = np.tile(self.order, self.ahead)
        self.rows = replace(task, weights=None).amounts(self.orders, self.size)
        self.amounts = self.rows if task.weights is None else task.amounts(self.orders, self.size)
        self.evaluation: Plan | None = None
        if validation is not None:
            self.evaluation = Plan(task.net, task.loss, validation.batches(BATCH))
            validation = validation.in_numbers()
        self.validation = validation
        self.best: list[Array] = []
        self.seconds = 0.0

    def _most_ahead(self, followed: bool, validated: bool) -> int:
        """Return how many epochs may run in one go: several if they are shorter than Python's work.

        Then nothing reads the network between them, and no rule changes anything before the last.
        """
        mlp, task = self.mlp, self.task
        looked_at = followed or validated or mlp.restore_best
        steers = mlp.solver == "sgd" and mlp.learning_rate in ("invscaling", "adaptive")
        if looked_at or steers or len(task) % self.size:
            return 1
        work = task.net.multiply_adds(task.x.shape[1]) * len(task)
        return int(min(MOST_AHEAD, max(1, AHEAD // max(1, work)), mlp.n_iter_no_change + 1))

    def epochs(self, most: int) -> list[float]:
        """Run over all examples, once or several times; return the loss of each time.

        They are so few that no rule could end training before the last of them.
        """
        mlp, plan, start, examples = self.mlp, self.plan, perf_counter(), len(self.task)
        left = max(1, mlp.n_iter_no_change + 1 - mlp._no_improvement_count)
        count = int(min(self.ahead, most, left))
        if mlp.shuffle:
            for place in range(count):
                mlp._random_state.shuffle(self.order)
                self.orders[place * examples : (place + 1) * examples] = self.order
            if self.task.weights is not None:
                self.amounts = self.task.amounts(self.orders, self.size)
        mlp._optimizer.begin(self._rates(), self.amounts, mlp._steps)
        with closing(plan.run(self.orders[: count * examples])) as chunks:
            for _ in chunks:
                if plan.diverged:
                    raise ValueError(NOT_FINITE)
        mlp._steps += count * len(self.amounts) // self.ahead
        losses = plan.history[:, 0] * self.factor + mlp._optimizer.penalties()
        if self.task.weights is not None:
            losses = losses / self.amounts * self.rows
        self.seconds = (perf_counter() - start) / count
        return [float(one) for one in losses.reshape(self.ahead, -1)[:count].sum(1) / examples]

    def takes(self, task: Task) -> bool:
        """Whether another task has the same shape; if so, learn that from now on."""
        if self.key != self._key(task):
            return False
        if not isinstance(task.x, np.ndarray) or task.weights is not None:
            return False
        self.plan.batches.refill(task.x, task.t)
        self.order[:] = self.orders[:] = np.arange(len(task))
        return True

    def _key(self, task: Task) -> Any:
        """Return a key: two tasks with equal keys can run the same kernels on the same memory."""
        mlp = self.mlp
        rules = mlp._optimizer, mlp.alpha > 0, mlp.shuffle
        shapes = type(task.x), task.x.shape, task.x.dtype, task.t.shape, mlp.batch_size
        return shapes, task.net, repr(task.loss), task.weights is None, rules

    def look(self, loss: float) -> Epoch:
        """Note how well the network does after an epoch with this loss."""
        mlp, counts = self.mlp, self.plan.batches.counts
        mlp.loss_ = loss
        mlp.n_iter_ += 1
        mlp.t_ += len(self.task)
        mlp.loss_curve_.append(loss)
        errors = int(self.plan.history[:, 1].sum()) if counts and self.ahead == 1 else None
        result = Epoch(mlp.n_iter_, loss, errors, self.seconds)
        better = True
        if self.evaluation is not None:
            assert self.validation is not None
            found = evaluate_plan(self.evaluation)
            seen = found.loss * self.task.factor
            result = replace(result, validation_loss=seen, validation_errors=found.errors)
            better = seen < min(mlp.validation_loss_curve_, default=np.inf)
            mlp.validation_loss_curve_.append(seen)
        if self.stops_early:
            assert self.validation is not None
            score = mlp._score_of(self.validation)
            mlp.validation_scores_.append(score)
            stalled = score < mlp.best_validation_score_ + mlp.tol
            better = score > mlp.best_validation_score_
            if better:
                mlp.best_validation_score_ = score
        else:
            stalled = mlp.loss_ > mlp.best_loss_ - mlp.tol
            mlp.best_loss_ = min(mlp.best_loss_, mlp.loss_)
        mlp._no_improvement_count = mlp._no_improvement_count + 1 if stalled else 0
        if better and (self.stops_early or mlp.restore_best):
            self.best = [p.value.copy() for p in self.task.net.parameters()]
        return result

    def ends(self) -> str:
        """Return why training ends after this epoch; "" if it goes on.

        The learning rates `invscaling` and `adaptive` change here.
        """
        mlp = self.mlp
        scheme = mlp.learning_rate if mlp.solver == "sgd" else "constant"
        if scheme == "invscaling":
            self._change_rate(mlp.learning_rate_init / (mlp.t_ + 1) ** mlp.power_t)
        if mlp._no_improvement_count <= mlp.n_iter_no_change:
            return ""
        of = "Validation score" if self.stops_early else "Training loss"
        reason = (
            f"{of} did not improve more than tol={mlp.tol:f} for {mlp.n_iter_no_change} "
            "consecutive epochs."
        )
        if scheme != "adaptive":
            return f"{reason} Stopping."
        if mlp._rate <= LEAST_RATE:
            return f"{reason} Learning rate too small. Stopping."
        self._change_rate(mlp._rate / 5)
        mlp._no_improvement_count = 0
        return ""

    def restore(self) -> None:
        """Go back to the weights of the best epoch."""
        if self.best:
            for p, value in zip(self.task.net.parameters(), self.best, strict=True):
                p.value[...] = value

    def _change_rate(self, rate: float) -> None:
        self.mlp._optimizer.change_rate(self.mlp._rate, rate)
        self.mlp._rate = rate

    def _rates(self) -> Array:
        """Return the rate of each step of the epochs that run in one go."""
        mlp, steps = self.mlp, len(self.amounts) // self.ahead
        if not (mlp.warmup or mlp.learning_rate in SCHEDULES):
            return np.full(len(self.amounts), mlp._rate)
        settings = Settings(
            epochs=mlp.max_iter,
            batch_size=self.size,
            rate=mlp._rate,
            schedule=mlp.learning_rate if mlp.learning_rate in SCHEDULES else "constant",
            warmup=min(mlp.warmup, mlp.max_iter),
            **{"step_size": mlp.step_size, "gamma": mlp.gamma}
            if mlp.learning_rate == "step"
            else {},
        )
        first = mlp._steps // steps + 1
        epochs = [min(first + place, mlp.max_iter) for place in range(self.ahead)]
        return np.concatenate([schedules.rates(settings, epoch, steps) for epoch in epochs])


def descend(mlp: Any, task: Task, validation: Task | None, incremental: bool, hooks: Any) -> None:
    """Train an estimator by gradient descent.

    Parameters
    ----------
    mlp : MultilayerPerceptron
        The estimator.
    task, validation : Task, Task or None
        What it learns, and what scores it.
    incremental : bool
        Whether to train for one epoch from where it stands, as `partial_fit` does.
    hooks : Hooks
        They hear of each epoch.
    """
    known = getattr(mlp, "_optimizer", None) if incremental else None
    if known is None or known.net is not task.net:
        mlp._optimizer, mlp._steps, mlp._rate = _optimiser(mlp, task), 0, mlp.learning_rate_init
    if mlp.early_stopping and validation is None:
        task, validation = _split(mlp, task)
    if isinstance(mlp._optimizer, Penalised):
        mlp._optimizer.alpha = mlp.alpha
    descent = getattr(mlp, "_descent", None) if incremental else None
    if descent is None or not descent.takes(task):
        if incremental:  # the next call writes here: not into a person's arrays
            task = replace(task, x=task.x.copy(), t=task.t.copy())
        descent = Descent(mlp, task, validation, bool(hooks) or incremental)
    if incremental:
        mlp._descent = descent
    mlp.n_iter_, most = 0, 1 if incremental else mlp.max_iter
    reason = ""
    try:
        with shown(mlp, most) as show:
            while mlp.n_iter_ < most and not reason:
                hooks.begin()
                for loss in descent.epochs(most - mlp.n_iter_):
                    result = descent.look(loss)
                    show(result)
                    reason = descent.ends()
                    if hooks.end(result):
                        reason = "A callback asked to stop."
            if reason:
                show(reason)
        planned = mlp.learning_rate in ("linear", "cosine")  # down to 0: nothing more to do
        if not (reason or incremental or planned):
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({mlp.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=3,
            )
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=3)
    descent.restore()


def _batch_size(given: Any, rows: int) -> int:
    if given == "auto":
        return min(200, rows)
    if given > rows:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
            stacklevel=5,
        )
    return min(int(given), rows)


def _optimiser(mlp: Any, task: Task) -> AdamSteps | AdamWSteps | SGDSteps:
    net, gain, betas = task.net, task.gain, (mlp.beta_1, mlp.beta_2)
    if mlp.solver == "sgd":
        return SGDSteps(net, mlp.alpha, gain, mlp.momentum, mlp.nesterovs_momentum)
    if mlp.solver == "adam":
        return AdamSteps(net, mlp.alpha, gain, betas, mlp.epsilon)
    return AdamWSteps(net, 0.0, betas, mlp.epsilon / gain, mlp.weight_decay)


def _split(mlp: Any, task: Task) -> tuple[Task, Task]:
    """Return two tasks: one to learn, and one to score on."""
    column = task.t[:, 0] if mlp._splits_by_class and task.t.shape[1:] == (1,) else None
    rows = train_test_split(
        np.arange(len(task)),
        random_state=mlp._random_state,
        test_size=mlp.validation_fraction,
        stratify=column,
    )
    if len(rows[1]) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your "
            "dataset."
        )
    return task.of(rows[0]), task.of(rows[1])


@contextmanager
def shown(mlp: Any, epochs: int) -> Iterator[Callable[[Epoch | str], None]]:
    """Give a function that shows an epoch, or a line, to a person who wants to see them."""
    kind = kind_of_bar() if mlp.verbose else None
    if not mlp.verbose:
        with Silence() as silence:
            yield lambda news: silence.end()
    elif kind is None:
        yield _print
    else:
        bar_format = "{desc} {n_fmt}/{total_fmt} {bar:20} {remaining} left"
        with kind(total=epochs, bar_format=bar_format, leave=False, dynamic_ncols=True) as bar:
            yield lambda news: _move(bar, news)


def _print(news: Epoch | str) -> None:
    if isinstance(news, str):
        print(news)
        return
    print(f"Iteration {news.epoch}, loss = {news.train_loss:.8f}")
    if news.validation_loss is not None:
        print(f"Validation loss: {news.validation_loss:.8f}")


def _move(bar: Any, news: Epoch | str) -> None:
    if isinstance(news, str):
        bar.write(news)
        return
    words = f"loss {news.train_loss:#.3g}"
    if news.validation_loss is not None:
        words += f", validation {news.validation_loss:#.3g}"
    bar.set_description_str(words, refresh=False)
    bar.update()
    if bar.n == bar.total:
        bar.write(f"{bar.n} epochs, {words}")
