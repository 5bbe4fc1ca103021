"""What tags and pushes meant for modules: why there is a version, or none."""

from typing import Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from core.transactions import delete_in_portions
from modules.models.module import Module
from modules.models.version import ModuleVersion
from modules.rules.decisions import REPEATED, RULE_TEXTS, Decided, Rule
from stacks.models import oldest_kept
from vcs_integrations.models import Delivery


class ModuleDecisionQuerySet(models.QuerySet["ModuleDecision"]):
    def for_pages(self) -> Self:
        """With all that a page shows of a decision; a delivery's body is not among it."""
        related = self.select_related("module", "version", "delivery__integration")
        return related.defer("delivery__body", "delivery__headers")


class ModuleDecision(models.Model):
    """What a tag or a push meant for a module, by which rule, in a sentence for people."""

    module = models.ForeignKey(
        # The indexes below serve look-ups by module, too.
        Module,
        on_delete=models.CASCADE,
        related_name="decisions",
        db_index=False,
    )
    delivery = models.ForeignKey(
        Delivery,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="module_decisions",
        help_text="empty where a reconciliation or an import found the tag",
    )
    subject = models.CharField(max_length=700, help_text="which tag or push")
    position = models.BigIntegerField(null=True, blank=True, help_text="of the push, if it is one")
    rule = models.CharField(max_length=40)
    sentence = models.CharField(max_length=500)
    version = models.ForeignKey(
        ModuleVersion, null=True, blank=True, on_delete=models.SET_NULL, related_name="decisions"
    )
    decided_at = models.DateTimeField(default=timezone.now)

    objects = ModuleDecisionQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        constraints = (
            # Whatever reads it, and however often: a tag or push means one thing to a module.
            models.UniqueConstraint(
                fields=["module", "subject"],
                condition=~Q(rule__in=[rule.value for rule in REPEATED]),
                name="one_decision_per_subject",
            ),
        )
        indexes = (
            models.Index(fields=["module", "-id"], name="module_decision_list"),
            models.Index(fields=["module", "subject"], name="module_decision_by_subject"),
            models.Index(fields=["decided_at"], name="module_decision_age"),
        )

    def __str__(self) -> str:
        return f"{self.rule}: {self.sentence}"

    @classmethod
    def of(
        cls,
        module: Module,
        subject: str,
        decided: Decided,
        delivery: Delivery | None,
        version: ModuleVersion | None = None,
    ) -> Self:
        """Return a row for what was decided about a subject, to be stored."""
        return cls(
            module=module,
            delivery=delivery,
            subject=subject,
            rule=decided.rule,
            sentence=decided.sentence[:500],
            version=version,
        )

    @property
    def makes_version(self) -> bool:
        """Whether its rule asks for a version; by other rules there may be one that was there."""
        return self.rule == Rule.VERSION

    @property
    def rule_text(self) -> str:
        return RULE_TEXTS[Rule(self.rule)]


def prune_module_decisions() -> None:
    """Delete the decisions that were kept as long as deliveries are; the versions stay."""
    delete_in_portions(ModuleDecision.objects.filter(decided_at__lt=oldest_kept()))
