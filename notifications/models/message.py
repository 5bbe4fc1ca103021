"""Messages: one to each target of an event of a run, stored before they are sent."""

from datetime import timedelta
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from core.leases import Leased, LeasedQuerySet, Moment
from notifications.models.channel import Channel
from notifications.models.event import Event
from stacks.models import Run

# Others claim a killed worker's message after this, longer than sending may take.
LEASE = timedelta(minutes=5)


class MessageState(models.TextChoices):
    """How far a message has come.

    An e-mail that stays `sending` was interrupted: it may have arrived, so it is not resent.
    """

    WAITING = "waiting", "Waiting"
    SENDING = "sending", "Perhaps sent"
    SENT = "sent", "Sent"
    DROPPED = "dropped", "Not sent"


class MessageQuerySet(LeasedQuerySet["Message"]):
    def due(self, at: Moment = None) -> Self:
        return super().due(at).filter(state=MessageState.WAITING)

    def to_people(self) -> Self:
        """Those that are e-mailed."""
        return self.filter(channel=None)

    def to_idle_channels(self) -> Self:
        """Those to channels to which nothing is being posted.

        So a host that does not answer holds one sender, and not all of them. Of senders who claim
        at the same moment, on PostgreSQL, each may still claim a message to the same channel: to
        receivers no order is promised.
        """
        posting = Message.objects.filter(
            channel__isnull=False,
            lease_until__gt=timezone.now(),
            # What is held is also this, and so found by the index of what is due.
            state=MessageState.WAITING,
            due_at__isnull=False,
        ).values("channel")
        return self.filter(channel__isnull=False).exclude(channel__in=posting)


class Message(Leased):
    """An event of a run on its way to a person or to a channel, or what came of it."""

    run = models.ForeignKey(
        # The constraints below serve look-ups by run, too.
        Run,
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,
    )
    event = models.CharField(max_length=20, choices=Event.choices)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+"
    )
    channel = models.ForeignKey(Channel, null=True, on_delete=models.CASCADE, related_name="+")
    state = models.CharField(
        max_length=20, choices=MessageState.choices, default=MessageState.WAITING
    )
    due_at = models.DateTimeField(null=True, blank=True, default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now)
    queued_at = models.DateTimeField(
        default=timezone.now, help_text="since when it is tried: created, or resent"
    )
    tried_at = models.DateTimeField(null=True, blank=True)
    tries = models.PositiveIntegerField(default=0)
    problem = models.CharField(max_length=300, blank=True, help_text="of the last try")

    objects = MessageQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        constraints = (
            models.UniqueConstraint(fields=["run", "event", "person"], name="one_mail_per_event"),
            models.UniqueConstraint(fields=["run", "event", "channel"], name="one_post_per_event"),
            models.CheckConstraint(
                condition=Q(person=None, channel__isnull=False)
                | Q(person__isnull=False, channel=None),
                name="message_has_one_target",
            ),
            models.CheckConstraint(
                condition=Q(state__in=MessageState.values, event__in=Event.values),
                name="message_words",
            ),
        )
        indexes = (
            models.Index(
                fields=["due_at"],
                condition=Q(state=MessageState.WAITING.value),
                name="message_due",  # read by the worker, all the time
            ),
            models.Index(fields=["created_at"], name="message_by_time"),
        )

    def __str__(self) -> str:
        return f"{self.get_event_display()}, {self.run}, to {self.target}"

    @property
    def target(self) -> str:
        return str(self.channel or self.person)

    @property
    def can_be_resent(self) -> bool:
        return self.state != MessageState.WAITING


def prune_messages() -> None:
    """Remove messages that were kept as long as deliveries are."""
    before = timezone.now() - timedelta(days=settings.DELIVERY_RETENTION_DAYS)
    Message.objects.filter(created_at__lt=before).delete()
