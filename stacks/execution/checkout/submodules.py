"""Submodules of a commit: fetched from repositories of its own organization, and no others.

.gitmodules is only read, never obeyed: its address names a project and a repository, from which
the address that is fetched is made, and the folder and the commit are those of git's own tree.
"""

import os
import re
import time
from collections import deque
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from stacks.execution.checkout.workspace import CODE, LINKS, SECONDS, Git, NotFetched
from stacks.execution.isolation.sandbox import LimitReached
from stacks.execution.isolation.system import MEGABYTE
from stacks.models import ModuleSource, Run, Stack
from stacks.sources.finding import without_password
from stacks.sources.reach import may_read
from vcs_integrations.models import Integration, search_key
from vcs_integrations.providers.base import RepositoryPath

MOST = 100
DEEPEST = 5
SHOWN = 20
LONGEST_LIST = MEGABYTE
SWITCH_OFF = "If the stack doesn't need it, switch off “Fetch submodules” in the stack's behavior."


@dataclass(frozen=True)
class Submodule:
    """A submodule: its folder in the workspace, its commit, and the URL that .gitmodules gives.

    The URL is empty where .gitmodules has none. `parent` is the address of the repository that
    it is a submodule of; one of the run's own repository has depth 1.
    """

    folder: str
    sha: str
    url: str
    parent: str
    depth: int

    @property
    def path(self) -> str:
        """Where it is in the code."""
        return self.folder.removeprefix(f"{CODE}/")

    def __str__(self) -> str:
        return f"“{shown(self.path)}”"


def read_links(listed: bytes, folder: str, parent: str, depth: int) -> list[Submodule]:
    """Return the submodules in the list that fetching a commit into a folder left."""
    commits: dict[str, str] = {}
    settings: dict[str, dict[str, str]] = {}
    for entry in os.fsdecode(listed).split("\0"):
        if entry.startswith("160000 "):
            about, _, path = entry.partition("\t")
            commits[path] = about.split(" ")[1]
        elif entry.startswith("submodule."):
            name, _, value = entry.partition("\n")
            section, _, setting = name.rpartition(".")
            settings.setdefault(section, {})[setting] = value
    urls = {one.get("path", "").rstrip("/"): one.get("url", "") for one in settings.values()}
    return [
        Submodule(f"{folder}/{path}", sha, _readable(urls.get(path, "")), parent, depth)
        for path, sha in commits.items()
    ]


def complete(git: Git) -> dict[str, str]:
    """Fetch the submodules of a run's commit, which was fetched just now, as its stack says.

    Returns the address of each that was fetched, by its folder in the workspace. Raises
    NotFetched, LimitReached and Stopped.
    """
    run = git.run
    found = _listed(git, CODE, run.repository.clone_url, 1)
    if not found:
        return {}
    if not run.stack.fetches_submodules:
        _check_root_is_outside(run.stack.project_root, found)
        named = ", ".join(shown(one.path) for one in found[:SHOWN])
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        git.log.say(f"Submodules are left out, as the stack's behavior says: {named}{more}")
        return {}
    if run.is_of_fork:
        raise NotFetched(
            f"The code has the submodule {found[0]}, and a fork's submodules are not fetched: its "
            f"author could name any repository of the organization. Push the branch to "
            f"{run.repository} itself. {SWITCH_OFF}"
        )
    return fetch(git, found)


def fetch(git: Git, found: list[Submodule]) -> dict[str, str]:
    """Fetch submodules, and theirs; return the address of each by its folder in the workspace.

    Raises NotFetched, LimitReached and Stopped.
    """
    until = time.monotonic() + SECONDS
    integration = git.run.repository.integration
    fetched: dict[str, str] = {}
    waiting = deque((one, readable_source_of(one, git.run.stack)) for one in found)
    while waiting:
        one, source = waiting.popleft()
        if len(fetched) == MOST or one.depth > DEEPEST:
            raise NotFetched(
                f"The code has more than {MOST} submodules, or they are nested deeper than "
                f"{DEEPEST}. {SWITCH_OFF}"
            )
        if (seconds := until - time.monotonic()) <= 0:
            raise LimitReached(f"Its submodules took more than {SECONDS // 60} minutes.")
        name = shown(f"{source.project_name}/{source.name}")
        git.log.say(f"Fetching submodule {shown(one.path)}: commit {one.sha[:8]} of {name}")
        address = integration.provider.clone_url(
            integration.organization_url, source.project_name, source.name
        )
        if not git.fetch(address, one.sha, ["+refs/heads/*:refs/heads/*"], one.folder, seconds):
            raise git.failed(
                f"The submodule {one} could not be fetched: commit {one.sha[:8]} of {name}. The "
                f"repository may be gone or renamed, the token's owner may lack Read on it, or the "
                f"commit was never pushed.",
                SWITCH_OFF,
            )
        fetched[one.folder] = address
        _record(git.run, source, one.sha)
        below = _listed(git, one.folder, address, one.depth + 1)
        waiting += [(each, readable_source_of(each, git.run.stack)) for each in below]
    return fetched


