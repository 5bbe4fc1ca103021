"""What a tag means for a module, in a sentence."""

from modules.deciding.settling import settle
from modules.deciding.tags import Seen
from modules.models import Module, ModuleVersion, Tag, VersionsFrom
from modules.rules.decisions import Decided, Rule
from modules.rules.semver import InvalidVersion, SemVer
from modules.rules.tags import LONGEST_NAME, read_tag_name


def decide(module: Module, name: str, seen: Seen) -> tuple[Decided, ModuleVersion | None]:
    """Decide what a push of a tag means for a module, once it is known where the tag is.

    The repository has to be locked.
    """
    named = read_name(module, name)
    if isinstance(named, Decided):
        return named, None
    if seen == Seen.PASSED_BY:
        sentence = "The tag was moved or deleted again since, which is decided for itself."
        return Decided(Rule.PASSED_BY, sentence), None
    if seen == Seen.UNREADABLE:
        sentence = "Where the tag is can't be read. All tags are listed instead."
        return Decided(Rule.UNREADABLE, sentence), None
    settle(module, [named])
    tag = Tag.objects.get(repository=module.repository_id, name=name)
    version = module.versions.filter(precedence=named.precedence).first()
    return explain(tag, named, version), version


def read_name(module: Module, name: str) -> SemVer | Decided:
    """Return the version that a tag names for a module, or why it names none."""
    if module.versions_from == VersionsFrom.FILE:
        sentence = "Its versions come from .stackhook/module.yml, not from tags."
        return Decided(Rule.FROM_FILE, sentence)
    if len(name) > LONGEST_NAME:
        sentence = f"The name of the tag is longer than {LONGEST_NAME} characters."
        return Decided(Rule.NO_VERSION, sentence)
    try:
        prefix, version = read_tag_name(name)
    except InvalidVersion as error:
        return Decided(Rule.NO_VERSION, str(error))
    if prefix != module.tag_prefix:
        wanted = f"{module.tag_prefix}/v{version}" if module.tag_prefix else f"v{version}"
        sentence = f"The module's tags are like {wanted}, and this one has another prefix."
        return Decided(Rule.OTHER_PREFIX, sentence)
    return version


def explain(tag: Tag, named: SemVer, version: ModuleVersion | None) -> Decided:
    """Say what a tag means once versions are settled; `version` is the one of its number."""
    if version is None:
        if tag.is_gone:
            sentence = f"The tag was deleted before version {named} was published: there is none."
            return Decided(Rule.DELETED, sentence)
        return Decided(Rule.NO_COMMIT, "The tag leads to no commit.")
    name, sha = f"Version {version.number}", version.sha[:8]
    if version.tag != tag.name:
        whose = f"the tag {version.tag}" if version.tag else "the version file"
        return Decided(Rule.SAME_VERSION, f"{name} is there by {whose}, at {sha}.")
    if not version.is_published:
        sentence = f"{name} of commit {sha} is published once it has passed its check."
        return Decided(Rule.VERSION, sentence)
    if version.tag_gone_at:
        return Decided(Rule.DELETED, f"{name} is published, and stays until an admin yanks it.")
    if version.moved_to:
        sentence = (
            f"{name} was published from {sha} and is served as before: a published version never "
            f"changes. The tag is at {version.moved_to[:8]} now."
        )
        return Decided(Rule.MOVED, sentence)
    return Decided(Rule.SAME_VERSION, f"{name} is published from this commit, {sha}.")
