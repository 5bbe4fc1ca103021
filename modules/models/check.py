"""Checks: whether the code of a module, at one commit, is fit to be published."""

from dataclasses import asdict, dataclass
from typing import Self

from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from core.leases import Leased, LeasedQuerySet, Moment
from modules.models.module import Module
from modules.models.version import ModuleVersion, ModuleVersionQuerySet
from stacks.models import Report


class CheckState(models.TextChoices):
    """How far a check is."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    PASSED = "passed", "Passed"
    FAILED = "failed", "Failed"


class Outcome(models.TextChoices):
    """What became of one thing that was checked."""

    PASSED = "passed", "Passed"
    FAILED = "failed", "Failed"
    SKIPPED = "skipped", "Skipped"


@dataclass(frozen=True)
class Result:
    """One thing that was checked: what, what became of it, and a sentence about it."""

    name: str
    outcome: Outcome
    sentence: str

    @property
    def stored(self) -> dict[str, str]:
        return asdict(self)


class CheckQuerySet(LeasedQuerySet["Check"]):
    def due(self, at: Moment = None) -> Self:
        """Those due now, of linked integrations."""
        return super().due(at).filter(module__repository__integration__unlinked_at=None)


class Check(Leased):
    """A check of a module's code at one commit, for a version or a pull request, or both.

    A run worker claims it when it is due. `results` has an entry for each thing that was checked,
    in their order: its name, what became of it (passed, failed, skipped), and a sentence.
    """

    module = models.ForeignKey(
        # The constraint below serves look-ups by module, too.
        Module,
        on_delete=models.CASCADE,
        related_name="checks",
        db_index=False,
    )
    sha = models.CharField(max_length=64)
    state = models.CharField(max_length=20, choices=CheckState.choices, default=CheckState.QUEUED)
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0, help_text="how often it was begun")
    results = models.JSONField(default=list, blank=True)
    failure = models.CharField(max_length=1000, blank=True)
    log = models.TextField(blank=True, help_text="what its programs printed, cut")

    objects = CheckQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        constraints = (
            models.UniqueConstraint(fields=["module", "sha"], name="one_check_per_commit"),
            models.CheckConstraint(condition=Q(state__in=CheckState.values), name="check_words"),
        )
        indexes = (models.Index(fields=["due_at"], name="check_due"),)  # read by run workers

    def __str__(self) -> str:
        return f"Check of {self.module} at {self.sha[:8]}"

    def get_absolute_url(self) -> str:
        one = self.module
        return reverse("modules:check", args=[one.namespace, one.name, one.system, self.sha])

    @property
    def commit_url(self) -> str:
        """The provider's page of its commit."""
        repository = self.module.repository
        return self.module.integration.provider.commit_url(repository.web_url, self.sha)

    @property
    def has_ended(self) -> bool:
        return self.state in {CheckState.PASSED, CheckState.FAILED}

    @property
    def versions(self) -> ModuleVersionQuerySet:
        """The versions of its commit."""
        return ModuleVersion.objects.filter(module=self.module_id, sha=self.sha)

    def report(self) -> None:
        """Have its result sent to the commit of versions, and to wherever else it was sent."""
        one = self.module
        Report.objects.of_module(one.address).filter(sha=self.sha, name=one.status_name).renew()
        if self.versions.exists():
            Report.objects.add_of_module(one.address, one.status_name, one.repository, self.sha)
