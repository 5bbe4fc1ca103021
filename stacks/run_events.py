"""What stacks say of their runs to the package above them, which may want to know.

`notifications.apps` registers `notifications.listener`.
"""

from collections.abc import Sequence
from typing import Protocol

from stacks.rules.states import State


class Listener(Protocol):
    """What is called in the transaction that changes runs, so that neither is stored alone."""

    def on_moved(self, runs: Sequence[int], state: State) -> None:
        """Note that runs, by their primary keys, went to a state."""

    def on_drift(self, run: int) -> None:
        """Note that a drift run, by its primary key, found drift."""


_listeners: list[Listener] = []


def register(one: Listener) -> None:
    """Have `one` called from now on."""
    _listeners[:] = [one]


def listener() -> Listener:
    """Return the one that is registered."""
    [one] = _listeners
    return one
