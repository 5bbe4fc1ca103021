"""Process the deliveries, which are their own queue.

Deliveries of one repository are claimed at once, and its pushes are decided on together. What
they lead to is stored in one transaction with their outcomes, so that a delivery may be processed
twice, and even by two workers at once.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError
from django.db.models import QuerySet
from django.utils import timezone

from core.leases import Keeping, LeaseLost
from core.transactions import DATABASE_IS_AWAY, delete_in_portions, transaction_in_line
from vcs_integrations.consumer import Batch, NotYet, Outdated, consumer
from vcs_integrations.models import REPLAYABLE, Delivery, Integration
from vcs_integrations.providers.base import Outcome, ProviderError
from vcs_integrations.providers.events import Ignored, Malformed
from vcs_integrations.webhooks.pushes import read_ahead

logger = logging.getLogger(__name__)

# A dead worker's deliveries are claimed by others after this.
LEASE = timedelta(seconds=20)
CLAIMED_AT_ONCE = 50
# Where reading from the provider takes this long, other workers get what is left.
HELP_AFTER = LEASE / 2
RETRY_FIRST_AFTER = timedelta(seconds=5)
RETRY_AT_LEAST_EVERY = timedelta(minutes=5)
# After this many, about an hour, a provider isn't waited for: what it would say counts as unknown.
WAITING_ATTEMPTS = 17
# How often other workers may be faster before a delivery is postponed.
ATTEMPTS = 20

FAULT = "Waiting: a fault of Stackhook's own, which its log describes"


def process_due() -> int:
    """Process deliveries of one repository that are due; return how many were claimed."""
    claimed = _claim()
    with Keeping(claimed, LEASE):
        process(claimed)
    return len(claimed)


def process(deliveries: Sequence[Delivery]) -> None:
    """Process claimed deliveries of one repository: new pushes together, the rest one by one."""
    if not deliveries:
        return
    ends_at = timezone.now() + HELP_AFTER
    try:
        read_ahead(deliveries)
    except DATABASE_IS_AWAY:
        raise
    except Exception:  # a fault of ours that one delivery meets must not hold up the others
        logger.exception("Deliveries of %s could not be read ahead", deliveries[0].integration)
    pushes = [delivery for delivery in deliveries if _is_new_push(delivery)]
    others = [delivery for delivery in deliveries if delivery not in pushes]
    if pushes:
        _process_together(pushes, ends_at)
    for number, delivery in enumerate(others):
        if timezone.now() > ends_at and (number or pushes):
            _release(others[number:])
            break
        _process_alone(delivery)


def _is_new_push(delivery: Delivery) -> bool:
    """Say whether a delivery is of a push, and neither replayed nor tried before."""
    is_push = delivery.event_type == delivery.integration.provider.push_event
    return is_push and not delivery.failures and delivery.processed_at is None


def _process_together(deliveries: Sequence[Delivery], ends_at: datetime) -> None:
    batch = _begin(deliveries[0])
    ready = []
    for number, delivery in enumerate(deliveries):
        if timezone.now() > ends_at and number:
            _release(deliveries[number:])
            break
        if _is_read(delivery, batch):
            ready.append(delivery)
    try:
        _decide(batch, ready)
    except DATABASE_IS_AWAY:  # they are claimed again once the database recovers
        raise
    except Exception:  # one of them is to blame, and must not hold up the others
        for delivery in ready:
            _process_alone(delivery)


def _process_alone(delivery: Delivery) -> None:
    for _ in range(ATTEMPTS):
        batch = _begin(delivery)
        if not _is_read(delivery, batch):
            return None
        try:
            return _decide(batch, [delivery])
        except (Outdated, IntegrityError):  # another worker was faster
            continue
        except LeaseLost:
            return None
        except DATABASE_IS_AWAY:
            raise
        except Exception:  # a fault of ours must not hold up the deliveries behind it
            logger.exception("Delivery %s could not be processed", delivery.pk)
            return _retry_later(delivery, FAULT)
    return _retry_later(delivery, "Waiting: other deliveries of the repository came first")


def _begin(delivery: Delivery) -> Batch:
    return consumer().begin_batch(delivery.integration, delivery.repository_id)


def _is_read(delivery: Delivery, batch: Batch) -> bool:
    """Add a delivery to a batch; else settle it or store when to retry, and return False."""
    integration = delivery.integration
    try:
        events = delivery.events
        if isinstance(events, Ignored):
            _settle(delivery, Outcome.UNKNOWN_EVENT, events.reason)
        elif isinstance(events, Malformed):
            _settle(delivery, Outcome.UNREADABLE, events.reason)
        elif not integration.is_linked:
            _settle(delivery, Outcome.NO_RUN, "The organization was unlinked before")
        else:
            if _names_otherwise(delivery):
                Integration.objects.filter(pk=integration.pk).make_refresh_due()
            batch.read(delivery, events, gives_up=delivery.failures >= WAITING_ATTEMPTS)
            return True
    except ProviderError as error:
        if not error.is_transient:  # only a refresh of the organization, or a person, can help
            Integration.objects.filter(pk=integration.pk).make_refresh_due()
        _retry_later(delivery, f"Waiting: {error.cause}", error.retry_after)
    except NotYet as reason:
        _retry_later(delivery, f"Waiting: {reason}")
    except DATABASE_IS_AWAY:
        raise
    except Exception:
        logger.exception("Delivery %s could not be read", delivery.pk)
        _retry_later(delivery, FAULT)
    return False


def _decide(batch: Batch, deliveries: Sequence[Delivery]) -> None:
    """Store what a batch leads to, and that its deliveries are processed. Raises LeaseLost."""
    if not deliveries:
        return
    with transaction_in_line():
        for delivery, settlement in zip(deliveries, batch.decide(), strict=True):
            delivery.outcome, delivery.reason = settlement.outcome, settlement.reason[:200]
        if not Delivery.objects.settle(deliveries):
            raise LeaseLost


def _settle(delivery: Delivery, outcome: Outcome, reason: str) -> None:
    delivery.outcome, delivery.reason = outcome, reason[:200]
    Delivery.objects.settle([delivery])


def _names_otherwise(delivery: Delivery) -> bool:
    """Say whether a webhook has another name for a repository than the last reading.

    Webhooks come late and shuffled, so their names are not stored.
    """
    known, name = delivery.known_repository_name, delivery.repository_name
    return bool(known) and "/" in name and name != known


def replay(deliveries: QuerySet[Delivery]) -> int:
    """Have deliveries processed again; return how many. It creates no second run."""
    replayed = deliveries.filter(outcome__in=REPLAYABLE)
    return replayed.update(outcome=Outcome.STORED, reason="", failures=0, due_at=timezone.now())


def prune() -> None:
    """Delete the deliveries that were kept long enough."""
    oldest = timezone.now() - timedelta(days=settings.DELIVERY_RETENTION_DAYS)
    delete_in_portions(Delivery.objects.filter(received_at__lt=oldest))


def _claim() -> list[Delivery]:
    deliveries = Delivery.objects.claim_together(LEASE, CLAIMED_AT_ONCE)
    for delivery in deliveries:  # one instance, and so one client
        delivery.integration = deliveries[0].integration
    return deliveries


def _release(deliveries: Sequence[Delivery]) -> None:
    """Let other workers have claimed deliveries at once."""
    for delivery in deliveries:
        delivery.release(delivery.due_at, failures=delivery.failures)


def _retry_later(delivery: Delivery, reason: str, seconds: int | None = None) -> None:
    """Retry soon, then less and less often, or when the provider says; store why."""
    delivery.retry_later(RETRY_FIRST_AFTER, RETRY_AT_LEAST_EVERY, seconds, reason=reason[:200])
