"""What the tags of a repository, as they are known, make of a module's versions.

It depends on nothing else, so whatever order pushes are read in, the same comes of it. A published
version never changes; until then it is of the tag that counts for its number.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import reduce
from operator import or_

from django.db.models import Q
from django.utils import timezone

from modules.deciding.checking import check_for_versions, lock_checks
from modules.deciding.moved_tags import notify_of_move, withdraw_notice_of_move
from modules.models import Module, ModuleVersion, Tag, VersionState
from modules.rules.semver import SemVer
from modules.rules.tags import LONGEST_TEXT, rank, read_tag_name

# Conditions of one query, which databases limit
AT_ONCE = 500


def settle(module: Module, wanted: Collection[SemVer] | None = None) -> None:
    """Make the versions of a module what its tags say: those that are wanted, or all.

    The repository has to be locked.
    """
    tags = _tags_by_number(module, wanted)
    numbers = {one.precedence for one in wanted or ()} | tags.keys()
    lock_checks(module, {tag.commit_sha for some in tags.values() for tag in some})
    versions = _versions(module, numbers)
    new: list[ModuleVersion] = []
    to_check: list[str] = []
    for number in sorted(numbers, reverse=True):
        version, candidates = versions.get(number), tags.get(number, [])
        counting = next((tag for tag in candidates if tag.commit_sha), None)
        if version is None:
            if counting:
                new.append(_filled(ModuleVersion(module=module), counting))
                to_check.append(counting.commit_sha)
        elif version.is_published:
            _follow(version, candidates)
        elif counting is None:
            if version.tag:
                version.delete()
        else:
            if version.sha != counting.commit_sha:
                version.state = VersionState.WAITING
                to_check.append(counting.commit_sha)
            _filled(version, counting).save()
    ModuleVersion.objects.bulk_create(new)
    check_for_versions(module, to_check)


def _tags_by_number(module: Module, wanted: Collection[SemVer] | None) -> Mapping[bytes, list[Tag]]:
    """Return a module's tags by the precedence of their versions, the one that counts first."""
    start = f"{module.tag_prefix}/" if module.tag_prefix else ""
    rows = Tag.objects.filter(repository=module.repository_id, name__startswith=start)
    if wanted is not None:
        rows = rows.filter(_named(start, wanted))
    found: defaultdict[bytes, list[Tag]] = defaultdict(list)
    for tag in sorted(rows, key=lambda tag: rank(tag.name)):
        prefix, version = read_tag_name(tag.name)
        if prefix == module.tag_prefix:
            found[version.precedence].append(tag)
    return found


def _named(start: str, wanted: Collection[SemVer]) -> Q:
    """Return the condition on names of tags that may name some versions, with any metadata."""
    names = [f"{start}{v}{replace(one, build='')}" for one in wanted for v in ("", "v")]
    return reduce(or_, (Q(name__startswith=f"{name}+") for name in names), Q(name__in=names))


def _versions(module: Module, numbers: Iterable[bytes]) -> dict[bytes, ModuleVersion]:
    """Return the versions of some numbers, held so that no worker publishes one meanwhile."""
    wanted = sorted(numbers)
    found: dict[bytes, ModuleVersion] = {}
    for start in range(0, len(wanted), AT_ONCE):
        some = module.versions.filter(precedence__in=wanted[start : start + AT_ONCE])
        for version in some.defer("readme", "documentation").select_for_update():
            version.module = module
            found[bytes(version.precedence)] = version
    return found


def _filled(version: ModuleVersion, tag: Tag) -> ModuleVersion:
    """Return a version with all that a tag says, to be stored."""
    named: SemVer = read_tag_name(tag.name)[1]
    version.number, version.precedence = str(named), named.precedence
    version.tag, version.sha = tag.name, tag.commit_sha
    version.title, version.author = tag.title, tag.author
    version.committed_at, version.changelog = tag.committed_at, tag.text[:LONGEST_TEXT]
    return version


def _follow(version: ModuleVersion, tags: Iterable[Tag]) -> None:
    """Note where the tag of a published version is, which itself stays as it is."""
    own = next((tag for tag in tags if tag.name == version.tag), None)
    if own is None:  # it came from a file, or by another prefix
        return
    is_at = own.commit_sha or own.sha
    moved_to = is_at if is_at != version.sha else ""
    gone_at = (version.tag_gone_at or timezone.now()) if own.is_gone else None
    if (moved_to, gone_at) == (version.moved_to, version.tag_gone_at):
        return
    if moved_to != version.moved_to:
        withdraw_notice_of_move(version)
    has_moved = bool(moved_to) and moved_to != version.moved_to
    version.moved_to, version.tag_gone_at = moved_to, gone_at
    version.save(update_fields=["moved_to", "tag_gone_at"])
    if has_moved and not version.is_yanked:
        notify_of_move(version)
