"""Working off the deliveries: each is its own place in the queue.

A worker takes a delivery by moving its time ahead, so that others leave it alone; where the
worker is killed, the time comes again. Whatever a delivery leads to is stored in one
transaction with the delivery's outcome, so that it may be processed twice, and even by two
workers at once.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.db.models import OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Concat
from django.utils import timezone

from core.backoff import wait_after
from core.transactions import transaction_in_line
from vcs_integrations.models import REPLAYABLE, Delivery, Integration, Repository
from vcs_integrations.providers.base import Outcome, ProviderError
from vcs_integrations.providers.events import Hint, Ignored, Malformed
from vcs_integrations.webhooks.pushes import read_ahead

logger = logging.getLogger(__name__)

# A killed worker's deliveries are taken up by others after this.
LEASE = timedelta(seconds=20)
TAKEN_AT_ONCE = 20
PRUNED_AT_ONCE = 500
RETRY_FIRST_AFTER = timedelta(seconds=5)
RETRY_AT_LEAST_EVERY = timedelta(minutes=5)
# Then, after an hour, a provider is not waited for: what it would tell counts as unknown.
PATIENT_ATTEMPTS = 17


class NotYet(Exception):
    """A consumer wants a delivery processed again soon; the text says why, without a full stop."""


# Takes a delivery's events in and settles it. The last argument says that what the provider
# does not tell now is to be taken for unknown. Raises ProviderError or NotYet, having stored
# nothing.
Consumer = Callable[[Delivery, Sequence[Hint], bool], None]
_consumers: list[Consumer] = []


def register(consumer: Consumer) -> None:
    """Have `consumer` take in the events of all deliveries.

    It is `stacks.deciding.intake.take_in_delivery`.
    """
    _consumers.append(consumer)


def process_due() -> int:
    """Process deliveries that are due; return how many were taken."""
    taken = _take()
    read_ahead(taken)
    give_back_at = timezone.now() + LEASE / 2
    for number, delivery in enumerate(taken):
        if number and timezone.now() > give_back_at:  # the provider is slow: others may take it
            rest = [one.pk for one in taken[number:]]
            Delivery.objects.waiting().filter(pk__in=rest).update(process_at=timezone.now())
            return number
        process(delivery)
    return len(taken)


def process(delivery: Delivery) -> None:
    """Process one delivery: read its events, have them taken in, or note when to try again."""
    try:
        events = delivery.integration.provider.parse(bytes(delivery.body))
        if isinstance(events, Ignored):
            delivery.settle(Outcome.UNKNOWN_EVENT, events.reason)
        elif isinstance(events, Malformed):
            delivery.settle(Outcome.UNREADABLE, events.reason)
        elif not delivery.integration.is_linked:
            delivery.settle(Outcome.NO_RUN, "The organization was unlinked before")
        else:
            if _names_otherwise(delivery):
                Integration.objects.filter(pk=delivery.integration_id).hurry_refresh()
            for consumer in _consumers:
                consumer(delivery, events, delivery.attempts >= PATIENT_ATTEMPTS)
    except ProviderError as error:
        if not error.is_transient:  # it takes a look at the organization, or a person
            Integration.objects.filter(pk=delivery.integration_id).hurry_refresh()
        delivery.postpone(f"Waiting: {error.cause}", _retry_at(delivery, error.retry_after))
    except NotYet as reason:
        delivery.postpone(f"Waiting: {reason}", _retry_at(delivery))
    except (OperationalError, InterfaceError):  # it is taken again, once the database is well
        raise
    except Exception:  # a fault of ours must not hold up the deliveries behind it
        logger.exception("Delivery %s could not be processed", delivery.pk)
        delivery.postpone(
            "Waiting: a fault of Stackhook's own, which its log describes", _retry_at(delivery)
        )


def _names_otherwise(delivery: Delivery) -> bool:
    """Say whether a webhook calls a repository otherwise than it was called when last read.

    Webhooks come late and shuffled, so their names are not stored.
    """
    known, name = delivery.known_repository_name, delivery.repository_name
    return bool(known) and "/" in name and name != known


def replay(deliveries: QuerySet[Delivery]) -> int:
    """Have deliveries processed once more; return how many that is.

    Runs that there are already stay the only ones.
    """
    replayed = deliveries.filter(outcome__in=REPLAYABLE)
    return replayed.update(outcome=Outcome.STORED, attempts=0, process_at=timezone.now())


def prune() -> None:
    """Delete the deliveries that were kept long enough."""
    oldest = timezone.now() - timedelta(days=settings.DELIVERY_RETENTION_DAYS)
    old = Delivery.objects.filter(received_at__lt=oldest)
    # In portions, so that a webhook gets its turn to write in between.
    while portion := list(old.values_list("pk", flat=True)[:PRUNED_AT_ONCE]):
        Delivery.objects.filter(pk__in=portion).delete()


def _take() -> list[Delivery]:
    """Take the deliveries that have waited longest, so that no other worker does meanwhile."""
    if not Delivery.objects.due().exists():  # mostly, and that needs no transaction
        return []
    with transaction_in_line():
        due = Delivery.objects.due().order_by("process_at", "pk")
        taken = [
            *due.select_for_update(skip_locked=True)[:TAKEN_AT_ONCE].values_list("pk", flat=True)
        ]
        Delivery.objects.filter(pk__in=taken).update(process_at=timezone.now() + LEASE)
    known = Repository.objects.filter(
        integration=OuterRef("integration"), external_id=OuterRef("repository_id")
    ).values_list(Concat("project_name", Value("/"), "name"))
    found = Delivery.objects.filter(pk__in=taken).annotate(
        known_repository_name=Subquery(known)  # type: ignore[no-redef] # it has a default
    )
    deliveries = list(found.select_related("integration").order_by("pk"))
    shared: dict[int, Integration] = {}
    for delivery in deliveries:  # one instance, and so one client, for each organization
        delivery.integration = shared.setdefault(delivery.integration_id, delivery.integration)
    return deliveries


def _retry_at(delivery: Delivery, seconds: int | None = None) -> datetime:
    """Return when to try again: soon, then less and less often, or when the provider said."""
    wait = wait_after(delivery.attempts, RETRY_FIRST_AFTER, RETRY_AT_LEAST_EVERY, seconds)
    return timezone.now() + wait
