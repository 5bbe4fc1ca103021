"""Find the repository and the branch that somebody typed or pasted."""

import re

from django.core.exceptions import ValidationError

from stacks.sources.heads import branches_of
from vcs_integrations.models import Integration, Repository, search_key
from vcs_integrations.organizations.refreshing import refresh
from vcs_integrations.providers.base import INTERACTIVE, ProviderError, RemoteBranch

SUGGESTIONS = 8
MOST_OPTIONS = 50


def without_password(text: str) -> str:
    """Return an address without the password that was pasted with it: no page shows one."""
    return re.sub(r"//[^/@\s]*:[^/@\s]*@", "//", text)


def repositories_matching(integration: Integration, text: str) -> list[Repository]:
    """Return offered repositories that fit what was typed or pasted, one more than are listed."""
    offered = Repository.objects.offered().filter(integration=integration)
    if _is_elsewhere(integration, text):
        return []
    names = _pasted_names(integration, text)
    if names:
        return list(offered.filter(search_text=search_key(names)))
    return list(offered.matching(text)[: MOST_OPTIONS + 1])


def known_repository(integration: Integration, text: str) -> Repository | None:
    """Return the repository that was typed or pasted, if the stored list has it."""
    if _is_elsewhere(integration, text):
        return None
    names = _pasted_names(integration, text) or text.strip()
    repositories = integration.repositories.filter(gone_at=None)
    return repositories.filter(search_text=search_key(names)).first()


def not_known_yet(integration: Integration) -> str:
    """Say why no repository of an organization can be found that was never reached."""
    return (
        f"{integration.organization_name} is not connected yet, so its repositories are not "
        f"known yet."
    )


def find_repository(integration: Integration, text: str) -> Repository:
    """Return the repository that was typed or pasted; raises ValidationError with what is wrong."""
    pasted = integration.provider.parse_repository_url(text)
    if pasted and _is_elsewhere(integration, text):
        raise ValidationError(
            f"This address belongs to the organization {pasted.organization.name}. Choose that one "
            f"as provider, or a repository of {integration.organization_name}."
        )
    names = _pasted_names(integration, text) or text.strip()
    repository = known_repository(integration, text)
    if repository is None:  # perhaps made after the list was read
        failure = refresh(integration, INTERACTIVE)
        if failure and not integration.was_reached:
            raise ValidationError(f"{not_known_yet(integration)} {failure}")
        if failure:
            raise ValidationError(f"“{names}” is not in the last list. {failure}")
        repository = known_repository(integration, text)
    if repository is None:
        raise ValidationError(
            f"{integration.organization_name} has no repository “{names}” that the token may "
            f"read.{_did_you_mean(_alike(integration, names))}"
        )
    if repository.is_disabled:
        raise ValidationError(
            f"{repository} is disabled in {integration.provider.name}. Enable it there, or choose "
            f"another."
        )
    return repository


def find_branch(repository: Repository, text: str) -> str:
    """Return the branch that was typed, or the default branch.

    Raises ValidationError with what is wrong.
    """
    wanted = text.strip().removeprefix("refs/heads/") or repository.default_branch
    try:
        names = [branch.name for branch in branches_of(repository)]
        if wanted not in names:  # perhaps made after they were read
            names = [branch.name for branch in branches_of(repository, fresh=True)]
    except ProviderError as error:
        raise ValidationError(f"The branches could not be read. {error}") from error
    if wanted in names:
        return wanted
    if not names:
        raise ValidationError(f"{repository} is empty. Push a first commit, then try again.")
    if not wanted:
        raise ValidationError(f"{repository} has no default branch. Choose a branch.")
    alike = [name for name in names if search_key(wanted) in search_key(name)]
    raise ValidationError(f"{repository} has no branch “{wanted}”.{_did_you_mean(alike or names)}")


def inner_folder(text: str) -> str:
    """Return the path of a folder that was typed, as it is stored; empty for the top.

    Raises ValidationError.
    """
    parts = [part for part in text.split("/") if part not in {"", "."}]
    if ".." in parts or "\\" in text or not text.isprintable():
        raise ValidationError(
            "Use a folder inside the repository, with / between its parts, like infra/network."
        )
    return "/".join(parts)


def branches_matching(repository: Repository, text: str) -> list[RemoteBranch]:
    """Return branches with every word typed, the default one first. Raises ProviderError."""
    words = search_key(text).split()
    found = [
        branch
        for branch in branches_of(repository)
        if all(word in search_key(branch.name) for word in words)
    ]
    return sorted(found, key=lambda branch: branch.name != repository.default_branch)


def pasted_branch(integration: Integration, text: str) -> str:
    """Return the branch whose page's address was pasted as repository; empty if it is none."""
    pasted = integration.provider.parse_repository_url(text)
    return pasted.branch if pasted else ""


def _is_elsewhere(integration: Integration, text: str) -> bool:
    """Say whether a pasted address is of another organization."""
    pasted = integration.provider.parse_repository_url(text)
    return pasted is not None and pasted.organization.key != integration.organization_key


def _pasted_names(integration: Integration, text: str) -> str:
    """Return project/repository of a pasted address; empty when it is none."""
    pasted = integration.provider.parse_repository_url(text)
    return f"{pasted.project_name}/{pasted.name}" if pasted else ""


def _alike(integration: Integration, names: str) -> list[str]:
    """Return repositories whose names hold the last part of what was typed."""
    offered = Repository.objects.offered().filter(integration=integration)
    last = names.rpartition("/")[2]
    return [str(repository) for repository in offered.matching(last)[:SUGGESTIONS]]


def _did_you_mean(names: list[str]) -> str:
    listed = ", ".join(f"“{name}”" for name in names[:SUGGESTIONS])
    return f" Is it one of {listed}?" if listed else ""
