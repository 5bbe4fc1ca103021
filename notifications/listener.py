"""What happens to runs, as messages: a `stacks.run_events.Listener`.

Messages are stored in the transaction that changes the run, so that there is exactly one of each.
Pull requests show what became of their runs, so that those are not notified of.
"""

from collections.abc import Sequence

from notifications.models import Event
from notifications.outbox.storing import store_messages
from stacks.models import Run
from stacks.rules.states import Kind, State

EVENTS = {State.UNCONFIRMED: Event.WAITING, State.FAILED: Event.FAILED}


def on_moved(runs: Sequence[int], state: State) -> None:
    """Store messages about tracked runs that wait, failed or were applied; about failed drift runs.

    A tracked run that had nothing to apply is no event.
    """
    moved = Run.objects.filter(pk__in=runs).exclude(kind=Kind.PROPOSED)
    if event := EVENTS.get(state):
        store_messages(moved, event)
    elif state == State.FINISHED:
        store_messages(moved.filter(apply_started_at__isnull=False), Event.APPLIED)


def on_drift(run: int) -> None:
    """Store messages about a drift run that found drift."""
    store_messages(Run.objects.filter(pk=run), Event.DRIFT)
