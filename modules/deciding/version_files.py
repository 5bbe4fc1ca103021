"""Versions from `.stackhook/module.yml` in a module's folder, on its tracked branch.

The number in the file as of a push is a version of the pushed commit. Until it is published, it is
of the newest push that changed something in the folder: so whoever repairs a version that was
refused need not count up.
"""

from collections.abc import Sequence

from modules.deciding.checking import check_for_versions, lock_checks
from modules.models import Module, ModuleVersion, VersionState
from modules.rules.decisions import Decided, Rule
from modules.rules.folders import touches
from modules.rules.semver import SemVer
from modules.rules.version_file import PATH, InvalidFile, path_in, read_version
from stacks.module_registry import Facts
from vcs_integrations.providers.events import RefChanged, RemoteCommit


def read(modules: Sequence[Module], change: RefChanged, facts: Facts) -> None:
    """Read what deciding about a push to a tracked branch needs. Raises ProviderError."""
    if change.is_deletion:
        return
    paths = facts.read_paths(change) if any(one.folder for one in modules) else None
    for module in modules:
        if touches(module.folder, paths):
            facts.read_file(change.repository_id, change.new_sha, path_in(module.folder))
            facts.read_commit(change.repository_id, change.new_sha)


def decide(
    modules: Sequence[Module], module: Module, change: RefChanged, facts: Facts
) -> tuple[Decided, ModuleVersion | None]:
    """Decide what a push to the tracked branch means for a module; return its version, too.

    `modules` are those that it was read for. The repository has to be locked. Raises Outdated.
    """
    if change.is_deletion:
        return Decided(Rule.BRANCH_DELETED, f"The push deleted {module.branch}."), None
    paths = facts.paths(change) if any(one.folder for one in modules) else None
    if not touches(module.folder, paths):
        return Decided(Rule.UNTOUCHED, f"It changed nothing in {module.folder}."), None
    content = facts.file(change.repository_id, change.new_sha, path_in(module.folder))
    if content is None:
        sentence = f"{path_in(module.folder)} can't be read. Stackhook retries automatically."
        return Decided(Rule.UNREADABLE, sentence), None
    commit = facts.commit(change.repository_id, change.new_sha)
    return advance(module, content, commit, change.position)


def advance(
    module: Module, content: str, commit: RemoteCommit, position: int
) -> tuple[Decided, ModuleVersion | None]:
    """Store the version that a file says as of a commit, which a push brought.

    Returns what that means, and the version that has the number.
    """
    path = path_in(module.folder)
    if not content.strip():
        return Decided(Rule.INVALID_FILE, f"There is no version in {path}."), None
    try:
        number = read_version(content)
    except InvalidFile as error:
        return Decided(Rule.INVALID_FILE, f"{path} {error}."), None
    lock_checks(module, [commit.sha])
    # Held, so that no worker publishes it meanwhile
    same = module.versions.filter(precedence=number.precedence).select_for_update()
    version = same.first()
    if version is None:
        version = ModuleVersion.of(module, number, "", commit.sha)
        return _store(version, number, commit, position)
    if version.is_published:
        sentence = f"Version {version.number} is published already. A new one needs a new number."
        return Decided(Rule.SAME_VERSION, sentence), version
    if version.position is not None and version.position >= position:
        sentence = f"Version {version.number} is of a newer commit, {version.sha[:8]}."
        return Decided(Rule.PASSED_BY, sentence), version
    return _store(version, number, commit, position)


def _store(
    version: ModuleVersion, number: SemVer, commit: RemoteCommit, position: int
) -> tuple[Decided, ModuleVersion]:
    """Let a version that is not published be of a commit, and have it checked."""
    version.number, version.sha, version.position = str(number), commit.sha, position
    version.tag, version.changelog, version.state = "", "", VersionState.WAITING
    version.title, version.author = commit.title, commit.author[:255]
    version.committed_at = commit.authored_at
    version.save()
    check_for_versions(version.module, [version.sha])
    sentence = (
        f"{PATH} says {number}: version {version.number} of commit {version.sha[:8]} is published "
        f"once it has passed its check."
    )
    return Decided(Rule.VERSION, sentence), version
