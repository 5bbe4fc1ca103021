"""Impact: what a pull request of a module would change in the stacks that use it."""

from typing import Self

from django.db import models
from django.urls import reverse
from django.utils import timezone

from core.leases import Leased, LeasedQuerySet, Moment
from modules.models.module import Module
from stacks.models import PullRequest, Run, Stack
from stacks.models.run import RunQuerySet


class ImpactQuerySet(LeasedQuerySet["Impact"]):
    def due(self, at: Moment = None) -> Self:
        """Those due now, of linked integrations."""
        return super().due(at).filter(module__repository__integration__unlinked_at=None)


class Impact(Leased):
    """A revision of a pull request whose code is planned in the stacks that use a module.

    `due_at` is when a worker looks which plans to start next.
    """

    module = models.ForeignKey(
        # The constraint below serves look-ups by module, too.
        Module,
        on_delete=models.CASCADE,
        related_name="impacts",
        db_index=False,
    )
    pull_request = models.ForeignKey(PullRequest, on_delete=models.CASCADE, related_name="impacts")
    revision = models.PositiveIntegerField()
    sha = models.CharField(max_length=64, help_text="the proposed code")
    is_superseded = models.BooleanField(
        default=False, help_text="it has a newer revision, or was closed"
    )
    created_at = models.DateTimeField(default=timezone.now)

    objects = ImpactQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        constraints = (
            models.UniqueConstraint(
                fields=["module", "pull_request", "revision"], name="one_impact_per_revision"
            ),
        )
        indexes = (models.Index(fields=["due_at"], name="impact_due"),)

    def __str__(self) -> str:
        return f"Impact of {self.pull_request}, revision {self.revision}, on users of {self.module}"

    def get_absolute_url(self) -> str:
        module = self.module
        names = [module.namespace, module.name, module.system]
        return reverse("modules:impact", args=[*names, self.pull_request.number])

    def waiting(self) -> "models.QuerySet[ImpactPlan]":
        """Return the plans that are wanted and not started yet, in their order."""
        return self.plans.filter(is_wanted=True, run=None, why_not="").order_by("place")

    def rest(self) -> "models.QuerySet[ImpactPlan]":
        """Return the plans beyond the limit, which a person may have started."""
        return self.plans.filter(is_wanted=False, run=None, why_not="")

    def runs(self) -> RunQuerySet:
        """Return the runs that plan the proposed code, also those that repeat others."""
        return Run.objects.filter(
            proposed_module__pull_request=self.pull_request_id,
            proposed_module__sha=self.sha,
            proposed_module__address__endswith=f"/{self.module.address}",
        )


class ImpactPlan(models.Model):
    """A stack that uses a module, and the run that plans it with the proposed code."""

    impact = models.ForeignKey(
        # The constraint below serves look-ups by impact, too.
        Impact,
        on_delete=models.CASCADE,
        related_name="plans",
        db_index=False,
    )
    stack = models.ForeignKey(Stack, on_delete=models.CASCADE, related_name="impact_plans")
    place = models.PositiveIntegerField(help_text="in the order in which stacks are planned")
    is_wanted = models.BooleanField(
        default=True, help_text="not one of the rest, which a person may have planned"
    )
    run = models.OneToOneField(
        Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="impact_plan"
    )
    why_not = models.CharField(max_length=500, blank=True, help_text="why there is no run")

    class Meta:
        ordering = ("place",)
        constraints = (
            models.UniqueConstraint(fields=["impact", "stack"], name="one_impact_plan_per_stack"),
        )

    def __str__(self) -> str:
        return f"{self.impact}: {self.stack}"
