"""What executing a run stores besides the run: its plan file, approvals, log, who did what."""

from django.conf import settings
from django.db import models
from django.db.models import F
from django.db.models.functions import Lower
from django.utils import timezone

from core.encrypted_fields import EncryptedBytesField
from stacks.models.run import Run


class PlanFile(models.Model):
    """The plan that waits to be applied, and the versions of providers it was made with.

    A plan holds secrets: it is encrypted, read only to apply it, and removed with its run's end.
    """

    run = models.OneToOneField(
        Run, on_delete=models.CASCADE, primary_key=True, related_name="plan_file"
    )
    digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the content")
    content = EncryptedBytesField()
    lock_file = models.BinaryField(default=b"")

    def __str__(self) -> str:
        return f"{self.run} of {self.run.stack}"


def plan_digest_of(run: Run) -> str:
    """Return the digest of the plan that a run would apply; empty if none is known."""
    return PlanFile.objects.filter(run=run).values_list("digest", flat=True).first() or ""


class Approval(models.Model):
    """That a person has approved a plan of a run: exactly that plan, by its digest.

    It goes with its person; that they approved stays among what was done with the run.
    """

    run = models.ForeignKey(
        # The constraint below serves look-ups by run, too.
        Run,
        on_delete=models.CASCADE,
        related_name="approvals",
        db_index=False,
    )
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the plan")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.UniqueConstraint(fields=["run", "person"], name="one_approval_per_person"),
        )

    def __str__(self) -> str:
        return f"{self.run} by {self.person}"


class LogChunk(models.Model):
    """A piece of a run's log, harmless and without secrets; `number` counts within the run."""

    class Phase(models.TextChoices):
        FETCHING = "fetching", "Fetch"
        INITIALIZING = "initializing", "Init"
        PLANNING = "planning", "Plan"
        APPLYING = "applying", "Apply"

    run = models.ForeignKey(
        # The constraint below serves look-ups by run, too.
        Run,
        on_delete=models.CASCADE,
        related_name="log",
        db_index=False,
    )
    number = models.PositiveIntegerField()
    phase = models.CharField(max_length=20, choices=Phase.choices)
    first_line = models.PositiveIntegerField(
        help_text="the number, from 1, of the line of the log that it begins or goes on with"
    )
    text = models.TextField()
    written_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("number",)
        constraints = (
            models.UniqueConstraint(fields=["run", "number"], name="one_log_chunk_per_number"),
        )

    def __str__(self) -> str:
        return f"Log of run {self.run_id}, part {self.number}"


class RunAction(models.Model):
    """What a person did with a run, and when. The name stays when the person is removed."""

    class Action(models.TextChoices):
        APPROVE = "approve", "Approved"
        CONFIRM = "confirm", "Confirmed"
        DISCARD = "discard", "Discarded"
        CANCEL = "cancel", "Canceled"
        RETRY = "retry", "Retried"
        ALLOW = "allow", "Allowed"

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="actions")
    action = models.CharField(max_length=20, choices=Action.choices)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    username = models.CharField(max_length=150)
    at = models.DateTimeField(default=timezone.now)
    note = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("pk",)
        indexes = (models.Index(Lower("username"), F("run"), name="action_by_person"),)

    def __str__(self) -> str:
        return f"{self.get_action_display()} by {self.username}"
