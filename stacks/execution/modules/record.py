"""Which modules a run's code got: commits of other repositories, and versions from registries.

Repositories count only as far as the git proxy answered for them. Everything else is read from what
Terraform and git left inside the sandbox, where the code could write anything: it is shown, and
opens nothing.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from django.db import transaction
from django.db.models import F, Q

from stacks.execution.git_proxy.proxy import Served
from stacks.execution.isolation.sandbox import LimitReached, Sandbox
from stacks.execution.isolation.system import MEGABYTE
from stacks.execution.modules.manifest import (
    FILE,
    FOLDER,
    LARGEST,
    MOST,
    Installed,
    folders_of,
    read_manifest,
)
from stacks.models import ModuleSource, RegistrySource, Run
from stacks.sources.reach import NotReadable

MOST_FOLDERS = 100
SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
# Prints, of each repository below $1: folder, address and commit.
LIST = """
cd "$1" && find . -name .git -prune -exec sh -c '
  for one; do
    folder=${one%/.git}
    url=$(git -C "$folder" config --get remote.origin.url) || continue
    sha=$(git -C "$folder" rev-parse --verify --quiet HEAD) || continue
    printf "%s\\\\0%s\\\\0%s\\\\0" "${folder#./}" "$url" "$sha"
  done
' list {} +
"""


@dataclass(frozen=True)
class Cloned:
    """A repository that git left in a folder below FOLDER, and its commit there."""

    folder: str
    url: str
    sha: str


@dataclass(frozen=True)
class Fetched:
    """A repository by its key, the ref and the commit of what was fetched of it."""

    repository: int
    ref: str = ""
    sha: str = ""


def record(
    run: Run,
    served: Served,
    sandbox: Sandbox,
    is_unwanted: Callable[[], bool],
    mask: Callable[[str], str],
) -> list[Installed]:
    """Store what a run got, in place of what an earlier attempt did; return what was installed.

    Raises Stopped.
    """
    installed = installed_modules(sandbox)
    _record_sources(run, served, installed, sandbox, is_unwanted)
    record_registry(run, installed, {}, mask)
    return installed


def installed_modules(sandbox: Sandbox) -> list[Installed]:
    """Return what the tool says that it installed."""
    try:
        return read_manifest(sandbox.read_at_once(FILE, LARGEST))
    except LimitReached:
        return []


def record_registry(
    run: Run,
    installed: Sequence[Installed],
    constraints: Mapping[str, str],
    mask: Callable[[str], str],
) -> None:
    """Store what a run got from registries, with the constraints on the versions of calls."""
    of_registries = [one for one in installed if one.registry_address]
    if not of_registries and run.attempts == 1:  # mostly
        return
    rows = {
        (one.registry_address, mask(one.version)[:100], mask(constraints.get(one.key, ""))[:200])
        for one in of_registries
    }
    with transaction.atomic():
        RegistrySource.objects.filter(run=run).delete()
        RegistrySource.objects.bulk_create(
            RegistrySource(run=run, address=address, version=version, constraint=constraint)
            for address, version, constraint in sorted(rows)
        )


def _record_sources(
    run: Run,
    served: Served,
    installed: Sequence[Installed],
    sandbox: Sandbox,
    is_unwanted: Callable[[], bool],
) -> None:
    fetched = set(served.fetched)  # a last answer may just be ending
    if not fetched and run.attempts == 1:  # mostly
        return
    found = _found(served, fetched, installed, sandbox, is_unwanted) if fetched else {}
    known = {one.repository for one in found}
    found |= {Fetched(key): set() for key in fetched - known}
    with transaction.atomic():
        # What is at one commit stays: submodules were fetched with the code.
        is_fixed = ~Q(sha="") & Q(ref=F("sha"))
        ModuleSource.objects.filter(run=run).exclude(is_fixed).delete()
        ModuleSource.objects.bulk_create(
            [
                ModuleSource(
                    run=run,
                    repository_id=one.repository,
                    ref=one.ref,
                    sha=one.sha,
                    folders=sorted(folders)[:MOST_FOLDERS],
                )
                for one, folders in found.items()
            ],
            ignore_conflicts=True,
        )
    if found:
        ModuleSource.objects.filter(run=run).have_read()


def _found(
    served: Served,
    fetched: Set[int],
    installed: Sequence[Installed],
    sandbox: Sandbox,
    is_unwanted: Callable[[], bool],
) -> dict[Fetched, set[str]]:
    """Return all that was fetched, and which folders of it the code uses, where that is known.

    `fetched` are the keys of the repositories that the proxy answered for.
    """
    folder = sandbox.path("workspace", FOLDER)
    try:
        listed, _ = sandbox.collect(["sh", "-c", LIST, "list", folder], {}, is_unwanted, MEGABYTE)
    except LimitReached:
        return {}
    of_git = {one.key: one for one in installed if one.is_from_git}
    found: dict[Fetched, set[str]] = {}
    for one in _cloned(listed):
        try:
            repository = served.readable.find(one.url)
        except NotReadable:  # fetched from elsewhere, without the token
            continue
        if repository.pk in fetched:
            module = of_git.get(one.folder)
            # A submodule is at exactly one commit, and follows nothing.
            row = Fetched(repository.pk, module.ref if module else one.sha, one.sha)
            used: Collection[str] = folders_of(module, installed) if module else ()
            found.setdefault(row, set()).update(used)
        if len(found) == MOST:
            break
    return found


def _cloned(listed: bytes) -> Iterator[Cloned]:
    words = listed.decode(errors="replace").split("\0")
    for folder, url, sha in zip(words[::3], words[1::3], words[2::3], strict=False):
        if SHA.fullmatch(sha):
            yield Cloned(folder, url, sha)
