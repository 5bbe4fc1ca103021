"""Find the folder of a repository that somebody typed."""

from django.core.exceptions import ValidationError

from stacks.sources.finding import inner_folder
from stacks.sources.heads import files_of
from vcs_integrations.models import Repository
from vcs_integrations.providers.base import ProviderError

MOST_NAMED = 8


def find_folder(repository: Repository, branch: str, text: str) -> str:
    """Return the path of a folder that was typed; empty for the top.

    Raises ValidationError where a branch has no such folder. If its files can't be read now, the
    path is taken as it was typed.
    """
    folder = inner_folder(text)
    try:
        files = files_of(repository, branch) if folder else None
    except ProviderError:
        return folder
    if files is None or any(path.startswith(f"{folder}/") for path in files):
        return folder
    found = sorted({path.rpartition("/")[0] for path in files if path.endswith(".tf")} - {""})
    listed = ", ".join(f"“{one}”" for one in found[:MOST_NAMED])
    hint = f" Is it one of {listed}?" if found else " Its Terraform files are at the top."
    raise ValidationError(f"{branch} has no folder “{folder}”.{hint}")
