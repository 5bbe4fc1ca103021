"""Processing the deliveries, which are their own queue.

Whatever a delivery leads to is stored in one transaction with the delivery's outcome, so that it
may be processed twice, and even by two workers at once.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.db.models import OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Concat
from django.utils import timezone

from core.leases import Keeping
from vcs_integrations.models import REPLAYABLE, Delivery, Integration, Repository
from vcs_integrations.providers.base import Outcome, ProviderError
from vcs_integrations.providers.events import Hint, Ignored, Malformed
from vcs_integrations.webhooks.pushes import read_ahead

logger = logging.getLogger(__name__)

# A dead worker's deliveries are claimed by others after this.
LEASE = timedelta(seconds=20)
CLAIMED_AT_ONCE = 20
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
    """Process deliveries that are due; return how many were claimed."""
    claimed = _claim()
    with Keeping(claimed, LEASE):
        read_ahead(claimed)
        give_back_at = timezone.now() + LEASE / 2
        for number, delivery in enumerate(claimed):
            if number and timezone.now() > give_back_at:  # the provider is slow: others may help
                for rest in claimed[number:]:
                    rest.release(rest.due_at, failures=rest.failures)
                return number
            process(delivery)
    return len(claimed)


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
                consumer(delivery, events, delivery.failures >= PATIENT_ATTEMPTS)
    except ProviderError as error:
        if not error.is_transient:  # it takes a look at the organization, or a person
            Integration.objects.filter(pk=delivery.integration_id).hurry_refresh()
        _retry_later(delivery, f"Waiting: {error.cause}", error.retry_after)
    except NotYet as reason:
        _retry_later(delivery, f"Waiting: {reason}")
    except (OperationalError, InterfaceError):  # it is claimed again, once the database is well
        raise
    except Exception:  # a fault of ours must not hold up the deliveries behind it
        logger.exception("Delivery %s could not be processed", delivery.pk)
        _retry_later(delivery, "Waiting: a fault of Stackhook's own, which its log describes")


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
    return replayed.update(outcome=Outcome.STORED, failures=0, due_at=timezone.now())


def prune() -> None:
    """Delete the deliveries that were kept long enough."""
    oldest = timezone.now() - timedelta(days=settings.DELIVERY_RETENTION_DAYS)
    old = Delivery.objects.filter(received_at__lt=oldest)
    # In portions, so that a webhook gets its turn to write in between.
    while portion := list(old.values_list("pk", flat=True)[:PRUNED_AT_ONCE]):
        Delivery.objects.filter(pk__in=portion).delete()


def _claim() -> list[Delivery]:
    """Claim the deliveries that are due longest, each with its repository's name as last read."""
    known = Repository.objects.filter(
        integration=OuterRef("integration"), external_id=OuterRef("repository_id")
    ).values_list(Concat("project_name", Value("/"), "name"))
    claimed = Delivery.objects.claim(LEASE, CLAIMED_AT_ONCE).annotate(
        known_repository_name=Subquery(known)  # type: ignore[no-redef] # it has a default
    )
    deliveries = list(claimed.select_related("integration").order_by("pk"))
    shared: dict[int, Integration] = {}
    for delivery in deliveries:  # one instance, and so one client, for each organization
        delivery.integration = shared.setdefault(delivery.integration_id, delivery.integration)
    return deliveries


def _retry_later(delivery: Delivery, reason: str, seconds: int | None = None) -> None:
    """Try again soon, then less and less often, or when the provider said; note why."""
    delivery.retry_later(RETRY_FIRST_AFTER, RETRY_AT_LEAST_EVERY, seconds, reason=reason[:200])
