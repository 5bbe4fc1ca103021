"""Listing the tags of modules: at their creation, and from time to time what no push told.

A module is claimed when that is due. What is listed is compared with what is known, and each
difference decided; of a new module, each tag. A module whose versions come from a file has the
file of its branch read instead, once.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Case, F, Value, When
from django.utils import timezone

from core.leases import Keeping, LeaseLost
from core.transactions import DATABASE_IS_AWAY, transaction_in_line
from modules.deciding import tag_decisions, tags, version_files
from modules.deciding.pull_requests import decide_open
from modules.deciding.settling import AT_ONCE, settle
from modules.models import Module, ModuleDecision, Tag, VersionsFrom
from modules.rules.decisions import Decided, Rule
from modules.rules.semver import SemVer
from modules.rules.tags import read_tag_name
from modules.rules.version_file import path_in
from stacks.deciding.facts import NO_COMMIT, Facts, text_of_tag
from stacks.module_registry import TagNow
from vcs_integrations.models import Repository
from vcs_integrations.providers.base import BACKGROUND, Client, Problem, ProviderError, RemoteTag
from vcs_integrations.providers.events import RefChanged, RemoteCommit

logger = logging.getLogger(__name__)

# A dead worker's modules are claimed by others after this.
LEASE = timedelta(minutes=1)
COMPARE_EVERY = timedelta(hours=1)
RETRY_FIRST_AFTER = timedelta(seconds=30)
COMMITS_AT_ONCE = 100
# Of each prefix: a repository may have a tag for each of its builds.
MOST_VERSIONS = 1_000
# How many of the tags that were there before have a decision each.
MOST_DECIDED = 5_000
# What is done once, and again when the module is changed
FIRST = ("imported_at", "pull_requests_read_at")
LOWER = (
    f"Of the tags that name versions the {MOST_VERSIONS:,} highest are imported, and this one is "
    f"lower. To publish it, delete the tag and push it again."
)


def import_next() -> bool:
    """List the tags of one module for which that is due; False if there is none."""
    module = Module.objects.with_repository().claim_one(LEASE)
    if module is None:
        return False
    try:
        with Keeping([module], LEASE):
            import_versions(module)
    except ProviderError as error:
        logger.warning("Listing the tags of %s has to wait: %s", module, error.problem)
        module.retry_later(RETRY_FIRST_AFTER, COMPARE_EVERY, error.retry_after)
    except LeaseLost:
        pass
    except DATABASE_IS_AWAY:  # it is claimed again once the database recovers
        raise
    except Exception:  # a fault of ours must not hold up the other modules
        logger.exception("Listing the tags of %s failed", module)
        module.retry_later(RETRY_FIRST_AFTER, COMPARE_EVERY)
    return True


def import_versions(module: Module) -> None:
    """Decide about what is there in a claimed module's repository, and give the module back.

    Raises ProviderError, having stored nothing, or LeaseLost.
    """
    client = module.integration.client(BACKGROUND)
    if module.pull_requests_read_at is None:
        decide_open(module, client)
    if module.versions_from == VersionsFrom.FILE:
        _read_file(module, client)
    else:
        _compare_tags(module, client)


def _read_file(module: Module, client: Client) -> None:
    """Read the file of a new module's branch, and as of the pushes of which it could not be."""
    repository_id = module.repository.external_id
    newest = client.newest_push(repository_id)
    branch = client.branch(repository_id, module.branch)
    content, commit = "", NO_COMMIT
    if branch and module.imported_at is None:
        content = client.file_text(repository_id, branch.sha, path_in(module.folder)) or ""
        commit = client.commit(repository_id, branch.sha)
    facts = Facts(module.integration, client)
    unread = [*module.decisions.filter(rule=Rule.UNREADABLE).exclude(position=None)]
    changes = {one.pk: _changed_branch(module, one, client) for one in unread}
    for change in changes.values():
        if change:
            version_files.read([module], change, facts)
    with transaction_in_line():
        _lock(module.repository)
        if commit.sha:
            position = newest.position if newest else 0
            decided, version = version_files.advance(module, content, commit, position)
            subject = f"Branch {module.branch} at {commit.sha[:8]}, when the module followed it"
            _store_anew([ModuleDecision.of(module, subject[:700], decided, None, version)])
        for one in sorted(unread, key=lambda one: one.position or 0):
            if change := changes[one.pk]:
                decided, one.version = version_files.decide([module], module, change, facts)
                one.rule, one.sentence = decided.rule, decided.sentence[:500]
                one.save(update_fields=["rule", "sentence", "version"])
        _give_back(module, None)


