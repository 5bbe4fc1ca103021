"""What stacks ask of the package above them: what only modules know.

`modules.apps` registers `modules.consumer`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from django.db.models import Exists

from stacks.models import PullRequest, Report, Stack
from vcs_integrations.consumer import Part
from vcs_integrations.models import Delivery, Integration, Repository
from vcs_integrations.providers.base import StatusReport
from vcs_integrations.providers.events import RefChanged, RemoteCommit


@dataclass(frozen=True)
class TagNow:
    """A tag as it was just read: what it names, the commit that this leads to, and its text.

    All is empty where there is no such tag, and the commit where it leads to none.
    """

    sha: str
    commit: RemoteCommit
    text: str


@dataclass(frozen=True)
class CommentReport:
    """A comment as it is posted; `address` is in its first line, and in that of no other one."""

    address: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """What was decided for a module: a sentence, and the version that there is by it, if any."""

    sentence: str
    version: str = ""


class Facts(Protocol):
    """What decisions need from the provider: the methods `read_…` come before the transaction.

    Those raise ProviderError if the same can be read later, the others Outdated if it was not.
    """

    def read_commit(self, repository_id: str, sha: str) -> RemoteCommit:
        """Read a commit, of which only the sha is known where the rest can't be read."""

    def read_tag(self, repository_id: str, name: str) -> TagNow | None:
        """Read a tag as it is now; None if that can't be read."""

    def read_file(self, repository_id: str, sha: str, path: str) -> str | None:
        """Read the text of a file of a commit, empty if there is none; None if unreadable."""

    def read_paths(self, change: RefChanged) -> Collection[str] | None:
        """Read which files a push changed since the old commit; None if that can't be read."""

    def commit(self, repository_id: str, sha: str) -> RemoteCommit:
        """Return a commit that was read."""

    def tag(self, repository_id: str, name: str) -> TagNow | None:
        """Return a tag that was read; None if it could not be read."""

    def file(self, repository_id: str, sha: str, path: str) -> str | None:
        """Return the text of a file that was read."""

    def paths(self, change: RefChanged) -> Collection[str] | None:
        """Return the files that a push changed, as they were read."""


@dataclass(frozen=True)
class PushedRef:
    """A branch or tag that a push changed, and the delivery; None if a reconciliation found it."""

    change: RefChanged
    facts: Facts
    delivery: Delivery | None


class Following(Protocol):
    """The modules of one repository, for which its pushes and pull requests are decided."""

    @property
    def repository(self) -> Repository:
        """The repository of all of them."""

    @property
    def since(self) -> datetime:
        """Since when the first of them follows the repository."""

    @property
    def branches(self) -> Collection[str]:
        """The tracked branches, by their short names."""

    def read_pushes(self, changes: Sequence[RefChanged], facts: Facts) -> None:
        """Read what deciding about pushes needs. Raises ProviderError."""

    def decide_pushes(self, pushed: Sequence[PushedRef]) -> list[list[Verdict]]:
        """Store, within a transaction, what pushes mean for each module.

        Returns that for each push, in their order; nothing for one that a reconciliation found and
        that is decided. Raises Outdated.
        """

    def decide_pull_request(
        self,
        pull_request: PullRequest,
        revision: int,
        sha: str,
        paths: Collection[str] | None,
        delivery: Delivery | None,
    ) -> list[Verdict]:
        """Store, within a transaction, what a revision of a pull request means for each module.

        `paths` are the files that it changes, None if they are unknown.
        """


class ModuleRegistry(Protocol):
    """What knows the modules."""

    def follow(self, integration: Integration, repository_id: str) -> Following | None:
        """Return the modules of a repository; None, by at most one query, where there is none."""

    def decisions_on(self, delivery: Delivery) -> Part | None:
        """Return the decisions about modules that a delivery led to; None where there is none."""

    def dependents_of(self, integration: Integration) -> Part:
        """Return the modules that unlinking an integration would detach."""

    def part_of_stack(self, stack: Stack) -> Part | None:
        """Return of which modules a stack uses an older version; None where that is none."""

    def is_checking(self) -> Exists:
        """Return, for a query, whether a run worker checks a module at present."""

    def status_for(self, report: Report) -> StatusReport | None:
        """Return the status of a report about a module; None if there is nothing to report."""

    def comment_for(self, report: Report) -> CommentReport | None:
        """Return the comment of a report about a module; None if there is nothing to report."""


_registries: list[ModuleRegistry] = []


def register(one: ModuleRegistry) -> None:
    """Have `one` asked from now on."""
    _registries[:] = [one]


def module_registry() -> ModuleRegistry:
    """Return the one that is registered."""
    [one] = _registries
    return one
