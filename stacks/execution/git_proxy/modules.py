"""Which commits of other repositories a run's code fetched, for its page.

Repositories count only as far as the git proxy answered for them. Refs and commits are read from
what Terraform and git left inside the sandbox, where the code could write anything: they are shown,
and open nothing.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.db import transaction
from django.db.models import F, Q

from core import bounded_json
from stacks.execution.git_proxy.proxy import Served
from stacks.execution.isolation.sandbox import LimitReached, Sandbox
from stacks.execution.isolation.system import MEGABYTE
from stacks.models import ModuleSource, Run
from stacks.sources.reach import NotReadable

MODULES = "data/modules"
MOST = 1000
MOST_PARTS = 100_000
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
    """A repository that git left in a folder below MODULES, and its commit there."""

    folder: str
    url: str
    sha: str


def record(run: Run, served: Served, sandbox: Sandbox, is_unwanted: Callable[[], bool]) -> None:
    """Store what a run fetched, in place of what an earlier attempt did. Raises Stopped."""
    fetched = set(served.fetched)  # a last answer may just be ending
    if not fetched and run.attempts == 1:  # mostly
        return
    found = _found(served, fetched, sandbox, is_unwanted) if fetched else set()
    known = {key for key, _, _ in found}
    found |= {(key, "", "") for key in fetched - known}
    with transaction.atomic():
        # What is at one commit stays: submodules were fetched with the code.
        is_fixed = ~Q(sha="") & Q(ref=F("sha"))
        ModuleSource.objects.filter(run=run).exclude(is_fixed).delete()
        ModuleSource.objects.bulk_create(
            [
                ModuleSource(run=run, repository_id=key, ref=ref, sha=sha)
                for key, ref, sha in sorted(found)
            ],
            ignore_conflicts=True,
        )
    if found:
        ModuleSource.objects.filter(run=run).have_read()


def _found(
    served: Served, fetched: Set[int], sandbox: Sandbox, is_unwanted: Callable[[], bool]
) -> set[tuple[int, str, str]]:
    """Return the key of a repository, the ref and the commit of all that was fetched.

    `fetched` are the keys of the repositories that the proxy answered for.
    """
    folder = sandbox.path("workspace", MODULES)
    try:
        listed, _ = sandbox.collect(["sh", "-c", LIST, "list", folder], {}, is_unwanted, MEGABYTE)
        manifest = sandbox.read_file(f"{MODULES}/modules.json", MEGABYTE, is_unwanted)
    except LimitReached:
        return set()
    refs = dict(refs_of(manifest))
    found = set()
    for one in _cloned(listed):
        try:
            repository = served.readable.find(one.url)
        except NotReadable:  # fetched from elsewhere, without the token
            continue
        if repository.pk in fetched:
            # A submodule is at exactly one commit, and follows nothing.
            found.add((repository.pk, refs.get(one.folder, one.sha), one.sha))
        if len(found) == MOST:
            break
    return found


def _cloned(listed: bytes) -> Iterator[Cloned]:
    words = listed.decode(errors="replace").split("\0")
    for folder, url, sha in zip(words[::3], words[1::3], words[2::3], strict=False):
        if SHA.fullmatch(sha):
            yield Cloned(folder, url, sha)


def refs_of(manifest: bytes) -> Iterator[tuple[str, str]]:
    """Yield the folder of each module that git fetched, and the ref that its source names.

    The ref is empty where it names none ("Module Sources", Selecting a Revision).
    """
    try:
        listed = bounded_json.loads(manifest, MOST_PARTS)
    except ValueError:
        return
    modules = listed.get("Modules") if isinstance(listed, Mapping) else None
    for one in modules if isinstance(modules, list) else ():
        source = _text(one, "Source")
        if not source.startswith("git::"):
            continue
        try:
            ref = parse_qs(urlsplit(source.removeprefix("git::")).query).get("ref", [""])[0]
        except ValueError:
            continue
        yield _text(one, "Key"), "".join(filter(str.isprintable, ref))[:500]


def _text(item: Any, key: str) -> str:
    value = item.get(key) if isinstance(item, Mapping) else None
    return value if isinstance(value, str) else ""
