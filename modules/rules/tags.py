"""The names of tags that are versions: v1.2.3, or vpc/v1.2.3 for one of several modules.

The v may be left out. What is before the last slash is the prefix.
"""

from modules.rules.semver import SemVer

LONGEST_NAME = 500
LONGEST_TEXT = 20_000


def read_tag_name(name: str) -> tuple[str, SemVer]:
    """Return the prefix and the version that a tag names. Raises InvalidVersion."""
    prefix, _, last = name.rpartition("/")
    return prefix, SemVer.parse(last.removeprefix("v"))


def rank(name: str) -> tuple[bool, str]:
    """Return what orders tags that name the same version: the first one counts.

    That is the one with a v; of those that differ in build metadata alone, the first by name.
    """
    return not name.rpartition("/")[2].startswith("v"), name
