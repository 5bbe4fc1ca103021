"""How code uses a module: the `module` block that its page offers to copy."""

from dataclasses import dataclass

from django.conf import settings

from accounts.tokens.registry_host import why_unusable
from modules.impact.uses import registry_address
from modules.models import Module, ModuleVersion
from modules.rules.semver import SemVer


@dataclass(frozen=True)
class Usage:
    """The source, a ready block, and why code can't use this registry yet; empty if it can."""

    source: str
    block: str
    problem: str


def usage_of(module: Module, constraint: str) -> Usage:
    """Return how code uses the versions of a module that a constraint allows; empty is any."""
    name = f"_{module.name}" if module.name[0].isdigit() else module.name
    source = registry_address(module)
    lines = [f'module "{name}" {{', f'  source  = "{source}"']
    lines += [f'  version = "{constraint}"'] if constraint else []
    return Usage(source, "\n".join([*lines, "}"]), why_unusable(settings.PUBLIC_URL))


def constraint_from(version: ModuleVersion) -> str:
    """Return a constraint on a version and later ones that are compatible with it.

    A prerelease matches itself alone ("Version Constraints", Specify a pre-release version).
    """
    parsed = SemVer.parse(version.number)
    major, minor, _ = parsed.core
    return version.number if parsed.is_prerelease else f"~> {major}.{minor}"
