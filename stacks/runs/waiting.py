"""Why a run doesn't go on: what a queued run waits for, and a worker that is silent."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils import timezone

from stacks.execution.queue import WORKER_IS_LATE, without_worker
from stacks.models import Run
from stacks.rules.states import HOLDS_BACK, UNDER_WAY, Kind, State

TRACKED_READ = 50
# What is said of a run that holds back another.
HOLDING = {
    State.PREPARING: "is being prepared",
    State.PLANNING: "is being planned",
    State.UNCONFIRMED: "is waiting for confirmation",
    State.CONFIRMED: "is about to be applied",
    State.APPLYING: "is being applied",
}


@dataclass(frozen=True)
class Waiting:
    """What a run waits for, as a sentence, and the run that it names first, if it names one.

    `is_wrong` says whether somebody has to do something about it.
    """

    sentence: str
    run: Run | None = None
    is_wrong: bool = False


def why_waiting(run: Run) -> Waiting | None:
    """Say what keeps a run from going on; None if nothing does, or if it waits for a person."""
    if run.state in {State.QUEUED, State.CONFIRMED}:
        return _why_not_claimed(run)
    if run.state in UNDER_WAY and run.lease_until and run.lease_until < timezone.now():
        return Waiting(
            "Its worker is not responding. Another run worker takes over within seconds; if "
            "nothing happens, no run worker is running. The operator starts one with “make run”, "
            "or alone with “manage.py run_worker”.",
            is_wrong=True,
        )
    return None


def _why_not_claimed(run: Run) -> Waiting:
    stack = run.stack
    if stack.is_detached:
        return Waiting("It waits until the stack is attached again.", is_wrong=True)
    if run.state == State.QUEUED and run.kind != Kind.PROPOSED:
        # The newest are enough: few wait at once.
        tracked = list(stack.runs.filter(kind=Kind.TRACKED)[:TRACKED_READ])
        if holder := _holder(run, tracked):
            return Waiting(f"{HOLDING[State(holder.state)]}, and has to end first.", holder)
        if before := _queued_before(run, tracked):
            return Waiting("is queued before it.", before)
    # Since it was read, a worker may have claimed it: it is not busy with another one then.
    leased = Run.objects.filter(lease_until__gte=timezone.now()).exclude(pk=run.pk)
    if busy := leased.order_by("pk").first():
        return Waiting("keeps a run worker busy. It starts as soon as one is free.", busy)
    is_new = run.moved_at > timezone.now() - WORKER_IS_LATE  # mostly; it needs no query
    if is_new or not without_worker().filter(pk=run.pk).exists():
        return Waiting("The next free run worker starts it.")
    return Waiting(
        "No run worker has started it, and none is busy with a run: the run worker doesn't appear "
        "to be running. The operator starts it with “make run”, or alone with “manage.py "
        "run_worker”.",
        is_wrong=True,
    )


def _holder(run: Run, tracked: Sequence[Run]) -> Run | None:
    """Return the tracked run of the same stack that has to end before this one may start."""
    back = HOLDS_BACK[Kind(run.kind)]
    return next((one for one in tracked if one.state in back and one != run), None)


def _queued_before(run: Run, tracked: Sequence[Run]) -> Run | None:
    """Return the queued tracked run of the same stack that starts before this tracked one."""
    queued = [one for one in tracked if one.state == State.QUEUED]
    if run.kind != Kind.TRACKED or not queued:
        return None
    first = min(queued, key=lambda one: (one.created_at, one.pk))
    return None if first.pk == run.pk else first
