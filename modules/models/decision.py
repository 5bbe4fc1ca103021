"""What tags and pushes meant for modules: why there is a version, or none."""

from typing import Self

from django.db import models
from django.utils import timezone

from modules.models.module import Module
from modules.models.version import ModuleVersion
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
    rule = models.CharField(max_length=40)
    sentence = models.CharField(max_length=500)
    version = models.ForeignKey(
        ModuleVersion, null=True, blank=True, on_delete=models.SET_NULL, related_name="decisions"
    )
    decided_at = models.DateTimeField(default=timezone.now)

    objects = ModuleDecisionQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        indexes = (
            models.Index(fields=["module", "-id"], name="module_decision_list"),
            models.Index(fields=["module", "subject"], name="module_decision_by_subject"),
            models.Index(fields=["decided_at"], name="module_decision_age"),
        )

    def __str__(self) -> str:
        return f"{self.rule}: {self.sentence}"
