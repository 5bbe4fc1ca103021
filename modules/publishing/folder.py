"""Reading a module's folder at one commit: from git's objects, before any code of it has run.

Not from a checkout, which may depend on attributes of the code. git runs in the sandbox: what a
repository holds is anybody's.
"""

from modules.models import Check
from modules.publishing.contents import (
    LARGEST,
    MEGABYTE,
    MOST_FILES,
    Entry,
    File,
    NotArchivable,
    files_of,
    read_listing,
)
from stacks.execution.checkout.workspace import REPOSITORY, NotFetched, SandboxedGit
from stacks.execution.isolation.sandbox import LimitReached
from stacks.models import Report
from vcs_integrations.models import Repository
from vcs_integrations.organizations.refreshing import refresh_repository

LONGEST_LISTING = 8 * MEGABYTE
LONGEST_HEADER = 100  # bytes, of an object that is printed
# $1 lists objects.
PRINT = f'git --git-dir={REPOSITORY} cat-file --batch < "$1"'


def fetch(git: SandboxedGit, check: Check) -> None:
    """Fetch the commit of a check into the sandbox, without checking it out.

    Raises NotFetched, ProviderError, LimitReached and Stopped.
    """
    repository = check.module.repository
    git.log.say(f"Fetching commit {check.sha[:8]} of {repository}")
    if _is_fetched(git, check, repository):
        return
    # The old name may be another repository's by now.
    current = refresh_repository(repository)
    is_renamed = current.clone_url != repository.clone_url
    if not (is_renamed and _is_fetched(git, check, current)):
        raise git.failed("The commit could not be fetched.")


def read_folder(git: SandboxedGit, check: Check) -> dict[str, File]:
    """Return the files of a check's module, by their paths from its folder, and forget git.

    Raises NotArchivable, NotFetched, LimitReached and Stopped.
    """
    entries = _listed(git, check)
    contents = _contents(git, sorted({one.object for one in entries.values()}))
    git.sandbox.collect(["rm", "-rf", REPOSITORY], {}, git.is_unwanted, MEGABYTE)
    return files_of(entries, contents)


def _is_fetched(git: SandboxedGit, check: Check, repository: Repository) -> bool:
    return git.fetch(repository.clone_url, check.sha, _refs(check), target="")


def _refs(check: Check) -> list[str]:
    """Return what leads to a commit where a server gives out no single one."""
    tags = check.versions.exclude(tag="").values_list("tag", flat=True)
    refs = [f"refs/tags/{tag}" for tag in tags]
    about = Report.objects.of_module(check.module.address).filter(sha=check.sha)
    for report in about.exclude(pull_request=None).select_related("pull_request"):
        if one := report.pull_request:
            refs.append(f"refs/heads/{one.source_branch}")
            refs += check.module.integration.provider.refs_of(one.number)
    return [*refs, f"refs/heads/{check.module.branch}"]


def _listed(git: SandboxedGit, check: Check) -> dict[str, Entry]:
    folder = check.module.folder
    tree = f"{check.sha}:{folder}"
    command = ["git", f"--git-dir={REPOSITORY}", "ls-tree", "-r", "-z", "-l", "--full-tree", tree]
    try:
        listed, code = git.sandbox.collect(command, {}, git.is_unwanted, LONGEST_LISTING)
    except LimitReached:
        raise NotArchivable(
            f"The folder has more than {MOST_FILES:,} files, or very long paths. Move what the "
            f"module doesn't need out of it."
        ) from None
    if code:
        raise NotArchivable(
            f"The commit has no folder “{folder}”. Add it, or change the folder of the module."
        )
    entries = read_listing(listed)
    if not entries:
        raise NotArchivable("The commit has no files. Push the module's code.")
    return entries


def _contents(git: SandboxedGit, objects: list[str]) -> dict[str, bytes]:
    """Return the content of objects, each once. They are not larger than what was listed."""
    given = git.sandbox.provide("objects", "".join(f"{one}\n" for one in objects).encode())
    most = LARGEST + LONGEST_HEADER * len(objects)
    command = ["sh", "-c", PRINT, "print", given]
    printed, code = git.sandbox.collect(command, {}, git.is_unwanted, most)
    found: dict[str, bytes] = {}
    place = 0
    while (end := printed.find(b"\n", place)) >= 0:
        name, _, size = printed[place:end].decode().partition(" blob ")
        if not size.isdecimal():
            break
        begin, place = end + 1, end + 2 + int(size)
        found[name] = printed[begin : place - 1]
    if code or [*found] != objects:
        raise NotFetched("The commit is not complete: git lacks some of its objects.")
    return found
