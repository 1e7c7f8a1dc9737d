"""What is behind the page once it is loaded."""

import secrets
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jitprop.web.looking import Model
    from jitprop.web.runs import Runs

PATIENCE = 120.0  # seconds that a request waits for the network to be loaded


class NotReadyError(RuntimeError):
    """The network is still being loaded, or could not be."""


class Room:
    """What is behind the page, once it is loaded.

    Attributes
    ----------
    models : list of Model
    runs : Runs or None
    token : str
        The first part of each path.
    """

    def __init__(self) -> None:
        self.models: list[Model] = []
        self.runs: Runs | None = None
        self.token = secrets.token_urlsafe(16)
        self._open = threading.Event()
        self._given_up = False

    def open(self, models: "list[Model]", runs: "Runs") -> None:
        """Answer from now on."""
        self.models, self.runs = models, runs
        self._open.set()

    def give_up(self) -> None:
        """Answer nothing: what should be behind the page could not be loaded."""
        self._given_up = True
        self._open.set()

    def wait(self) -> None:
        """Return when it is open."""
        if not self._open.wait(PATIENCE):
            raise NotReadyError("the network is still being loaded: try again")
        if self._given_up:
            raise NotReadyError("the network could not be loaded: the terminal tells why")
