"""Which check is next, and what happens to checks whose worker died.

Runs come first: people wait for them. A check that has waited for long comes after the next run,
so that neither starves, however many there are of the other.
"""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from modules.models import Check, CheckState, Outcome, Result, VersionState
from modules.publishing.ending import end
from stacks.execution.isolation.sandbox import Stopped

LEASE = timedelta(seconds=60)
MOST_ATTEMPTS = 3
WAITS_AT_MOST = timedelta(minutes=2)
RETRY_FIRST_AFTER = timedelta(seconds=30)
RETRY_AT_LEAST_EVERY = timedelta(minutes=10)
MOST_RETRIES = 5
WAS_LOST = (
    f"The worker stopped {MOST_ATTEMPTS} times while it checked. Check the worker's own log: the "
    f"machine may be short of memory. Then check again."
)


def is_overdue() -> bool:
    """Say whether a check has waited for so long that it comes before the next run."""
    return Check.objects.due().filter(due_at__lte=timezone.now() - WAITS_AT_MOST).exists()


def claim_next() -> Check | None:
    """Claim the check that has been due longest, to be executed; None if there is none."""
    while check := Check.objects.claim_one(LEASE):
        if _is_begun(check):
            return Check.objects.select_related("module__repository__integration").get(pk=check.pk)
    return None


def retry_later(check: Check, sentence: str, log: str) -> None:
    """Have a check that could not be made, for no fault of the code, made later; at last fail it.

    Raises Stopped if it is not this worker's any more.
    """
    if check.failures >= MOST_RETRIES:
        end(check, [Result("Preparation", Outcome.FAILED, sentence)], None, log)
        return
    check.retry_later(
        RETRY_FIRST_AFTER,
        RETRY_AT_LEAST_EVERY,
        state=CheckState.QUEUED,
        attempts=0,
        failure=sentence[:1000],
        log=log,
    )


def requeue(check: Check) -> None:
    """Put a check back into the queue, as if never begun, because its worker ends."""
    check.release(check.due_at, state=CheckState.QUEUED, attempts=check.attempts - 1)


def _is_begun(check: Check) -> bool:
    """Have a claimed check run; False, having given it back, if there is nothing to do."""
    is_waited_for = check.versions.filter(state=VersionState.WAITING).exists()
    if check.has_ended and not is_waited_for:
        check.release(None)
        return False
    attempts = check.attempts if check.state == CheckState.RUNNING else 0
    if attempts >= MOST_ATTEMPTS:
        _fail_lost(check)
        return False
    with transaction.atomic():
        held = check.held().update(
            state=CheckState.RUNNING,
            attempts=attempts + 1,
            started_at=timezone.now(),
            ended_at=None,
            results=[],
            failure="",
            log="",
        )
        if held:
            check.report()
    return bool(held)


def _fail_lost(check: Check) -> None:
    try:
        end(check, [Result("Worker", Outcome.FAILED, WAS_LOST)], None, check.log)
    except Stopped:  # it was deleted
        return
