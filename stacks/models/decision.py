"""What events meant for stacks: why there is a run, or none."""

from typing import Self

from django.db import models
from django.utils import timezone

from core.transactions import delete_in_portions
from stacks.models.pruning import oldest_kept
from stacks.models.run import Run
from stacks.models.stack import Stack
from stacks.rules import triggers
from stacks.rules.triggers import RULE_TEXTS, Rule
from vcs_integrations.models import Delivery


class DecisionQuerySet(models.QuerySet["Decision"]):
    def record(
        self,
        stack: Stack,
        subject: str,
        decided: triggers.Decision,
        delivery: Delivery | None,
        run: Run | None = None,
        sha: str = "",
    ) -> "Decision":
        """Store what was decided about a subject and its commit, with the run that it has."""
        decision = Decision.of(stack, subject, decided, delivery, run, sha)
        decision.save()
        return decision

    def for_pages(self) -> Self:
        """With all that a page shows of a decision; a delivery's body is not among it."""
        related = self.select_related("stack", "run__stack", "delivery__integration")
        return related.defer("delivery__body", "delivery__headers")


class Decision(models.Model):
    """What an event meant for a stack, by which rule, in a sentence for people."""

    stack = models.ForeignKey(
        # The index below serves look-ups by stack, too.
        Stack,
        on_delete=models.CASCADE,
        related_name="decisions",
        db_index=False,
    )
    delivery = models.ForeignKey(
        Delivery,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="decisions",
        help_text="empty where a reconciliation found the event",
    )
    subject = models.CharField(max_length=700, help_text="the event: which push or pull request")
    rule = models.CharField(max_length=40)
    sentence = models.CharField(max_length=500)
    run = models.ForeignKey(
        Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="decisions"
    )
    sha = models.CharField(
        max_length=64, blank=True, help_text="the commit it is about, where a person may act on it"
    )
    decided_at = models.DateTimeField(default=timezone.now)

    objects = DecisionQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        indexes = (
            models.Index(fields=["stack", "-id"], name="decision_list"),
            models.Index(fields=["stack", "subject"], name="decision_by_subject"),
            models.Index(fields=["decided_at"], name="decision_age"),  # read by the pruning
        )

    def __str__(self) -> str:
        return f"{self.rule}: {self.sentence}"

    @classmethod
    def of(
        cls,
        stack: Stack,
        subject: str,
        decided: triggers.Decision,
        delivery: Delivery | None,
        run: Run | None = None,
        sha: str = "",
    ) -> Self:
        """Return a row for what was decided about a subject and its commit, to be stored."""
        return cls(
            stack=stack,
            delivery=delivery,
            subject=subject,
            rule=decided.rule,
            sentence=decided.sentence[:500],
            run=run,
            sha=sha,
        )

    @property
    def starts_run(self) -> bool:
        """Whether its rule asks for a run; by other rules it may have one that was there."""
        return self.rule in {Rule.TRACKED, Rule.PROPOSED, Rule.ALLOWED, Rule.MODULE}

    @property
    def is_blocked_fork(self) -> bool:
        """Whether it kept a commit of a fork from running, which a member can allow."""
        return self.rule == Rule.FORK and bool(self.sha)

    @property
    def rule_text(self) -> str:
        return RULE_TEXTS[Rule(self.rule)]


def prune_decisions() -> None:
    """Delete the decisions that were kept as long as deliveries are; the runs stay."""
    delete_in_portions(Decision.objects.filter(decided_at__lt=oldest_kept()))
