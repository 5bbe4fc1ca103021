"""The repositories and modules, beside its own, whose code a run fetched."""

import re
from typing import Any, Self

from django.db import models
from django.db.models import Exists, OuterRef, Q, Subquery
from django.utils import timezone

from stacks.models.run import PullRequest, Run, RunQuerySet
from stacks.models.stack import Stack
from stacks.rules.states import Kind, State
from vcs_integrations.models import Repository
from vcs_integrations.providers.events import BRANCHES, TAGS, RefChanged

# What came out of its initialization, so that what it fetched is known.
INITIALIZED = [
    State.UNCONFIRMED,
    State.CONFIRMED,
    State.APPLYING,
    State.FINISHED,
    State.DISCARDED,
]


def initialized(stack: str, repository: str) -> RunQuerySet:
    """Return the tracked runs of a stack of which it is known what they fetched, the last first.

    Both name what a query around this one has: the stack, and the repository that it follows.
    """
    fetched = ModuleSource.objects.filter(run=OuterRef("pk"))
    got = RegistrySource.objects.filter(run=OuterRef("pk"))
    tracked = Run.objects.filter(
        Q(state__in=INITIALIZED)
        | Q(apply_started_at__isnull=False)
        | Exists(fetched)
        | Exists(got),
        stack=OuterRef(stack),
        repository=OuterRef(repository),
        kind=Kind.TRACKED,
    )
    return tracked.order_by("-number")


def newest_initialized_runs() -> models.QuerySet[Stack, Any]:
    """Return the key of the last such run of each stack."""
    newest = Subquery(initialized("pk", "repository").values("pk")[:1])
    return Stack.objects.order_by().values_list(newest, flat=True)


class ModuleSourceQuerySet(models.QuerySet["ModuleSource"]):
    def for_pages(self) -> Self:
        """With all that a page shows of them."""
        return self.select_related("repository__integration")

    def followed(self) -> Self:
        """Those of the last tracked run of each stack that runs when its modules change.

        The last one that came out of its initialization, or fetched something before it failed.
        """
        newest = initialized("run__stack", "run__stack__repository").values("pk")[:1]
        return self.filter(run__stack__runs_on_modules=True, run=Subquery(newest))

    def of_newest_runs(self) -> Self:
        """Those of the last tracked run of each stack, whatever its modules start."""
        return self.filter(run__in=newest_initialized_runs())

    def have_read(self) -> None:
        """Have the repositories reconciled from now on that are followed."""
        used = self.followed().order_by().values("repository")
        Repository.objects.filter(pk__in=used, due_at=None).update(due_at=timezone.now())


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
    folders = models.JSONField(
        default=list, blank=True, help_text="of it that the code uses; empty where not known"
    )

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

    def is_moved_by(self, change: RefChanged) -> bool:
        """Say whether a push moved the branch or tag that it follows to another commit.

        Without a ref that is the default branch ("Module Sources", Selecting a Revision); a commit
        follows nothing.
        """
        is_fixed = re.fullmatch(r"[0-9a-f]{7,}", self.ref) and self.sha.startswith(self.ref)
        if not self.sha or is_fixed or change.new_sha in {"", self.sha}:
            return False
        if self.ref in {"", "HEAD"}:
            return bool(change.branch) and change.branch == self.repository.default_branch
        return change.ref in {self.ref, f"{BRANCHES}{self.ref}", f"{TAGS}{self.ref}"}


class ModulePush(models.Model):
    """A push to a module's repository that a stack has a run for, or a reason for none: once."""

    stack = models.ForeignKey(
        # The constraint below serves look-ups by stack, too.
        Stack,
        on_delete=models.CASCADE,
        related_name="module_pushes",
        db_index=False,
    )
    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="+")
    position = models.BigIntegerField()
    run = models.ForeignKey(
        Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="module_pushes"
    )

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["stack", "repository", "position"], name="one_answer_per_module_push"
            ),
        )

    def __str__(self) -> str:
        return f"Push {self.position} to {self.repository}, for {self.stack}"


class RegistrySource(models.Model):
    """A module that a run's code got from a registry, in the version that was chosen.

    It is what the code says inside the sandbox: it is for people, and opens nothing.
    """

    run = models.ForeignKey(
        # The constraint below serves look-ups by run, too.
        Run,
        on_delete=models.CASCADE,
        related_name="registry_sources",
        db_index=False,
    )
    address = models.CharField(
        max_length=500, help_text="with the registry's host, like host/namespace/name/system"
    )
    version = models.CharField(max_length=100)
    constraint = models.CharField(
        max_length=200, blank=True, help_text="on the version, as the code says, where it is known"
    )

    class Meta:
        ordering = ("address", "version")
        constraints = (
            models.UniqueConstraint(
                fields=["run", "address", "version", "constraint"],
                name="one_registry_source_per_version",
            ),
        )
        indexes = (models.Index(fields=["address", "run"], name="registry_source_by_address"),)

    def __str__(self) -> str:
        return f"{self.address} {self.version}"


class ProposedModuleQuerySet(models.QuerySet["ProposedModule"]):
    def copy(self, of: Run, to: Run) -> None:
        """Have a run plan the same proposed code as the one that it repeats."""
        for one in self.filter(run=of):
            one.pk, one.run = None, to
            one.save(force_insert=True)


class ProposedModule(models.Model):
    """A commit that a pull request of a module proposes, which one run plans in its place.

    Wherever the run's code uses the module, from the registry or by git, it finds this commit.
    """

    run = models.OneToOneField(Run, on_delete=models.CASCADE, related_name="proposed_module")
    pull_request = models.ForeignKey(
        PullRequest, on_delete=models.CASCADE, related_name="proposed_modules"
    )
    sha = models.CharField(max_length=64)
    folder = models.CharField(max_length=500, blank=True, help_text="of the module")
    address = models.CharField(
        max_length=500, help_text="of the module, with the host of this registry"
    )

    objects = ProposedModuleQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.address} of {self.pull_request}, commit {self.sha[:8]}"

    @property
    def refs(self) -> list[str]:
        """Refs that lead to the commit where a server gives out no single one."""
        one = self.pull_request
        provider = one.repository.integration.provider
        branch = [f"refs/heads/{one.source_branch}"] if one.source_branch else []
        return [*branch, *provider.refs_of(one.number)]
