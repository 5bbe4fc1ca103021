"""The tags of a repository: reading them for pushes, and keeping what is known of them.

A push says that a tag was moved; where it is now is read. Pushes may be read in any order: the one
with the greatest position counts.
"""

from collections.abc import Collection, Sequence
from enum import Enum, auto

from modules.models import Module, Tag, VersionsFrom
from modules.rules.semver import InvalidVersion
from modules.rules.tags import LONGEST_NAME, LONGEST_TEXT, read_tag_name
from stacks.deciding.facts import NO_COMMIT
from stacks.module_registry import Facts, TagNow
from vcs_integrations.models import Repository
from vcs_integrations.providers.events import TAGS, RefChanged


class Seen(Enum):
    """What a push of a tag is to what is known of the tag."""

    KNOWN = auto()  # by now, whether by this push or before
    PASSED_BY = auto()  # the tag was moved again since
    UNREADABLE = auto()


def tag_name(change: RefChanged) -> str:
    """Return the name of the tag that a push changed; empty if it was no tag."""
    return change.ref.removeprefix(TAGS) if change.ref.startswith(TAGS) else ""


def prefixes(modules: Collection[Module]) -> set[str]:
    """Return the prefixes of tags that are versions of some modules."""
    return {one.tag_prefix for one in modules if one.versions_from == VersionsFrom.TAGS}


def is_version_of(wanted: Collection[str], name: str) -> bool:
    """Say whether a tag names a version with one of some prefixes."""
    if not name or len(name) > LONGEST_NAME:
        return False
    try:
        return read_tag_name(name)[0] in wanted
    except InvalidVersion:
        return False


def read(
    repository: Repository, wanted: Collection[str], changes: Sequence[RefChanged], facts: Facts
) -> None:
    """Read the tags that pushes changed, as far as they are news. Raises ProviderError."""
    moved = {tag_name(one): one for one in changes if is_version_of(wanted, tag_name(one))}
    known = Tag.objects.filter(repository=repository, name__in=[*moved])
    positions = dict(known.values_list("name", "position")) if moved else {}
    for name, change in moved.items():
        if not change.is_deletion and positions.get(name, -1) < change.position:
            facts.read_tag(repository.external_id, name)


def note(repository: Repository, change: RefChanged, facts: Facts) -> Seen:
    """Store what a push of a tag says, unless more is known. Raises Outdated.

    The repository has to be locked.
    """
    name = tag_name(change)
    row = Tag.objects.filter(repository=repository, name=name).first()
    if row and row.position >= change.position:
        return Seen.KNOWN if row.position == change.position else Seen.PASSED_BY
    now = NOTHING if change.is_deletion else facts.tag(repository.external_id, name)
    if now is None:
        return Seen.UNREADABLE
    if now.sha != change.new_sha:
        return Seen.PASSED_BY
    store(row or Tag(repository=repository, name=name), now, change.position)
    return Seen.KNOWN


def store(row: Tag, now: TagNow, position: int) -> None:
    """Store where a tag is."""
    row.position, row.sha, row.commit_sha = position, now.sha, now.commit.sha
    row.title, row.author = now.commit.title, now.commit.author[:255]
    row.committed_at, row.text = now.commit.authored_at, now.text[:LONGEST_TEXT]
    row.save()


NOTHING = TagNow("", NO_COMMIT, "")
