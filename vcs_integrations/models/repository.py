"""The repositories of linked organizations, as they were last listed, and how far they are read."""

import unicodedata
from datetime import timedelta
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from core.leases import Leased, LeasedQuerySet, Moment

RECONCILE_EVERY = timedelta(minutes=10)
# Each word is a condition, and a database limits their number.
WORDS_OF_A_SEARCH = 20
LENGTH_OF_A_SEARCH = 2000


class RepositoryQuerySet(LeasedQuerySet["Repository"]):
    def offered(self) -> Self:
        """Those a stack can be made from: there, enabled, and of a usable integration."""
        return self.filter(
            is_disabled=False,
            gone_at=None,
            integration__unlinked_at=None,
            integration__duplicate_of=None,
        )

    def in_use(self) -> Self:
        """Those that stacks use."""
        return self.filter(due_at__isnull=False)

    def to_reconcile(self) -> Self:
        """Those that stacks use and that can be read."""
        there = self.in_use().filter(gone_at=None, is_disabled=False)
        return there.filter(integration__unlinked_at=None)

    def due(self, at: Moment = None) -> Self:
        """Those whose pushes and pull requests are due to be read."""
        return super().due(at).to_reconcile()

    def make_due(self) -> int:
        """Make those that stacks use due for reconciliation now; return how many there are."""
        return self.in_use().update(due_at=timezone.now())

    def read_within(self, wait: timedelta) -> None:
        """Make those that stacks use due after a wait, unless they are due earlier."""
        at = timezone.now() + wait
        self.in_use().filter(due_at__gt=at).update(due_at=at)

    def matching(self, text: str) -> Self:
        """Those whose project/name has every word of the text, in any case."""
        repositories = self
        for word in search_words(text):
            repositories = repositories.filter(search_text__contains=word)
        return repositories


def search_key(text: str) -> str:
    """Return text as the search compares it: SQLite itself folds the case of ASCII only.

    Composed and decomposed accents, as different keyboards send them, are the same.
    """
    return unicodedata.normalize("NFC", text).casefold()


def search_words(text: str) -> list[str]:
    """Return the words of a search, as they are compared."""
    return search_key(text[:LENGTH_OF_A_SEARCH]).split()[:WORDS_OF_A_SEARCH]


class Repository(Leased):
    """A remote repository as it was last listed, keyed by the provider's id."""

    integration = models.ForeignKey(
        # The constraint or index below serves look-ups by integration, too.
        "vcs_integrations.Integration",
        on_delete=models.CASCADE,
        related_name="repositories",
        db_index=False,
    )
    external_id = models.CharField(max_length=100)
    name = models.CharField(max_length=255)
    project_id = models.CharField(max_length=100)
    project_name = models.CharField(max_length=255)
    search_text = models.CharField(max_length=1024, editable=False)
    default_branch = models.CharField(max_length=500, blank=True)
    is_disabled = models.BooleanField(default=False)
    gone_at = models.DateTimeField(null=True, blank=True)

    # Reconciliation: how far it has read; it is due as soon as a stack needs it
    seen_position = models.BigIntegerField(null=True, blank=True)
    seen_pull_request = models.BigIntegerField(default=0)
    pushed_at = models.DateTimeField(null=True, blank=True, help_text="the newest push read")
    reconciled_at = models.DateTimeField(null=True, blank=True)

    objects = RepositoryQuerySet.as_manager()

    class Meta:
        ordering = ("search_text",)
        verbose_name_plural = "repositories"
        constraints = (
            models.UniqueConstraint(
                fields=["integration", "external_id"], name="one_repository_per_id"
            ),
        )
        indexes = (
            models.Index(fields=["integration", "search_text"], name="repository_list"),
            models.Index(fields=["integration", "project_name"], name="repository_projects"),
            models.Index(
                fields=["due_at"],
                condition=Q(due_at__isnull=False),
                name="repository_due",  # read by the worker's sweep
            ),
        )

    def __str__(self) -> str:
        return f"{self.project_name}/{self.name}"

    @property
    def web_url(self) -> str:
        integration = self.integration
        return integration.provider.repository_url(
            integration.organization_url, self.project_name, self.name
        )

    @property
    def clone_url(self) -> str:
        """Where git fetches it from."""
        integration = self.integration
        return integration.provider.clone_url(
            integration.organization_url, self.project_name, self.name
        )