def _changed_branch(module: Module, decision: ModuleDecision, client: Client) -> RefChanged | None:
    """Return what a push did to a module's branch; None if it can't be read any more."""
    try:
        changes = client.push(module.repository.external_id, decision.position or 0)
    except ProviderError as error:
        if error.problem != Problem.NOT_FOUND:
            raise
        return None
    return next((one for one in changes if one.branch == module.branch), None)


@dataclass(frozen=True)
class Listing:
    """The tags of a repository as they were listed, and what was read of those that matter.

    `position` is that of a push that is in the listing for sure; newer ones may be. `versions` are
    the names of the tags with the highest versions.
    """

    position: int
    tags: Sequence[RemoteTag]
    versions: Set[str]
    read: Mapping[str, TagNow]

    @property
    def names(self) -> list[str]:
        return [tag.name for tag in self.tags]


def _compare_tags(module: Module, client: Client) -> None:
    repository, began_at = module.repository, timezone.now()
    wanted = tags.prefixes(_modules_of(repository))
    listing = list_refs(repository, wanted, client)
    with transaction_in_line():
        _lock(repository)
        changed = _store_changes(repository, listing, wanted)
        made: list[ModuleDecision] = []
        for one in _modules_of(repository):
            if one.pk == module.pk and module.imported_at is None:
                settle(one)
                made += _first_decisions(one, listing)
            elif named := _versions_named(one, changed):
                settle(one, [*named.values()])
                made += _decisions(one, named, listing)
        _store_anew(made)
        _give_back(module, timezone.now() + COMPARE_EVERY)
        # They have the same tags.
        others = Module.objects.filter(repository=repository).exclude(imported_at=None).free()
        others.filter(due_at__lte=began_at).update(due_at=timezone.now() + COMPARE_EVERY)


def list_refs(repository: Repository, wanted: Collection[str], client: Client) -> Listing:
    """List the tags, and read of those with the wanted prefixes what is not known of them."""
    newest = client.newest_push(repository.external_id)
    listed = client.tags(repository.external_id)
    known = dict(Tag.objects.filter(repository=repository).values_list("name", "sha"))
    versions = _highest(wanted, (tag.name for tag in listed))
    unknown = [
        tag
        for tag in listed
        if tag.name in versions | known.keys() and known.get(tag.name) != tag.sha
    ]
    commits = _commits(repository, {tag.commit_sha for tag in unknown}, client)
    read = {
        tag.name: TagNow(
            tag.sha,
            commits.get(tag.commit_sha, NO_COMMIT),
            text_of_tag(client, repository.external_id, tag),
        )
        for tag in unknown
    }
    return Listing(newest.position if newest else 0, listed, versions, read)


def _highest(wanted: Collection[str], names: Iterable[str]) -> Set[str]:
    """Return those that name the highest versions, MOST_VERSIONS of each wanted prefix."""
    found: defaultdict[str, list[tuple[bytes, str]]] = defaultdict(list)
    for name in names:
        if tags.is_version_of(wanted, name):
            prefix, version = read_tag_name(name)
            found[prefix].append((version.precedence, name))
    highest = (sorted(some, reverse=True)[:MOST_VERSIONS] for some in found.values())
    return {name for some in highest for _, name in some}


def _commits(
    repository: Repository, shas: Collection[str], client: Client
) -> dict[str, RemoteCommit]:
    found: dict[str, RemoteCommit] = {}
    wanted = sorted(shas)
    for start in range(0, len(wanted), COMMITS_AT_ONCE):
        some = client.commits(repository.external_id, wanted[start : start + COMMITS_AT_ONCE])
        found |= {one.sha: one for one in some}
    return found


