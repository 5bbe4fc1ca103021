"""Start what schedules ask for, one due schedule at a time.

A schedule that is late, because no worker ran, starts one run and is due again at its next time
from now on. While its last run is unfinished it starts none, so that nothing piles up.
"""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from core.leases import Keeping, LeaseLost
from core.transactions import DATABASE_IS_AWAY
from stacks.lifecycle.drift import applied_run
from stacks.lifecycle.triggering import NOTHING_APPLIED, NotTriggered, commit_of, head_of, trigger
from stacks.models import Run, Schedule, Stack
from stacks.models.schedule import Starts
from stacks.rules.states import ENDED, Kind, Operation, Origin, State
from stacks.schedules.times import next_time
from stacks.sources.heads import head_of_branch, note_head
from vcs_integrations.providers.base import BACKGROUND, ProviderError

logger = logging.getLogger(__name__)

# Renewed while the head is read; a killed worker's schedules are claimed by others after this.
LEASE = timedelta(minutes=1)
RETRY_FIRST_AFTER = timedelta(minutes=1)
RETRY_AT_LEAST_EVERY = timedelta(minutes=15)
OURS = "Something went wrong in Stackhook itself. The operator finds it in the worker's log."


def start_scheduled_next() -> bool:
    """Start what one schedule asks for; False if none is due."""
    if schedule := Schedule.objects.claim_one(LEASE):
        _do(schedule, _come_due, _come_due_later)
        return True
    answered = Schedule.objects.answered()
    if answered.exists() and (claimed := answered.claim_these(LEASE)):
        _do(claimed[0], _act_on_drift, _act_later)
        return True
    return False


def _do(
    schedule: Schedule, act: Callable[[Schedule], None], later: Callable[[Schedule, str], None]
) -> None:
    """Do something with a claimed schedule, or have it done later where that failed."""
    try:
        with Keeping([schedule], LEASE):
            act(schedule)
    except ProviderError as error:
        logger.warning("%s of %s has to wait: %s", schedule, schedule.stack, error.problem)
        later(schedule, f"Stackhook retries automatically. {error}"[:500])
    except LeaseLost:
        logger.warning("%s of %s is started by another worker", schedule, schedule.stack)
    except DATABASE_IS_AWAY:  # claimed again once the database recovers
        raise
    except Exception:  # a fault of ours must not hold up the other schedules
        logger.exception("%s of %s failed", schedule, schedule.stack)
        later(schedule, OURS)


def _come_due_later(schedule: Schedule, problem: str) -> None:
    schedule.retry_later(RETRY_FIRST_AFTER, RETRY_AT_LEAST_EVERY, problem=problem)


def _act_later(schedule: Schedule, problem: str) -> None:
    """Keep a schedule for a while: unlike its next time, what it waited for is there already."""
    until = timezone.now() + RETRY_FIRST_AFTER
    schedule.held().update(lease_until=until, problem=problem)


def _come_due(schedule: Schedule) -> None:
    """Start the run of a schedule that is due, and have it due again at its next time.

    Raises ProviderError where the head can't be read.
    """
    now = timezone.now()
    last = schedule.last_run
    if last and not last.has_ended:
        _release_due(schedule, last_at=now, problem=f"Skipped, as {last} {last.state_clause}.")
        return
    if schedule.what != Starts.DRIFT:
        _read_head(schedule.stack)
    try:
        with transaction.atomic():
            run = _start(schedule)
            awaited = run if schedule.runs_on_drift else None
            _release_due(schedule, last_at=now, last_run=run, awaited=awaited, problem="")
    except NotTriggered as refusal:
        _release_due(schedule, last_at=now, problem=str(refusal)[:500])


def _start(schedule: Schedule) -> Run:
    """Raises NotTriggered."""
    stack, origin, note = schedule.stack, Origin.SCHEDULE, f"{schedule}."
    if schedule.what == Starts.DRIFT:
        applied = applied_run(stack)
        if applied is None:
            raise NotTriggered(NOTHING_APPLIED)
        return trigger(
            stack,
            Kind.DRIFT,
            commit_of(applied),
            origin=origin,
            operation=Operation.REFRESH_ONLY,
            note=note,
        )
    destroys = schedule.what == Starts.DESTROY
    operation = Operation.DESTROY if destroys else Operation.APPLY
    return trigger(
        stack, Kind.TRACKED, head_of(stack), origin=origin, operation=operation, note=note
    )


def _act_on_drift(schedule: Schedule) -> None:
    """Start a tracked run if the drift run that a schedule waited for found drift.

    Raises ProviderError where the head can't be read.
    """
    found = schedule.awaited
    is_wanted = schedule.runs_on_drift  # somebody may have cleared it while the drift run started
    if not is_wanted or found is None or found.state != State.FINISHED or not found.has_drift:
        _release_answered(schedule)
        return
    note = f"{found} found drift: {found.drift_text}."
    if there := _unfinished_because_of_drift(schedule.stack):
        _release_answered(
            schedule, problem=f"{note} {there} {there.state_clause}, so no other was started."
        )
        return
    _read_head(schedule.stack)
    try:
        with transaction.atomic():
            trigger(
                schedule.stack,
                Kind.TRACKED,
                head_of(schedule.stack),
                origin=Origin.DRIFT,
                note=note,
            )
            _release_answered(schedule)
    except NotTriggered as refusal:
        _release_answered(schedule, problem=f"{note} {refusal}"[:500])


def _unfinished_because_of_drift(stack: Stack) -> Run | None:
    runs = stack.runs.filter(kind=Kind.TRACKED, origin=Origin.DRIFT)
    return runs.exclude(state__in=ENDED).first()


def _read_head(stack: Stack) -> None:
    """Read where the tracked branch is. Raises ProviderError."""
    client = stack.integration.client(BACKGROUND)
    note_head(stack, head_of_branch(client, stack.repository.external_id, stack.branch))
    stack.refresh_from_db()


def _release_due(schedule: Schedule, **fields: Any) -> None:
    """Give a schedule back that came due, with its next time. Raises LeaseLost."""
    due_at = next_time(schedule.cron, schedule.time_zone, timezone.now())
    if not schedule.release(due_at, **fields):
        raise LeaseLost


def _release_answered(schedule: Schedule, **fields: Any) -> None:
    """Give a schedule back that stays due when it was. Raises LeaseLost."""
    if not schedule.release(schedule.due_at, awaited=None, **fields):
        raise LeaseLost
