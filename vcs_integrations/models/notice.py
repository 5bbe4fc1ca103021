"""Notices to admins about an integration, each sent once, and their emails."""

from collections import Counter
from datetime import timedelta
from enum import StrEnum
from typing import Self

from django.db import models
from django.db.models import Q
from django.template.defaultfilters import pluralize
from django.utils import timezone

from core.leases import Leased, LeasedQuerySet, Moment

# Others claim a killed worker's mail after this, longer than a mail server may take.
LEASE = timedelta(minutes=5)


class NoticeKind(StrEnum):
    """What a notice is about; the word is stored, so it never changes."""

    TOKEN_ENDS = "token_ends"
    TOKEN_ENDED = "token_ended"
    REFUSED = "refused"
    WRONG_KEY = "wrong_key"
    HOOKS_REFUSED = "hooks_refused"
    HOOKS_UNWELL = "hooks_unwell"
    PROJECT_SILENT = "project_silent"
    DELIVERY_REFUTED = "delivery_refuted"
    TAG_MOVED = "tag_moved"


class MailState(models.TextChoices):
    """How far a mail has come.

    One that stays `sending` was interrupted: it may have arrived, so it is not resent.
    """

    WAITING = "waiting"
    SENDING = "sending"
    SENT = "sent"
    DROPPED = "dropped"


MAIL_TEXTS = {
    MailState.WAITING: "To be e-mailed to",
    MailState.SENDING: "Perhaps e-mailed to",
    MailState.SENT: "E-mailed to",
    MailState.DROPPED: "Not e-mailed to",
}


class NoticeQuerySet(models.QuerySet["Notice"]):
    def unfixed(self) -> Self:
        """Those whose cause is not fixed."""
        return self.filter(withdrawn_at=None)

    def withdraw(self) -> None:
        """Mark those as fixed whose cause was not fixed yet."""
        self.unfixed().update(withdrawn_at=timezone.now())


class Notice(models.Model):
    """A notice to admins about an integration, sent once until its cause is fixed."""

    integration = models.ForeignKey(
        "vcs_integrations.Integration", on_delete=models.CASCADE, related_name="notices"
    )
    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=200, blank=True, help_text="which one of its kind")
    subject = models.CharField(max_length=200)
    text = models.CharField(max_length=1000)
    at = models.DateTimeField(default=timezone.now)
    withdrawn_at = models.DateTimeField(null=True, blank=True, help_text="when its cause was fixed")

    objects = NoticeQuerySet.as_manager()

    class Meta:
        ordering = ("-at", "-pk")
        constraints = (
            models.UniqueConstraint(
                fields=["integration", "kind", "key"],
                condition=Q(withdrawn_at=None),
                name="said_once",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=[kind.value for kind in NoticeKind]), name="notice_kind"
            ),
        )

    def __str__(self) -> str:
        return self.subject

    @property
    def mail_texts(self) -> list[str]:
        """The states of its mails, one sentence for each; empty if there are none."""
        counts = Counter((one.state, one.problem) for one in self.mails.all())
        return [
            f"{MAIL_TEXTS[MailState(state)]} {count} admin{pluralize(count)}. {problem}".strip()
            for (state, problem), count in sorted(counts.items())
        ]


class NoticeMailQuerySet(LeasedQuerySet["NoticeMail"]):
    def waiting(self) -> Self:
        return self.filter(state=MailState.WAITING)

    def due(self, at: Moment = None) -> Self:
        """Those due now, the oldest first."""
        return super().due(at).filter(state=MailState.WAITING)


class NoticeMail(Leased):
    """A notice on its way to one address."""

    notice = models.ForeignKey(
        # The constraint below serves look-ups by notice, too.
        Notice,
        on_delete=models.CASCADE,
        related_name="mails",
        db_index=False,
    )
    address = models.EmailField()
    state = models.CharField(max_length=20, choices=MailState.choices, default=MailState.WAITING)
    due_at = models.DateTimeField(null=True, blank=True, default=timezone.now)
    problem = models.CharField(max_length=200, blank=True)

    objects = NoticeMailQuerySet.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["notice", "address"], name="one_mail_per_address"),
            models.CheckConstraint(
                condition=Q(state__in=MailState.values), name="notice_mail_state"
            ),
        )
        indexes = (
            models.Index(
                fields=["due_at"],
                condition=Q(state=MailState.WAITING.value),
                name="notice_mail_due",  # read by the worker, all the time
            ),
        )

    def __str__(self) -> str:
        return f"{self.notice_id} to {self.address}"
