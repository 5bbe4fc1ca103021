"""Which stacks are behind the newest version of a module, and what holds them back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from modules.impact.uses import Use, uses_by
from modules.models import Module, ModuleVersion
from modules.rules.semver import InvalidVersion, SemVer
from modules.rules.tags import read_tag_name
from stacks.models import RegistrySource, Stack
from stacks.rules import versions


@dataclass(frozen=True)
class Behind:
    """A stack that uses an older version than the newest one, and a sentence on why."""

    stack: Stack
    module: Module
    version: str
    newest: ModuleVersion
    reason: str


def newest_version(module: Module) -> ModuleVersion | None:
    """Return the newest version that is listed and no prerelease."""
    return module.versions.listed().releases().without_texts().newest_first().first()


def stacks_behind(
    module: Module, uses: Sequence[Use], newest: ModuleVersion | None
) -> list[Behind]:
    """Return which uses of a module are of an older version than the newest, in their order."""
    if newest is None:
        return []
    return [one for use in uses for one in _behind(module, use, newest)]


def modules_behind(stack: Stack) -> list[Behind]:
    """Return the modules of which a stack's last run used an older version than the newest."""
    found: list[Behind] = []
    for module, use in uses_by(stack):
        if newest := newest_version(module):
            found += _behind(module, use, newest)
    return found


def _behind(module: Module, use: Use, newest: ModuleVersion) -> Iterator[Behind]:
    """Yield each older version that a stack uses, once."""
    last = SemVer.parse(newest.number)
    reasons: dict[str, str] = {}
    for got in use.from_registry:
        if _is_older(got.version, last):
            reasons.setdefault(got.version, _why(got, newest))
    for fetched in use.from_git:
        version = _number_of_tag(module, fetched.ref)
        if _is_older(version, last):
            reasons.setdefault(version, f"The ref {fetched.ref} holds it back.")
    for version, reason in reasons.items():
        yield Behind(use.stack, module, version, newest, reason)


def _is_older(version: str, newest: SemVer) -> bool:
    try:
        return SemVer.parse(version) < newest
    except InvalidVersion:
        return False


def _why(got: RegistrySource, newest: ModuleVersion) -> str:
    if not got.constraint:
        return "Its next run may get the newest one: no constraint is known."
    try:
        allows = versions.read_constraint(got.constraint).allows(_compared(newest.number))
    except versions.InvalidVersion:
        return f"Its constraint is {got.constraint}."
    if allows:
        return f"Its constraint {got.constraint} allows the newest one: its next run gets it."
    return f"Its constraint {got.constraint} holds it back."


def _compared(number: str) -> versions.Version:
    """Return a version without its build metadata, which constraints don't compare."""
    return versions.read_version(number.partition("+")[0])


def _number_of_tag(module: Module, ref: str) -> str:
    """Return the number of the version that a ref names as a tag of the module; empty if none."""
    try:
        prefix, version = read_tag_name(ref.removeprefix("refs/tags/"))
    except InvalidVersion:
        return ""
    return str(version) if prefix == module.tag_prefix else ""
