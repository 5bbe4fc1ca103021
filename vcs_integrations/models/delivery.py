"""Deliveries: what was received, and its outcome."""

from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from operator import attrgetter
from typing import Any, Self

from django.db import models
from django.db.models import Case, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Concat
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property

from core.leases import NOW, Leased, LeasedQuerySet
from core.prepared import Given, Prepared
from core.transactions import transaction_in_line
from vcs_integrations.models.repository import Repository
from vcs_integrations.providers.base import Outcome
from vcs_integrations.providers.events import Hint, Ignored, Malformed

# How many waiting deliveries are searched for those of a repository.
SEARCHED_AT_ONCE = 1000


class DeliveryQuerySet(LeasedQuerySet["Delivery"]):
    def waiting(self) -> Self:
        """Those that are not processed yet."""
        # In this form SQLite uses the index of the few that wait; `exclude` reads them all.
        return self.filter(due_at__isnull=False)

    def settle(self, processed: Sequence["Delivery"]) -> bool:
        """Store the `outcome` and `reason` of claimed deliveries.

        Returns False if another worker has claimed one of them; then the caller discards all.
        """
        held = self.waiting().filter(lease_token__in={one.lease_token for one in processed})
        settled = held.filter(pk__in=[one.pk for one in processed]).update(
            outcome=_each(processed, "outcome"),
            reason=_each(processed, "reason"),
            due_at=None,
            lease_until=None,
            lease_token="",
            processed_at=timezone.now(),
        )
        return settled == len(processed)


_DeliveryManager = models.Manager.from_queryset(DeliveryQuerySet)


class DeliveryManager(_DeliveryManager["Delivery"]):
    def claim_together(self, duration: timedelta, most: int) -> list["Delivery"]:
        """Claim due deliveries of one repository: the one whose delivery has been due longest.

        They come in the order in which they were received, with the name of their repository.
        """
        first = _first_due.rows(now=timezone.now())
        if not first:  # mostly
            return []
        [(integration, repository, name)] = first
        with transaction_in_line():
            found = _due_of(most).objects(
                integration=integration, repository=repository, now=timezone.now()
            )
            claimed = self.all().hold(found, duration)
        for delivery in claimed:
            delivery.known_repository_name = name
        return sorted(claimed, key=attrgetter("pk"))


def _each(deliveries: Sequence["Delivery"], field: str) -> Case | Value:
    """Return the SQL of a field's value for each of some rows."""
    values = {getattr(one, field) for one in deliveries}
    if len(values) == 1:
        return Value(values.pop())
    whens = [When(pk=one.pk, then=Value(getattr(one, field))) for one in deliveries]
    return Case(*whens, output_field=models.CharField())


class Delivery(Leased):
    """One stored webhook request and its outcome; due until it is processed."""

    integration = models.ForeignKey(
        # The constraint or index below serves look-ups by integration, too.
        "vcs_integrations.Integration",
        on_delete=models.CASCADE,
        related_name="deliveries",
        db_index=False,
    )
    received_at = models.DateTimeField(default=timezone.now)
    outcome = models.CharField(max_length=20, choices=[(o.value, o.value) for o in Outcome])
    reason = models.CharField(max_length=200, blank=True)
    event_type = models.CharField(max_length=100, blank=True)
    subscription_id = models.CharField(max_length=100, blank=True)
    notification_id = models.CharField(max_length=100, blank=True)
    repository_id = models.CharField(max_length=100, blank=True)
    repository_name = models.CharField(max_length=200, blank=True)
    project_id = models.CharField(max_length=100, blank=True)
    password_mark = models.CharField(
        max_length=8, blank=True, help_text="which webhook password it came with"
    )
    headers = models.JSONField(default=dict)
    body = models.BinaryField()
    body_digest = models.CharField(max_length=64, blank=True)

    processed_at = models.DateTimeField(null=True, blank=True)

    # Set when deliveries are claimed: the last known name of their repository.
    known_repository_name: str | None = None

    objects = DeliveryManager()

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = (
            # A repeat is stored too, as a duplicate; only one row may count. The number alone says
            # nothing: whoever knows the password may have used that of a real one before.
            models.UniqueConstraint(
                fields=["integration", "subscription_id", "notification_id", "body_digest"],
                # What was false when it came may be true when it comes again.
                condition=~Q(notification_id="")
                & ~Q(outcome__in=[Outcome.DUPLICATE.value, Outcome.REFUTED.value]),
                name="one_delivery_per_notification",
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=[o.value for o in Outcome]), name="delivery_outcome"
            ),
        )
        indexes = (
            models.Index(fields=["integration", "-id"], name="delivery_list"),
            models.Index(fields=["received_at"], name="delivery_age"),  # read by the pruning
            models.Index(
                fields=["due_at"],
                condition=Q(due_at__isnull=False),
                name="delivery_due",  # read by the worker, all the time
            ),
        )

    def __str__(self) -> str:
        return f"{self.event_type or 'delivery'} {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("integrations:delivery", args=[self.integration_id, self.pk])

    @property
    def event_name(self) -> str:
        """The event in the provider's words."""
        return self.integration.event_name(self.event_type)

    @cached_property
    def events(self) -> list[Hint] | Ignored | Malformed:
        """What it claims."""
        return self.integration.provider.parse(self.headers, bytes(self.body))

    @property
    def is_waiting(self) -> bool:
        return self.due_at is not None

    @property
    def can_be_replayed(self) -> bool:
        return self.outcome in REPLAYABLE

    @property
    def is_unused_test(self) -> bool:
        """Whether it is sample data of an event that leads to nothing, so its hook is of no use."""
        is_used = self.event_type in self.integration.provider.events
        return self.outcome == Outcome.TEST and not is_used

    @property
    def outcome_text(self) -> str:
        text = OUTCOME_TEXTS[Outcome(self.outcome)]
        return f"{text}; this event is not used" if self.is_unused_test else text


def _known_name() -> QuerySet[Repository, Any]:
    """Return the last known name of a delivery's repository."""
    repository = Repository.objects.filter(
        integration=OuterRef("integration"), external_id=OuterRef("repository_id")
    )
    return repository.values_list(Concat("project_name", Value("/"), "name"))


_first_due = Prepared(
    lambda: Delivery.objects.due(NOW).values_list(
        "integration_id", "repository_id", Subquery(_known_name())
    )[:1]
)


@cache
def _due_of(most: int) -> Prepared[Delivery]:
    """Return the query of up to so many due deliveries of one repository, which locks them."""

    def build() -> DeliveryQuerySet:
        # Bounded, so that a long queue is not read to its end each time.
        longest_due = Delivery.objects.due(NOW)[:SEARCHED_AT_ONCE].values("pk")
        of_repository = Delivery.objects.filter(
            integration_id=Given("integration", models.BigIntegerField()),
            repository_id=Given("repository", models.CharField()),
            pk__in=longest_due,
        )
        return of_repository.free(NOW).order_by("due_at", "pk").locked()[:most]

    return Prepared(build)


# Other events contain nothing that a stack could use.
REPLAYABLE = {Outcome.STORED, Outcome.RUN, Outcome.VERSION, Outcome.NO_RUN}
OUTCOME_TEXTS = {
    Outcome.STORED: "Stored",
    Outcome.RUN: "Run",
    Outcome.VERSION: "Version",
    Outcome.NO_RUN: "No run",
    Outcome.TEST: "Test received",
    Outcome.DUPLICATE: "Duplicate",
    Outcome.UNKNOWN_EVENT: "Ignored: unknown event",
    Outcome.UNREADABLE: "Unreadable",
    Outcome.REFUTED: "Refuted",
}
