"""Versions of modules, and the archives that are served for them."""

from typing import Self

from django.db import models
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone

from modules.models.module import Module
from modules.rules.semver import SemVer

PRERELEASE = r"^[0-9.]+-"


class Archive(models.Model):
    """The files of a version as they are served: a .tar.gz, the same bytes for good.

    It is stored in the database, in chunks: see docs/decisions/module-archives.md.
    """

    digest = models.CharField(max_length=64, unique=True, help_text="SHA-256, in hexadecimal")
    size = models.PositiveIntegerField(help_text="in bytes")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"Archive {self.digest[:8]}"


class ArchiveChunk(models.Model):
    """A part of an archive."""

    archive = models.ForeignKey(
        # The constraint below serves look-ups by archive, too.
        Archive,
        on_delete=models.CASCADE,
        related_name="chunks",
        db_index=False,
    )
    number = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        ordering = ("number",)
        constraints = (
            models.UniqueConstraint(fields=["archive", "number"], name="one_archive_chunk_each"),
        )

    def __str__(self) -> str:
        return f"{self.archive}, chunk {self.number}"


class VersionState(models.TextChoices):
    """Whether a version is served. A published one never changes."""

    WAITING = "waiting", "Being checked"
    PUBLISHED = "published", "Published"
    REFUSED = "refused", "Not published"


class ModuleVersionQuerySet(models.QuerySet["ModuleVersion"]):
    def newest_first(self) -> Self:
        return self.order_by("-precedence")

    def published(self) -> Self:
        """Those that are served, yanked or not."""
        return self.filter(state=VersionState.PUBLISHED)

    def listed(self) -> Self:
        """Those that the registry lists for everybody."""
        return self.published().filter(yanked_at=None)

    def without_texts(self) -> Self:
        """Without what may be long, and only the page of a version shows."""
        return self.defer("readme", "documentation", "changelog")

    def releases(self) -> Self:
        """Those that are no prereleases."""
        return self.exclude(number__regex=PRERELEASE)


class ModuleVersion(models.Model):
    """A version of a module, from one commit.

    Only before it is published may it become of another commit, where its tag was moved.
    """

    module = models.ForeignKey(
        # The constraint below serves look-ups by module, too.
        Module,
        on_delete=models.CASCADE,
        related_name="versions",
        db_index=False,
    )
    number = models.CharField(max_length=100, help_text="by Semantic Versioning, without a v")
    precedence = models.BinaryField(editable=False, help_text="orders the versions of a module")
    tag = models.CharField(max_length=500, blank=True, help_text="without refs/tags/")
    sha = models.CharField(max_length=64)
    position = models.BigIntegerField(
        null=True, blank=True, help_text="the push that brought it, where no tag names it"
    )
    title = models.CharField(max_length=200, blank=True, help_text="of the commit")
    author = models.CharField(max_length=255, blank=True)
    committed_at = models.DateTimeField(null=True, blank=True)
    changelog = models.TextField(blank=True, help_text="the text of an annotated tag")
    created_at = models.DateTimeField(default=timezone.now)

    state = models.CharField(
        max_length=20, choices=VersionState.choices, default=VersionState.WAITING
    )
    published_at = models.DateTimeField(null=True, blank=True)
    archive = models.ForeignKey(
        Archive, null=True, blank=True, on_delete=models.PROTECT, related_name="versions"
    )
    readme = models.TextField(blank=True, help_text="Markdown, as it is in the archive")
    documentation = models.JSONField(
        default=dict, blank=True, help_text="inputs, outputs, providers, submodules, by folder"
    )
    downloads = models.PositiveIntegerField(default=0)

    yanked_at = models.DateTimeField(null=True, blank=True)
    yanked_by_name = models.CharField(max_length=150, blank=True)
    yanked_because = models.CharField(max_length=500, blank=True)
    moved_to = models.CharField(
        max_length=64, blank=True, help_text="the commit that its tag is at since it was published"
    )
    tag_gone_at = models.DateTimeField(null=True, blank=True)

    objects = ModuleVersionQuerySet.as_manager()

    class Meta:
        ordering = ("-precedence",)
        constraints = (
            # Versions that differ in build metadata alone are the same to Terraform, too.
            models.UniqueConstraint(fields=["module", "precedence"], name="one_version_per_number"),
            models.CheckConstraint(
                condition=Q(state__in=VersionState.values), name="module_version_words"
            ),
            models.CheckConstraint(
                condition=Q(state=VersionState.PUBLISHED.value)
                & Q(archive__isnull=False, published_at__isnull=False)
                | ~Q(state=VersionState.PUBLISHED.value) & Q(archive=None, published_at=None),
                name="published_versions_have_archives",
            ),
        )
        indexes = (models.Index(F("module"), F("sha"), name="version_by_commit"),)

    def __str__(self) -> str:
        return f"{self.module} {self.number}"

    def get_absolute_url(self) -> str:
        module = self.module
        names = [module.namespace, module.name, module.system, self.number]
        return reverse("modules:version", args=names)

    @classmethod
    def of(cls, module: Module, version: SemVer, tag: str, sha: str) -> Self:
        """Return a row for a version of a commit, to be stored."""
        return cls(
            module=module, number=str(version), precedence=version.precedence, tag=tag, sha=sha
        )

    @property
    def commit_url(self) -> str:
        return self.url_of_commit(self.sha)

    @property
    def moved_to_url(self) -> str:
        return self.url_of_commit(self.moved_to)

    def url_of_commit(self, sha: str) -> str:
        """Return the provider's page of a commit of the module's repository."""
        web_url = self.module.repository.web_url
        return self.module.integration.provider.commit_url(web_url, sha)

    @property
    def is_published(self) -> bool:
        return self.state == VersionState.PUBLISHED

    @property
    def is_yanked(self) -> bool:
        return self.yanked_at is not None
