"""What stacks ask of the package above them: what only modules know.

`modules.apps` registers `modules.consumer`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from stacks.models import PullRequest, Report, Stack
from vcs_integrations.consumer import Part
from vcs_integrations.models import Delivery, Integration, Repository
from vcs_integrations.providers.base import StatusReport
from vcs_integrations.providers.events import RefChanged


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


class Following(Protocol):
    """The modules of one repository, for which its pushes and pull requests are decided."""

    @property
    def repository(self) -> Repository: ...

    @property
    def since(self) -> datetime:
        """Since when the first of them follows the repository."""
        ...

    @property
    def branches(self) -> Collection[str]:
        """The tracked branches, by their short names."""
        ...

    def decide_push(self, change: RefChanged, delivery: Delivery | None) -> list[Verdict]:
        """Store, within a transaction, what a moved branch or tag means for each module."""
        ...

    def decide_pull_request(
        self, pull_request: PullRequest, revision: int, sha: str, delivery: Delivery | None
    ) -> list[Verdict]:
        """Store, within a transaction, what a revision of a pull request means for each module."""
        ...


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
