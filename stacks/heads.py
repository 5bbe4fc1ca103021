"""Reading branches and head commits from the provider."""

from django.core.cache import cache

from stacks.models import Stack
from vcs_integrations.models import Repository
from vcs_integrations.providers.base import INTERACTIVE, ProviderError, RemoteBranch

KEEP_BRANCHES = 60  # seconds: a form is typed in for about as long


def branches_of(repository: Repository, *, anew: bool = False) -> list[RemoteBranch]:
    """Return a repository's branches, remembered for a minute. Raises ProviderError.

    With `anew` they are read whatever is remembered.
    """
    key = f"branches:{repository.pk}"
    branches: list[RemoteBranch] | None = None if anew else cache.get(key)
    if branches is None:
        branches = repository.integration.client(INTERACTIVE).branches(repository.external_id)
        cache.set(key, branches, KEEP_BRANCHES)
    return branches


def read_head(stack: Stack) -> ProviderError | None:
    """Read the tracked branch's newest commit and note it; return why that failed, if it did."""
    try:
        client = stack.integration.client(INTERACTIVE)
        branch = client.branch(stack.repository.external_id, stack.branch)
        if branch is None:
            stack.record_branch_gone()
        else:
            stack.record_head(client.commit(stack.repository.external_id, branch.sha))
    except ProviderError as error:
        return error
    return None
