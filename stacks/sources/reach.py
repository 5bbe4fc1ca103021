"""Which repositories the code of a stack may have fetched, and which one an address names."""

from urllib.parse import unquote

from django.db.models import Q

from stacks.models import Reach, Stack
from vcs_integrations.models import Repository
from vcs_integrations.models.repository import RepositoryQuerySet
from vcs_integrations.providers.base import RepositoryPath


class NotReadable(Exception):
    """An address names no repository that the code may read; the text says why and what to do."""


class Readable:
    """The repositories that a stack's code may read, as they are known now.

    They are read from the database once; looking one up afterwards needs none.
    """

    def __init__(self, stack: Stack) -> None:
        self._integration = stack.integration
        self._by_name: dict[tuple[str, str], Repository] = {}
        for one in readable_by(stack):
            one.integration = self._integration
            self._by_name[one.project_name.casefold(), one.name.casefold()] = one

    def find(self, url: str) -> Repository:
        """Return the repository that an address for git names.

        Raises NotReadable, with the same text whether there is no such repository or it may not
        be read.
        """
        found = self._integration.provider.parse_repository_url(url)
        is_whole = found and unquote(url).rstrip("/").endswith(f"/{found.name}")
        ours = self._integration.organization_key
        if not found or not is_whole or found.organization.key != ours:
            raise NotReadable(
                f"This is no repository of {self._integration.organization_name}, and Stackhook "
                f"fetches no others with its token."
            )
        names = found.project_name.casefold(), found.name.casefold()
        if names not in self._by_name:
            raise NotReadable(
                f"The code of this stack may not read {found.project_name}/{found.name}, or there "
                f"is no such repository. An admin can allow it on the stack's page, under Module "
                f"access."
            )
        return self._by_name[names]


def may_read(stack: Stack, path: RepositoryPath) -> bool:
    """Say whether a stack's code may read a repository of its organization, known yet or not."""
    project = stack.repository.project_name
    if stack.reach == Reach.ORGANIZATION or path.project_name.casefold() == project.casefold():
        return True
    listed = stack.readable.all() if stack.reach == Reach.LISTED else ()
    names = path.project_name.casefold(), path.name.casefold()
    return names in {(one.project_name.casefold(), one.name.casefold()) for one in listed}


def readable_by(stack: Stack) -> RepositoryQuerySet:
    """Return the repositories that the code of a stack may read."""
    return allowed_to(stack).filter(gone_at=None, is_disabled=False)


def allowed_to(stack: Stack) -> RepositoryQuerySet:
    """Return the repositories that the code of a stack is allowed, there or not any more.

    What was published from them stays theirs to use.
    """
    there = Repository.objects.filter(integration=stack.repository.integration_id)
    if stack.reach == Reach.ORGANIZATION:
        return there
    allowed = Q(project_id=stack.repository.project_id)
    if stack.reach == Reach.LISTED:
        allowed |= Q(pk__in=stack.readable.values("pk"))
    return there.filter(allowed)
