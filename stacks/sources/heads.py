"""Read branches and head commits from the provider."""

from dataclasses import dataclass

from django.core.cache import cache

from stacks.models import Stack
from vcs_integrations.models import Repository
from vcs_integrations.providers.base import INTERACTIVE, Client, ProviderError, RemoteBranch
from vcs_integrations.providers.events import BRANCHES, RemoteCommit

# Seconds: a form is typed in for about as long.
KEEP_BRANCHES = KEEP_FILES = 60


@dataclass(frozen=True)
class Head:
    """A branch's newest commit, None if the branch is gone, and the push that brought it."""

    position: int
    commit: RemoteCommit | None


def branches_of(repository: Repository, *, fresh: bool = False) -> list[RemoteBranch]:
    """Return a repository's branches, remembered for a minute. Raises ProviderError.

    With `fresh` they are read whatever is remembered.
    """
    key = f"branches:{repository.pk}"
    branches: list[RemoteBranch] | None = None if fresh else cache.get(key)
    if branches is None:
        branches = repository.integration.client(INTERACTIVE).branches(repository.external_id)
        cache.set(key, branches, KEEP_BRANCHES)
    return branches


def files_of(repository: Repository, branch: str) -> list[str] | None:
    """Return the paths of a branch's files, remembered for a minute; None if it is gone.

    Raises ProviderError.
    """
    sha = next((one.sha for one in branches_of(repository) if one.name == branch), "")
    if not sha:
        return None
    key = f"files:{repository.pk}:{sha}"
    files: list[str] | None = cache.get(key)
    if files is None:
        files = repository.integration.client(INTERACTIVE).files(repository.external_id, sha)
        cache.set(key, files, KEEP_FILES)
    return files


def follow_from_now(stack: Stack) -> ProviderError | None:
    """Store where a stack begins: what was pushed until now starts nothing. Also read its head.

    Returns why that failed, if it did: then the time at which the stack began decides.
    """
    try:
        client = stack.integration.client(INTERACTIVE)
        newest = client.newest_push(stack.repository.external_id)
    except ProviderError as error:
        return error
    stack.followed_position = newest.position if newest else 0
    Stack.objects.filter(pk=stack.pk, followed_at=stack.followed_at).update(
        followed_position=stack.followed_position
    )
    return read_head(stack)


def read_head(stack: Stack) -> ProviderError | None:
    """Read the tracked branch's newest commit and store it; return why that failed, if it did."""
    try:
        client = stack.integration.client(INTERACTIVE)
        note_head(stack, head_of_branch(client, stack.repository.external_id, stack.branch))
    except ProviderError as error:
        return error
    return None


def head_of_branch(client: Client, repository_id: str, name: str) -> Head:
    """Return where a branch is. Raises ProviderError."""
    ref = f"{BRANCHES}{name}"
    newest = client.newest_push(repository_id, ref=ref)
    moves = [change for change in newest.changes if change.ref == ref] if newest else []
    if newest and moves:
        position, sha = newest.position, moves[0].new_sha
    else:  # imported, perhaps: no push brought it
        branch = client.branch(repository_id, name)
        position, sha = 0, branch.sha if branch else ""
    return Head(position, client.commit(repository_id, sha) if sha else None)


def note_head(stack: Stack, head: Head) -> None:
    """Store where the tracked branch of a stack is."""
    if head.commit:
        stack.move_head(head.position, head.commit)
    else:
        stack.lose_head(head.position)
    stack.save_head()
