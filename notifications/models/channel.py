"""Where a team is notified: Microsoft Teams, Slack, or a webhook."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.urls import reverse

from core.encrypted_fields import EncryptedTextField
from core.encryption import WrongKey
from notifications.models.event import labels_of
from stacks.models import Stack


class Kind(models.TextChoices):
    """What understands the messages of a channel."""

    TEAMS = "teams", "Microsoft Teams"
    SLACK = "slack", "Slack"
    WEBHOOK = "webhook", "Webhook"


class Channel(models.Model):
    """Where events of some stacks are posted: those that are listed or have one of the labels.

    Without either, those of all stacks.
    """

    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    host = models.CharField(max_length=253, help_text="of its address, which is secret")
    events = models.JSONField(default=list)
    stacks = models.ManyToManyField(Stack, blank=True, related_name="+")
    labels = models.JSONField(default=list, blank=True)

    class Meta:
        ordering = (Lower("name"),)
        constraints = (
            models.UniqueConstraint(Lower("name"), name="one_channel_per_name"),
            models.CheckConstraint(condition=Q(kind__in=Kind.values), name="channel_kind"),
        )

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("notifications:channel", args=[self.pk])

    @property
    def event_labels(self) -> str:
        return labels_of(self.events)

    def concerns(self, stack: Stack) -> bool:
        """Whether events of a stack are posted."""
        listed = [one.pk for one in self.stacks.all()]
        if not listed and not self.labels:
            return True
        return stack.pk in listed or not {*self.labels}.isdisjoint(stack.labels)

    def read_secret(self) -> "ChannelSecret | None":
        """Return the address and what signs; None if no key reads them, or there are none."""
        try:
            return ChannelSecret.objects.filter(channel=self).first()
        except WrongKey:
            return None


class ChannelSecret(models.Model):
    """A channel's address, and what signs its messages; in a table of its own.

    So they are decrypted only where they are needed, and a lost key breaks nothing else.
    """

    channel = models.OneToOneField(
        Channel, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    # Who knows the address of Teams or Slack may post there.
    address = EncryptedTextField()
    signing_secret = EncryptedTextField(help_text="empty: messages are not signed")

    class Meta:
        verbose_name_plural = "notification channels"

    def __str__(self) -> str:
        return str(self.channel)
