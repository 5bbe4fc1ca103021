"""Which run is next, who holds it, and what happens to runs whose worker died.

A worker holds a run as long as it renews its lease. Every move below is made by one statement that
names the state it leaves, so that of two workers one moves the run and the other finds nothing.
"""

from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from stacks.models import PlanFile, Run, RunCredential
from stacks.models.run import RunQuerySet
from stacks.models.state import keep_lock_of_lost_apply
from stacks.module_registry import module_registry
from stacks.rules.states import ENDED, HOLDS_BACK, Kind, State

LEASE = timedelta(seconds=60)
# The fields of a run that no worker holds.
FREE: dict[str, Any] = {"worker": "", "lease_until": None, "lease_token": ""}
# A worker that is free looks for runs many times a second, and one that is not renews its lease.
WORKER_IS_LATE = timedelta(seconds=30)
MOST_ATTEMPTS = 3
PLANNING = {State.PREPARING, State.PLANNING}
APPLY_WAS_LOST = (
    "The worker stopped while it applied, so it is not known how far it came. Compare the log with "
    "what exists, and check the stack's state: a remaining lock has to be released. "
    "Then push again or retry: the next plan shows what is missing."
)
PLAN_WAS_LOST = (
    f"The worker stopped {MOST_ATTEMPTS} times while it planned. Check the worker's own log: the "
    "machine may be short of memory."
)


def claim_next(worker: str) -> Run | None:
    """Claim the next run for a worker; it is preparing or applying then.

    Confirmed runs come first, then tracked, proposed and drift runs, each the oldest first.
    """
    requeue_lost()
    if not Run.objects.filter(state__in=[State.QUEUED, State.CONFIRMED]).exists():  # mostly
        return None
    return _claim_confirmed(worker) or _claim_queued(worker)


def without_worker() -> RunQuerySet:
    """Return runs which show that a worker is frozen, or that none is running.

    The lease of a run ended, and no worker claimed the run again; or a run might have started, and
    did not, while no worker was busy with a run or with a check of a module. A worker that has
    nothing to do leaves no trace, so an absent one is noticed only once it is needed.
    """
    now = timezone.now()
    late = now - WORKER_IS_LATE
    is_lost = Q(state__in=[*PLANNING, State.APPLYING], lease_until__lt=late)
    may_start = Q(state=State.CONFIRMED)
    has_waited = Q(~Exists(_tracked_of_stack().filter(moved_at__gte=late)), moved_at__lt=late)
    for kind in Kind:
        may_start |= Q(~Exists(_holders_of(kind)), state=State.QUEUED, kind=kind)
    is_linked = Q(repository__integration__unlinked_at=None)
    is_busy = Exists(Run.objects.filter(lease_until__gt=now)) | module_registry().is_checking()
    under_way = [*PLANNING, State.APPLYING, State.CONFIRMED, State.QUEUED]
    return Run.objects.filter(state__in=under_way).filter(
        is_lost | may_start & is_linked & has_waited & ~Q(is_busy)
    )


def is_wanted(run: Run) -> bool:
    """Say whether a run is still in the state in which its worker knows it."""
    return run.held().filter(state=run.state).exists()


def requeue_lost() -> None:
    """Requeue or fail the runs whose worker died."""
    lost = Run.objects.filter(lease_until__lt=timezone.now())
    if not lost.exists():  # mostly
        return
    planning = lost.filter(state__in=PLANNING)
    for run in planning.filter(attempts__gte=MOST_ATTEMPTS):
        _end(run, State.FAILED, failure=PLAN_WAS_LOST, plan_ended_at=timezone.now())
    for run in planning:
        _end(run, State.QUEUED)
    for run in lost.filter(state=State.APPLYING):
        _end(run, State.FAILED, failure=APPLY_WAS_LOST, apply_ended_at=timezone.now())


def requeue(run: Run) -> None:
    """Put a run back into the queue, as if never begun, because its worker ends while planning."""
    with transaction.atomic():
        if Run.objects.filter(pk=run.pk, lease_token=run.lease_token).move_to(State.QUEUED):
            Run.objects.filter(pk=run.pk).update(attempts=run.attempts - 1, **FREE)


def forget_plans() -> None:
    """Remove the plan files of runs that will not be applied any more."""
    PlanFile.objects.filter(run__state__in=ENDED).delete()


def _end(run: Run, state: State, **fields: object) -> None:
    """Move a lost run, unless its worker was only slow and renewed its lease."""
    with transaction.atomic():
        same = Run.objects.filter(pk=run.pk, state=run.state, lease_until=run.lease_until)
        if same.move_to(state):
            Run.objects.filter(pk=run.pk).update(**FREE, **fields)
            if run.state == State.APPLYING:
                keep_lock_of_lost_apply(run)


def _confirmed() -> RunQuerySet:
    return _of_linked().filter(state=State.CONFIRMED)


def _waiting(kind: Kind) -> RunQuerySet:
    """Return the queued runs of a kind that may start, the oldest first."""
    queued = _of_linked().filter(state=State.QUEUED, kind=kind).order_by("created_at", "pk")
    return queued.exclude(Exists(_holders_of(kind)))


def _holders_of(kind: Kind) -> RunQuerySet:
    """Return the run for whose end a queued run of a kind waits, for a subquery."""
    return _tracked_of_stack().filter(state__in=sorted(HOLDS_BACK[kind]))


def _tracked_of_stack() -> RunQuerySet:
    """Return the tracked runs of the same stack, for a subquery."""
    return Run.objects.filter(stack=OuterRef("stack"), kind=Kind.TRACKED)


def _of_linked() -> RunQuerySet:
    """Return runs of linked integrations: all others wait until they are linked again."""
    return Run.objects.filter(repository__integration__unlinked_at=None)


def _claim_confirmed(worker: str) -> Run | None:
    for run in _confirmed().order_by("moved_at", "pk"):
        if _claim(run, worker, State.APPLYING, apply_started_at=timezone.now()):
            return run
    return None


def _claim_queued(worker: str) -> Run | None:
    for kind in (Kind.TRACKED, Kind.PROPOSED, Kind.DRIFT):
        for run in _waiting(kind):
            if _claim(
                run,
                worker,
                State.PREPARING,
                attempts=run.attempts + 1,
                plan_started_at=timezone.now(),
                warnings=[],
            ):
                return run
    return None


def _claim(run: Run, worker: str, state: State, **fields: object) -> bool:
    try:
        with transaction.atomic():
            if not Run.objects.filter(pk=run.pk, state=run.state).move_to(state):
                return False
            # What an earlier attempt was issued must not hold for this one.
            RunCredential.objects.filter(run=run).delete()
            row = Run.objects.filter(pk=run.pk)
            if row.claim_these(LEASE):
                row.update(worker=worker, **fields)
    except IntegrityError:  # another run of its stack went first
        return False
    run.refresh_from_db()
    return True
