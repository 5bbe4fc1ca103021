"""The tags of repositories that name versions, as they were last read."""

from django.db import models

from vcs_integrations.models import Repository


class Tag(models.Model):
    """A tag that names a version, as it was last read: all modules of a repository share it.

    One that is gone stays, without a commit, so that an older push that is read late does not
    bring it back.
    """

    repository = models.ForeignKey(
        # The constraint below serves look-ups by repository, too.
        Repository,
        on_delete=models.CASCADE,
        related_name="version_tags",
        db_index=False,
    )
    name = models.CharField(max_length=500, help_text="without refs/tags/")
    position = models.BigIntegerField(help_text="the newest push that is known to be in it")
    sha = models.CharField(max_length=64, blank=True, help_text="what it names; empty: it is gone")
    commit_sha = models.CharField(
        max_length=64, blank=True, help_text="empty where it leads to no commit"
    )
    title = models.CharField(max_length=200, blank=True, help_text="of the commit")
    author = models.CharField(max_length=255, blank=True)
    committed_at = models.DateTimeField(null=True, blank=True)
    text = models.TextField(blank=True, help_text="of an annotated tag")

    class Meta:
        ordering = ("name",)
        constraints = (
            models.UniqueConstraint(fields=["repository", "name"], name="one_tag_per_name"),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def is_gone(self) -> bool:
        return not self.sha
