"""Tests of service hooks: Stackhook asks the provider to send its own sample to our endpoint."""

from datetime import timedelta

from django.db import models
from django.urls import reverse
from django.utils import timezone

# A provider sends an event within seconds; after this it counts as not sent.
WAITED_FOR = timedelta(seconds=60)


class Verdict(models.TextChoices):
    """What a test showed; the text is the heading of its page."""

    WAITING = "waiting", "Waiting for the delivery"
    WORKS = "works", "The hook works"
    SLOW = "slow", "The answer comes too late"
    ANSWER_CHANGED = "answer_changed", "The answer is changed on its way back"
    NOT_ASKED = "not_asked", "The test could not be asked for"
    NOT_SENT = "not_sent", "Nothing was sent"
    NAME_UNKNOWN = "name_unknown", "The name of the endpoint is not found"
    NOT_REACHABLE = "not_reachable", "The endpoint can't be reached"
    TLS = "tls", "The secure connection fails"
    PASSWORD_MISSING = "password_missing", "The webhook password is lost on the way"
    PASSWORD_WRONG = "password_wrong", "The hook has another webhook password"
    WRONG_URL = "wrong_url", "The request arrives elsewhere"
    PROXY = "proxy", "Something before Stackhook answers in its place"
    TIMED_OUT = "timed_out", "The endpoint does not answer"
    HISTORY_UNREADABLE = "history_unreadable", "The result could not be read"


class HookTest(models.Model):
    """One test of one hook, and what each leg showed."""

    integration = models.ForeignKey(
        "vcs_integrations.Integration", on_delete=models.CASCADE, related_name="hook_tests"
    )
    external_id = models.CharField(max_length=100, help_text="the subscription's")
    event_type = models.CharField(max_length=100)
    project_name = models.CharField(max_length=255)
    asked_at = models.DateTimeField(default=timezone.now)
    verdict = models.CharField(max_length=20, choices=Verdict, default=Verdict.WAITING)
    fix = models.CharField(max_length=500, blank=True)

    # What the provider answered to the request, and said of the notification
    refusal = models.CharField(max_length=1000, blank=True)
    asking_took = models.FloatField(null=True, blank=True, help_text="seconds")
    notification_id = models.CharField(
        max_length=100, blank=True, help_text="empty: it would not send"
    )
    is_sent = models.BooleanField(default=False)
    status_code = models.PositiveIntegerField(null=True, blank=True)
    error = models.CharField(max_length=500, blank=True)
    sending_took = models.FloatField(null=True, blank=True, help_text="seconds")
    # What arrived here
    delivery = models.ForeignKey(
        "vcs_integrations.Delivery", null=True, blank=True, on_delete=models.SET_NULL
    )
    received_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-pk",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(verdict__in=[*Verdict.values]), name="hook_test_verdict"
            ),
        )

    def __str__(self) -> str:
        return f"Test of {self.event_type} in {self.project_name}"

    def get_absolute_url(self) -> str:
        return reverse("integrations:hook_test", args=[self.integration_id, self.pk])

    @property
    def hook_name(self) -> str:
        """What the hook sends, in the provider's words."""
        return self.integration.hook_name(self.event_type)

    @property
    def is_over(self) -> bool:
        """Whether nothing more can change."""
        return self.verdict != Verdict.WAITING

    @property
    def was_waited_for(self) -> bool:
        """Whether the provider had enough time."""
        return timezone.now() > self.asked_at + WAITED_FOR

    @property
    def arrived_after(self) -> float | None:
        """Seconds from the request to the arrival."""
        if self.received_at is None:
            return None
        return (self.received_at - self.asked_at).total_seconds()