def _store_changes(repository: Repository, listing: Listing, wanted: Collection[str]) -> list[str]:
    """Store where tags are by now; return the names of those that are not where they were."""
    rows = {one.name: one for one in Tag.objects.filter(repository=repository)}
    there = {tag.name for tag in listing.tags}
    now = dict(listing.read) | {
        name: tags.NOTHING for name, row in rows.items() if name not in there and not row.is_gone
    }
    changed = []
    for name, tag in now.items():
        row = rows.get(name) or Tag(repository=repository, name=name, position=-1)
        # A newer push may have been decided since the list was read.
        if row.position <= listing.position and row.sha != tag.sha:
            tags.store(row, tag, listing.position)
            changed.append(name)
    return changed


def _first_decisions(module: Module, listing: Listing) -> list[ModuleDecision]:
    """Return what the tags that were there before mean for a module, to be stored.

    Where there are very many, those with versions come first, and one decision is about the rest.
    """
    told = _told_by_pushes(module)
    names = [name for name in listing.names if name not in told]
    names.sort(key=lambda name: name not in listing.versions)
    made = _decisions(module, names[:MOST_DECIDED], listing)
    if (rest := len(names) - MOST_DECIDED) > 0:
        sentence = f"Only {MOST_DECIDED:,} tags have a decision each. These are no versions."
        decided = Decided(Rule.TOO_MANY, sentence)
        subject = f"{rest:,} more tags, listed after push {listing.position}"
        made.append(ModuleDecision.of(module, subject, decided, None))
    return made


def _decisions(module: Module, names: Iterable[str], listing: Listing) -> list[ModuleDecision]:
    """Return what tags mean for a module whose versions are settled, to be stored."""
    rows = {one.name: one for one in Tag.objects.filter(repository=module.repository_id)}
    found = module.versions.defer("readme", "documentation")
    versions = {bytes(one.precedence): one for one in found}
    there = {tag.name: tag.sha[:8] for tag in listing.tags}
    made = []
    for name in names:
        named = tag_decisions.read_name(module, name)
        version = None
        if isinstance(named, Decided):
            decided = named
        elif name in rows:
            version = versions.get(named.precedence)
            decided = tag_decisions.explain(rows[name], named, version)
        elif name in there and name not in listing.versions:
            decided = Decided(Rule.TOO_MANY, LOWER)
        else:  # a push that was decided since says that it is gone
            continue
        where = f" at {there[name]}" if name in there else ", deleted"
        subject = f"Tag {name}{where}, listed after push {listing.position}"
        made.append(ModuleDecision.of(module, subject[:700], decided, None, version))
    return made


def _versions_named(module: Module, names: Iterable[str]) -> dict[str, SemVer]:
    """Return the versions that some tags name for a module."""
    read = {name: tag_decisions.read_name(module, name) for name in names}
    return {name: named for name, named in read.items() if isinstance(named, SemVer)}


def _told_by_pushes(module: Module) -> set[str]:
    """Return the tags that pushes were decided of since the module was created."""
    subjects = module.decisions.values_list("subject", flat=True)
    return {subject.partition(" to tag ")[2] for subject in subjects}


def _modules_of(repository: Repository) -> list[Module]:
    modules = list(Module.objects.filter(repository=repository).order_by("pk"))
    for one in modules:
        one.repository = repository
    return modules


def _lock(repository: Repository) -> None:
    """Hold a repository to the end of the transaction, as those do who decide its pushes."""
    list(Repository.objects.filter(pk=repository.pk).select_for_update().values_list("pk"))


def _store_anew(decisions: Sequence[ModuleDecision]) -> None:
    """Store decisions in place of those about the same subjects: settings may have changed."""
    for module in {one.module_id for one in decisions}:
        subjects = [one.subject for one in decisions if one.module_id == module]
        for start in range(0, len(subjects), AT_ONCE):
            some = subjects[start : start + AT_ONCE]
            ModuleDecision.objects.filter(module=module, subject__in=some).delete()
    ModuleDecision.objects.bulk_create(decisions)


def _give_back(module: Module, due_at: datetime | None) -> None:
    """Release a module whose tags are decided. Raises LeaseLost.

    Where somebody changed it meanwhile, what that asks for is still to be done.
    """
    unchanged = When(due_at=module.due_at, then=Value(timezone.now()))
    wanted = [name for name in FIRST if getattr(module, name) is None]
    done: dict[str, Any] = {name: Case(unchanged, default=F(name)) for name in wanted}
    if not module.release(due_at, **done):
        raise LeaseLost
