"""What a person wants to be notified of by e-mail."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from notifications.models.event import labels_of
from stacks.models import Stack


class Subscription(models.Model):
    """Events of one stack, of the stacks with a label, or of all stacks, e-mailed to a person."""

    person = models.ForeignKey(
        # The constraint below serves look-ups by person, too.
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,
    )
    stack = models.ForeignKey(
        Stack, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    label = models.CharField(max_length=50, blank=True)
    events = models.JSONField(default=list)

    class Meta:
        ordering = ("stack__name", "label")
        constraints = (
            models.UniqueConstraint(fields=["person", "stack"], name="one_subscription_per_stack"),
            models.UniqueConstraint(
                fields=["person", "label"],
                condition=Q(stack=None),
                name="one_subscription_per_label",
            ),
            models.CheckConstraint(
                condition=Q(stack=None) | Q(label=""), name="subscription_has_one_scope"
            ),
        )

    def __str__(self) -> str:
        if self.stack:
            return str(self.stack)
        return f"Stacks with the label {self.label}" if self.label else "All stacks"

    @property
    def event_labels(self) -> str:
        return labels_of(self.events)
