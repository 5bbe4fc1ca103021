"""What is allowed where a stack is created or changed, but hardly meant."""

from stacks.models import Stack
from stacks.sources.heads import files_of
from vcs_integrations.models import Repository
from vcs_integrations.providers.base import ProviderError


def doubts_about(
    repository: Repository, branch: str, project_root: str, stack: Stack | None = None
) -> list[str]:
    """Return sentences about what a stack is to follow; `stack` is the one that is changed.

    They warn of a project root that the branch does not have, and of other stacks with the same
    one. What the provider does not answer warns of nothing.
    """
    found = []
    if project_root and _is_missing(repository, branch, project_root):
        found.append(
            f"The branch “{branch}” has no folder {project_root}: runs fail until it has one."
        )
    same = Stack.objects.filter(repository=repository, branch=branch, project_root=project_root)
    others = same.exclude(pk=stack.pk if stack else 0)
    if other := others.order_by("pk").first():
        found.append(
            f"The stack “{other.name}” follows the same repository, branch and project root: "
            f"each push starts a run of both."
        )
    return found


def _is_missing(repository: Repository, branch: str, folder: str) -> bool:
    try:
        files = files_of(repository, branch)
    except ProviderError:
        return False
    return files is not None and not any(file.startswith(f"{folder}/") for file in files)
