"""Deliveries: what was received, and what became of it."""

from typing import Self

from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from core.leases import Leased, LeasedQuerySet
from vcs_integrations.providers.base import Outcome


def password_mark(password_digest: str) -> str:
    """Return what tells a webhook password from others; it may be seen by anybody."""
    return password_digest[:8]


class DeliveryQuerySet(LeasedQuerySet["Delivery"]):
    def waiting(self) -> Self:
        """Those that are not processed yet."""
        # Said so that SQLite takes the index of the few that wait; `exclude` reads them all.
        return self.filter(due_at__isnull=False)


class Delivery(Leased):
    """One stored webhook request and what became of it; due until it is processed."""

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
    subscription_id = models.UUIDField(null=True, blank=True)
    notification_id = models.BigIntegerField(null=True, blank=True)
    repository_id = models.CharField(max_length=100, blank=True)
    repository_name = models.CharField(max_length=200, blank=True)
    project_id = models.CharField(max_length=100, blank=True)
    password_mark = models.CharField(
        max_length=8, blank=True, help_text="tells which webhook password it came with"
    )
    headers = models.JSONField(default=dict)
    body = models.BinaryField()
    body_digest = models.CharField(max_length=64, blank=True)

    processed_at = models.DateTimeField(null=True, blank=True)

    # Set where deliveries are taken to be processed: what their repository was called at last.
    known_repository_name: str | None = None

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = (
            # A repeat is stored too, as a duplicate; only one row may count. The number alone says
            # nothing: whoever knows the password may have used that of a real one before.
            models.UniqueConstraint(
                fields=["integration", "subscription_id", "notification_id", "body_digest"],
                # What was false when it came may be true when it comes again.
                condition=~Q(outcome__in=[Outcome.DUPLICATE.value, Outcome.REFUTED.value]),
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
        return reverse("delivery", args=[self.integration_id, self.pk])

    @property
    def event_name(self) -> str:
        """The event in the provider's words."""
        return self.integration.event_name(self.event_type)

    def settle(self, outcome: Outcome, reason: str = "") -> bool:
        """Note what processing it came to; False where another worker claimed it meanwhile."""
        waiting = self.held().filter(due_at__isnull=False)
        return bool(
            waiting.update(
                outcome=outcome,
                reason=reason[:200],
                due_at=None,
                lease_until=None,
                lease_token="",
                processed_at=timezone.now(),
            )
        )

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


# The others tell nothing that a stack could use.
REPLAYABLE = {Outcome.STORED, Outcome.RUN, Outcome.NO_RUN}
OUTCOME_TEXTS = {
    Outcome.STORED: "Stored",
    Outcome.RUN: "Run",
    Outcome.NO_RUN: "No run",
    Outcome.TEST: "Test received",
    Outcome.DUPLICATE: "Duplicate",
    Outcome.UNKNOWN_EVENT: "Ignored: unknown event",
    Outcome.UNREADABLE: "Unreadable",
    Outcome.REFUTED: "Refuted",
}
