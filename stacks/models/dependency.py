"""What stacks have to do with the outputs of others: who may read them, and who runs after them."""

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from core.leases import Leased, LeasedQuerySet
from stacks.models.run import Run
from stacks.models.stack import Stack


class StateGrant(models.Model):
    """An admin's permission for a stack's runs to read the outputs in the state of another."""

    stack = models.ForeignKey(
        # The constraint below serves look-ups by stack, too.
        Stack,
        on_delete=models.CASCADE,
        related_name="state_grants",
        db_index=False,
        help_text="whose state is read",
    )
    reader = models.ForeignKey(Stack, on_delete=models.CASCADE, related_name="read_grants")
    is_for_proposed = models.BooleanField(
        default=False, help_text="whether proposed runs, whose code nobody approved, read it, too"
    )

    class Meta:
        ordering = ("stack__name", "reader__name")
        constraints = (
            models.UniqueConstraint(fields=["stack", "reader"], name="one_state_grant_per_reader"),
            models.CheckConstraint(condition=~Q(stack=F("reader")), name="state_grants_of_others"),
        )

    def __str__(self) -> str:
        return f"{self.reader} reads {self.stack}"


class DependencyQuerySet(LeasedQuerySet["Dependency"]):
    def make_due(self, on: Stack) -> None:
        """Have the worker compare the outputs of a stack on which others depend."""
        self.filter(on=on).update(due_at=timezone.now())


class Dependency(Leased):
    """A stack that runs after another one changed outputs which it reads."""

    stack = models.ForeignKey(
        # The constraint below serves look-ups by stack, too.
        Stack,
        on_delete=models.CASCADE,
        related_name="dependencies",
        db_index=False,
        help_text="which runs",
    )
    on = models.ForeignKey(Stack, on_delete=models.CASCADE, related_name="dependents")
    outputs = models.JSONField(default=list, blank=True, help_text="empty for any of them")
    seen_version = models.PositiveIntegerField(
        default=0, help_text="the state's version whose outputs it ran with; 0 without a state"
    )
    problem = models.CharField(
        max_length=500, blank=True, help_text="why the worker could not run it yet"
    )

    objects = DependencyQuerySet.as_manager()

    class Meta:
        ordering = ("on__name", "stack__name")
        constraints = (
            models.UniqueConstraint(fields=["stack", "on"], name="one_dependency_per_stack"),
            models.CheckConstraint(condition=~Q(stack=F("on")), name="dependencies_on_others"),
        )
        indexes = (
            models.Index(
                fields=["due_at"],
                condition=Q(due_at__isnull=False),
                name="dependency_due",  # read by the worker, all the time
            ),
        )

    def __str__(self) -> str:
        return f"{self.stack} runs after {self.on}"


class DependencyRun(models.Model):
    """The run that a dependency started for a version of the other stack's state; one for each."""

    dependency = models.ForeignKey(
        # The constraint below serves look-ups by dependency, too.
        Dependency,
        on_delete=models.CASCADE,
        related_name="started",
        db_index=False,
    )
    version = models.PositiveIntegerField()
    outputs = models.JSONField(default=list, help_text="the names of those that changed")
    run = models.ForeignKey(Run, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering = ("-version",)
        constraints = (
            models.UniqueConstraint(
                fields=["dependency", "version"], name="one_dependency_run_per_version"
            ),
        )

    def __str__(self) -> str:
        return f"{self.dependency}, version {self.version}"