def readable_source_of(submodule: Submodule, stack: Stack) -> RepositoryPath:
    """Return the repository of a submodule. Raises NotFetched if the code may not read it."""
    source = source_of(submodule, stack.integration)
    if not may_read(stack, source):
        raise NotFetched(
            f"The submodule {submodule} is {shown(f'{source.project_name}/{source.name}')}, which "
            f"the code of this stack may not read. An admin can allow it on the stack's page, "
            f"under Module access. {SWITCH_OFF}"
        )
    return source


def source_of(submodule: Submodule, integration: Integration) -> RepositoryPath:
    """Return the repository of an organization that a submodule's URL names.

    Raises NotFetched if it names none.
    """
    if not submodule.url:
        raise NotFetched(
            f"The submodule {submodule} has no URL in .gitmodules. Add it there or remove the "
            f"submodule. {SWITCH_OFF}"
        )
    url = without_password(_absolute(submodule.url, submodule.parent))
    found = integration.provider.parse_repository_url(url)
    is_whole = found and unquote(url).rstrip("/").endswith(f"/{found.name}")
    if not found or not is_whole or found.organization.key != integration.organization_key:
        host = _host(url)
        where = f"is on {host}" if host else "has a URL without a host"
        raise NotFetched(
            f"The submodule {submodule} {where}, and is not a repository of "
            f"{integration.organization_name}: Stackhook fetches no other submodules. {SWITCH_OFF}"
        )
    return found


def shown(path: str) -> str:
    """Return a path of the code as people may read it."""
    return "".join(one if one.isprintable() else "�" for one in _readable(path))[:200]


def _record(run: Run, source: RepositoryPath, sha: str) -> None:
    """Store a submodule with what a run's code fetched; at one commit, it follows nothing."""
    integration = run.repository.integration
    search = search_key(f"{source.project_name}/{source.name}")
    repository = integration.repositories.filter(gone_at=None, search_text=search).first()
    if repository:
        ModuleSource.objects.get_or_create(run=run, repository=repository, ref=sha, sha=sha)


def _readable(path: str) -> str:
    """Return bytes as text, without those that are no UTF-8."""
    return os.fsencode(path).decode(errors="replace")


def _check_root_is_outside(project_root: str, found: list[Submodule]) -> None:
    """Raise NotFetched where the project root is in a submodule that is not fetched."""
    for one in found:
        if f"{project_root}/".startswith(f"{one.path}/"):
            raise NotFetched(
                f"The project root “{project_root}” is in the submodule {one}, and the stack "
                f"fetches none. Switch on “Fetch submodules” in the stack's behavior, or change "
                f"the project root."
            )


def _listed(git: Git, folder: str, address: str, depth: int) -> list[Submodule]:
    listed = git.sandbox.read_at_once(LINKS, LONGEST_LIST)
    return read_links(listed, folder, address, depth)


def _absolute(url: str, parent: str) -> str:
    """Return a URL, a relative one as git reads it: `..` drops the last part of the parent's."""
    if not url.startswith(("./", "../")):
        return url
    parts = parent.split("/")
    while url.startswith(("./", "../")):
        step, _, url = url.partition("/")
        if step == ".." and len(parts) > 3:  # never the host
            parts.pop()
    return "/".join([*parts, url])


def _host(url: str) -> str:
    """Return the host that a URL names, "" where it names none that can be shown."""
    scp = re.match(r"(?:[^@/:]+@)?([A-Za-z0-9.-]+):(?!:)", url)
    try:
        host = urlsplit(url).hostname if "//" in url else scp and scp[1]
    except ValueError:
        host = ""
    return host if host and re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", host) else ""
