"""Modules: Terraform modules that are published from a folder of a repository."""

from typing import Any, Self

from django.db import models, transaction
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from core.leases import Leased, LeasedQuerySet, Moment
from stacks.models import Report
from vcs_integrations.models import Integration, Repository, search_key, search_words


class VersionsFrom(models.TextChoices):
    """What says that there is a new version."""

    TAGS = "tags", "Tags"
    FILE = "file", "The version in .stackhook/module.yml on the branch"


def parts_of(address: str, lookup: str = "") -> dict[str, str]:
    """Return the parts of an address as conditions on a module, or on what `lookup` leads to."""
    namespace, _, rest = address.partition("/")
    name, _, system = rest.partition("/")
    parts = {"namespace": namespace, "name": name, "system": system}
    return {f"{lookup}{part}": value for part, value in parts.items()}


class ModuleQuerySet(LeasedQuerySet["Module"]):
    def due(self, at: Moment = None) -> Self:
        """Those whose tags are due to be listed, of repositories that can be read."""
        due = super().due(at).filter(repository__integration__unlinked_at=None)
        return due.filter(repository__gone_at=None, repository__is_disabled=False)

    def read_soon(self) -> None:
        """Have read now what a push could not be read of: all tags, or the file again."""
        self.update(due_at=timezone.now())

    def with_repository(self) -> Self:
        return self.select_related("repository__integration")

    def of(self, integration: Integration) -> Self:
        return self.filter(repository__integration=integration)

    def matching(self, text: str) -> Self:
        """Those that have every word of the text in their address or repository."""
        modules = self
        for word in search_words(text):
            modules = modules.filter(
                Q(search_text__contains=word) | Q(repository__search_text__contains=word)
            )
        return modules


class Module(Leased):
    """A Terraform module: a folder of a repository, which is published in versions.

    `due_at` is when its tags are listed next, to find what no push told: a worker claims it then.
    """

    namespace = models.CharField(max_length=64)
    name = models.CharField(max_length=64)
    system = models.CharField(max_length=64, help_text="the target system, like aws")
    repository = models.ForeignKey(
        Repository, on_delete=models.PROTECT, related_name="registry_modules"
    )
    branch = models.CharField(max_length=500, help_text="the tracked branch's short name")
    folder = models.CharField(max_length=500, blank=True, help_text="empty for the top")
    search_text = models.TextField(editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    versions_from = models.CharField(
        max_length=20, choices=VersionsFrom.choices, default=VersionsFrom.TAGS
    )
    tag_prefix = models.CharField(
        max_length=200, blank=True, help_text="like vpc for tags like vpc/v1.2.3"
    )
    applies_tests = models.BooleanField(
        default=False, help_text="its tests may apply, and not only plan"
    )

    # Since when its pushes are read: what was there before is imported
    followed_at = models.DateTimeField(default=timezone.now)
    imported_at = models.DateTimeField(
        null=True, blank=True, help_text="when the tags that were there before were decided"
    )
    pull_requests_read_at = models.DateTimeField(
        null=True, blank=True, help_text="when those that were open before were decided"
    )

    objects = ModuleQuerySet.as_manager()

    class Meta:
        ordering = ("namespace", "name", "system")
        constraints = (
            models.UniqueConstraint(
                fields=["namespace", "name", "system"], name="one_module_per_address"
            ),
            models.CheckConstraint(
                condition=Q(versions_from__in=VersionsFrom.values), name="module_words"
            ),
        )
        indexes = (models.Index(fields=["due_at"], name="module_due"),)

    def __str__(self) -> str:
        return self.address

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.search_text = search_key(self.address)
        is_new = self._state.adding
        if is_new and self.due_at is None:
            self.due_at = timezone.now()  # what is there is imported at once
        with transaction.atomic():
            super().save(*args, **kwargs)
            if is_new:  # from now on its pushes are read
                repository = Repository.objects.filter(pk=self.repository_id, due_at=None)
                repository.update(due_at=timezone.now())

    def get_absolute_url(self) -> str:
        return reverse("modules:detail", args=[self.namespace, self.name, self.system])

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete it, and have its statuses that are pending end."""
        with transaction.atomic():
            Report.objects.of_module(self.address).filter(is_pending=True).renew()
            return super().delete(*args, **kwargs)

    @property
    def address(self) -> str:
        """Its address within the registry: namespace, name and target system."""
        return f"{self.namespace}/{self.name}/{self.system}"

    @property
    def status_name(self) -> str:
        """The name of its statuses, for branch policies. Unlike a stack's slug it has dots."""
        return f"module-{self.namespace}.{self.name}.{self.system}"

    @property
    def integration(self) -> Integration:
        return self.repository.integration

    @property
    def is_detached(self) -> bool:
        return not self.integration.is_linked

    @property
    def branch_url(self) -> str:
        return self.integration.provider.branch_url(self.repository.web_url, self.branch)
