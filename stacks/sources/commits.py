"""Find the commit that somebody named, on a branch of a repository."""

import re

from django.core.exceptions import ValidationError

from stacks.models import Stack
from stacks.sources.finding import find_branch
from vcs_integrations.providers.base import INTERACTIVE, Problem, ProviderError
from vcs_integrations.providers.events import RemoteCommit

FULL_ID = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


def full_id(text: str) -> str:
    """Return a commit id as git writes it. Raises ValidationError if it is none, or abbreviated."""
    sha = text.strip().lower()
    if not FULL_ID.fullmatch(sha):
        raise ValidationError("Enter the full commit id: 40 characters, 0 to 9 and a to f.")
    return sha


def find_commit(stack: Stack, branch: str, sha: str = "") -> tuple[str, RemoteCommit]:
    """Return a branch of a stack's repository, and its newest commit or an older one of it.

    Nothing else is found: a host may also hold commits of forks under the ids that they have there.
    Raises ValidationError with what is wrong.
    """
    repository = stack.repository
    name = find_branch(repository, branch)
    client = stack.integration.client(INTERACTIVE)
    try:
        tip = client.branch(repository.external_id, name)
        if tip is None:
            raise ValidationError(f"{repository} has no branch “{name}” any more.")
        found = client.commit(repository.external_id, sha or tip.sha)
        if sha and client.commits_behind(repository.external_id, found.sha, tip.sha):
            raise ValidationError(
                f"Commit {sha[:8]} is not on {name}. Enter the branch that has it."
            )
    except ProviderError as error:
        if sha and error.problem == Problem.NOT_FOUND:
            raise ValidationError(f"{repository} has no commit {sha[:8]}.") from error
        raise ValidationError(f"The commit could not be read. {error}") from error
    return name, found
