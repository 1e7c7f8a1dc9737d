"""The results of one pass over the training set."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """The results of one pass over the training set.

    Attributes
    ----------
    epoch : int
        Its number, from 1.
    train_loss, train_errors : float, int
        Mean loss and errors on the training images, measured on each batch just before the step
        that learned from it. So no image is run twice for them, and they lag behind the weights at
        the end of the epoch. With a `sample_weight`, losses are weighted means.
    train_seconds : float
        Seconds of training, without evaluation.
    validation_loss, validation_errors : float, int or None
    test_loss, test_errors : float, int or None
        With the weights at the end of the epoch; None without such a set.
    """

    epoch: int
    train_loss: float
    train_errors: int | None
    train_seconds: float
    validation_loss: float | None = None
    validation_errors: int | None = None
    test_loss: float | None = None
    test_errors: int | None = None
