"""Plan pull requests that are older than their stack, a few at a time.

Each is read as it is now and decided like a webhook, so that an event meanwhile makes no second
run. A killed worker leaves what is missing to the next.
"""

import logging
from datetime import timedelta

from django.db.models import QuerySet
from django.utils import timezone

from core.backoff import wait_after
from core.transactions import DATABASE_IS_AWAY
from stacks.deciding.intake import decide_events
from stacks.deciding.older_pull_requests import has_room, waiting
from stacks.models import Stack
from vcs_integrations.models import RECONCILE_EVERY
from vcs_integrations.providers.base import BACKGROUND, ProviderError
from vcs_integrations.providers.events import PullRequestChanged

logger = logging.getLogger(__name__)

# A killed worker's stacks are claimed by others after this.
LEASE = timedelta(minutes=1)
LOOK_FOR_ROOM_EVERY = timedelta(seconds=10)
RETRY_AFTER = timedelta(minutes=1)


def plan_next() -> bool:
    """Plan older pull requests of one stack for which that is due; False if none is."""
    reachable = Stack.objects.with_repository().reachable()
    due = reachable.filter(plans_older=True, plan_older_at__lte=timezone.now())
    stack = due.order_by("plan_older_at").first()
    if stack is None:
        return False
    if _renew(stack):
        try:
            _plan(stack)
        except ProviderError as error:
            logger.warning("Planning pull requests of %s has to wait: %s", stack, error.problem)
            _finish(stack, wait_after(0, RETRY_AFTER, RETRY_AFTER, error.retry_after))
        except DATABASE_IS_AWAY:  # claimed again once the database recovers
            raise
        except Exception:  # a fault of ours must not hold up the other stacks
            logger.exception("Planning pull requests of %s failed", stack)
            _finish(stack, RECONCILE_EVERY)
    return True


def _plan(stack: Stack) -> None:
    """Plan a stack's older pull requests, the newest first, as long as there is room."""
    client = stack.integration.client(BACKGROUND)
    for row in waiting(stack).order_by("-number"):
        if not has_room(stack):
            _finish(stack, LOOK_FOR_ROOM_EVERY)
            return
        event = PullRequestChanged(stack.repository.external_id, row.number)
        decide_events(stack.integration, [event], client=client)
        if not _renew(stack):
            return
    # What is left could not be read; a reconciliation reads it again.
    _finish(stack, RECONCILE_EVERY if waiting(stack).exists() else None)


def _renew(stack: Stack) -> bool:
    """Claim a stack, or keep it; False if it is not this worker's any more."""
    until = timezone.now() + LEASE
    if not _claimed(stack).update(plan_older_at=until):
        return False
    stack.plan_older_at = until
    return True


def _finish(stack: Stack, wait: timedelta | None) -> None:
    """Store when to continue, or that nothing is left to plan."""
    _claimed(stack).update(plan_older_at=timezone.now() + wait if wait else None)


def _claimed(stack: Stack) -> QuerySet[Stack]:
    """Return the stack's row as long as nobody else claimed it, or had it planned again."""
    return Stack.objects.filter(pk=stack.pk, plan_older_at=stack.plan_older_at)
