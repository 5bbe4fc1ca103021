"""Reading the version in `.stackhook/module.yml`, in the folder of a module.

Whoever can push writes it, so it is small, and read without what makes YAML dangerous: tags, which
make objects, and aliases, which make much of little.
"""

from typing import Any

import yaml

from modules.rules.semver import InvalidVersion, SemVer

PATH = ".stackhook/module.yml"
LARGEST = 64 * 1024  # characters
DEEPEST = 10
EXAMPLE = "Write a line like version: 1.2.3"


class InvalidFile(ValueError):
    """The file says no version; the text is the rest of a sentence about it, without a period."""


class _Loader(yaml.BaseLoader):
    """Makes text, lists and mappings, and nothing else.

    Its parser in C would crash the worker over a file of brackets.
    """

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise InvalidFile("has an alias, like *a. Write the text itself")
        if self.depth > DEEPEST:
            raise InvalidFile(f"is not understood. {EXAMPLE}")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def path_in(folder: str) -> str:
    """Return the path of the file in a repository, for a module's folder."""
    return f"{folder}/{PATH}" if folder else PATH


def read_version(content: str) -> SemVer:
    """Return the version that a file says. Raises InvalidFile."""
    if len(content) > LARGEST:
        raise InvalidFile(f"is larger than {LARGEST // 1024} KB")
    try:
        found = yaml.load(content, _Loader)  # noqa: S506 - it makes no objects
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InvalidFile(f"is no YAML{where}. {EXAMPLE}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, InvalidFile):
            raise
        raise InvalidFile(f"is no YAML that can be read. {EXAMPLE}") from None
    version = found.get("version") if isinstance(found, dict) else None
    if not isinstance(version, str) or not version.strip():
        raise InvalidFile(f"has no version. {EXAMPLE}")
    try:
        return SemVer.parse(version.strip().removeprefix("v"))
    except InvalidVersion:
        shown = " ".join(version.split())[:100]
        raise InvalidFile(
            f"has the version “{shown}”, which is none by Semantic Versioning. {EXAMPLE}"
        ) from None
