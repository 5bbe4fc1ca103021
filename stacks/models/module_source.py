"""The repositories, beside its own, whose code a run fetched."""

from typing import Self

from django.db import models

from stacks.models.run import Run
from vcs_integrations.models import Repository


class ModuleSourceQuerySet(models.QuerySet["ModuleSource"]):
    def for_pages(self) -> Self:
        """With all that a page shows of them."""
        return self.select_related("repository__integration")


class ModuleSource(models.Model):
    """A commit of another repository that a run's code fetched as a module or submodule.

    The repository is what the worker let it fetch. Ref and commit are what the code says: they are
    for people, and open nothing.
    """

    run = models.ForeignKey(
        # The constraint below serves look-ups by run, too.
        Run,
        on_delete=models.CASCADE,
        related_name="module_sources",
        db_index=False,
    )
    repository = models.ForeignKey(
        Repository, on_delete=models.CASCADE, related_name="module_sources"
    )
    ref = models.CharField(
        max_length=500, blank=True, help_text="as the code says; empty for the default branch"
    )
    sha = models.CharField(max_length=64, blank=True, help_text="what it was then, if known")

    objects = ModuleSourceQuerySet.as_manager()

    class Meta:
        ordering = ("repository__search_text", "ref", "pk")
        constraints = (
            models.UniqueConstraint(
                fields=["run", "repository", "ref", "sha"], name="one_module_source_per_commit"
            ),
        )

    def __str__(self) -> str:
        return f"{self.repository} at {self.ref or 'its default branch'}"

    @property
    def commit_url(self) -> str:
        integration = self.repository.integration
        return integration.provider.commit_url(self.repository.web_url, self.sha)
